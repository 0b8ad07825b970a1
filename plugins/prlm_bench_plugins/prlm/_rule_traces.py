"""Reasoning made by rule from a user's items, which is true by construction, and the check of such statements."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from prlm_bench import Document
from prlm_bench.tasks import Task

#: Statements of a trace at most.
_MOST = 3
_NOTHING = "Nothing of this user is shown."
_LENGTH = "The texts have about {} words."
_SHARES = {
    "The texts with an exclamation mark are {} in a hundred.": re.compile("!"),
    "The texts with a hashtag are {} in a hundred.": re.compile(r"#\w"),
    "The texts with a question mark are {} in a hundred.": re.compile(r"\?"),
}


def trace(task: Task, items: Sequence[Document], lot: str) -> str:
    """True statements about items, a line each.

    Args:
        task: whose answers are like one field of the items.
        items: that were retrieved for a question.
        lot: decides which statements are made, such as a seed with the question's id.
    """
    texts = _texts(task, items)
    if not texts:
        return _NOTHING
    found = [_LENGTH.format(_mean_words(texts)), *(say.format(_share(texts, mark)) for say, mark in _SHARES.items())]
    drawn = random.Random(f"trace {lot}").sample(range(len(found)), _MOST)
    return "\n".join(found[place] for place in sorted(drawn))


def check(task: Task, statement: str, items: Sequence[Document]) -> bool | None:
    """Whether a statement is true of the items; None if it is of no form that can be checked."""
    texts, said = _texts(task, items), " ".join(statement.split())
    if said == _NOTHING:
        return not texts
    for say in (_LENGTH, *_SHARES):
        before, after = map(re.escape, say.split("{}"))
        found = re.fullmatch(f"{before}([0-9]+){after}", said)
        if found:
            claimed = int(found[1])
            return bool(texts) and claimed == (_share(texts, _SHARES[say]) if say in _SHARES else _mean_words(texts))
    return None


def _texts(task: Task, items: Sequence[Document]) -> list[str]:
    field = task.answer_field or task.item_fields[0]
    return [item.fields.get(field, "") for item in items]


def _mean_words(texts: Sequence[str]) -> int:
    return round(sum(len(text.split()) for text in texts) / len(texts))


def _share(texts: Sequence[str], mark: re.Pattern[str]) -> int:
    return round(100 * sum(mark.search(text) is not None for text in texts) / len(texts))
