"""Attention checks: pairs of a question's gold and an obviously wrong answer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from ..errors import DataError

#: Number of golds of other questions from which the least similar is taken.
_TRIED = 50
#: The wrong answer for tasks with labels, where another label might suit a user as well.
NO_ANSWER = "(no answer)"


def wrong_golds(
    golds: Mapping[str, str | None],
    order: Sequence[str],
    count: int,
    rng: random.Random,
    labels: Sequence[str] = (),
) -> Iterator[tuple[str, str, str]]:
    """Yield questions with their gold and a wrong answer.

    Args:
        golds: gold by question.
        order: questions in order of preference.
        count: number of checks; fewer are returned if golds do not differ.
        labels: the task's labels, empty for free text. Annotators judge which of two labels suits a user, so another
            label is not obviously wrong: the wrong answer is `NO_ANSWER`. For numeric labels it is one that is more
            than half of their range away.

    Raises:
        DataError: there are no golds.
    """
    known = {question: gold for question, gold in golds.items() if gold}
    if not known:
        raise DataError("attention checks need golds, and these results have none", "use --attention-checks 0")
    numbers = _numbers(labels)
    everything = [NO_ANSWER] if labels and not numbers else sorted(set(known.values()))
    apart = (max(numbers) - min(numbers)) / 2 if numbers else -1.0
    given = 0
    for question in order:
        right = known.get(question)
        if given == count or right is None:
            continue
        others = [
            gold
            for gold in rng.sample(everything, min(_TRIED, len(everything)))
            if _differ(gold, right) and not (numbers and -_likeness(gold, right) <= apart)
        ]
        if others:
            given += 1
            yield question, right, min(others, key=lambda gold: _likeness(gold, right))


def _numbers(labels: Sequence[str]) -> list[float]:
    try:
        return [float(label) for label in labels]
    except ValueError:
        return []


def _differ(first: str, second: str) -> bool:
    return first.strip().lower() != second.strip().lower()


def _likeness(first: str, second: str) -> float:
    """Negative distance of two numbers, or the share of common words of two texts."""
    try:
        return -abs(float(first) - float(second))
    except ValueError:
        one, two = set(first.lower().split()), set(second.lower().split())
        return len(one & two) / max(len(one | two), 1)
