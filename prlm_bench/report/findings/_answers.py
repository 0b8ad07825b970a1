"""Answers that hardly differ between users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ...results import Estimate, seeds_of
from ._finding import Finding, Group, Line, share

#: Answers hardly differ where at least this share of them is the same.
ALIKE = 0.9
#: Characters of an answer that a line quotes.
_QUOTED = 40


def answers(group: Group) -> Iterator[Finding]:
    """Two checks of each row that is no control.

    Does the answer to a question depend on whose items are shown? It is set beside the answer to the same question
    with another user's items, all else equal; the share of equal answers with random own items says how often they
    are equal when the user stays. And does one answer serve nearly every question, which it does not among the
    golds? Answers are equal where case and blanks apart their texts are.
    """
    yield from _whose_items(group)
    yield from _one_for_all(group)


def _whose_items(group: Group) -> Iterator[Finding]:
    rows = [line for line in group.lines if line.selects_items]
    others = {id(line): group.counterpart(line, lambda other: other.uses_other_users_items) for line in rows}
    alone = [line for line in rows if others[id(line)] is None]
    if alone:
        why = "no row beside has another user's items and the same k, reasoner and generator"
        yield group.unchecked("answers", alone, "answers against those with another user's items", why)
    values: dict[str, NDArray[np.float64]] = {}
    for at, line in enumerate(rows):
        stranger, chance = others[id(line)], group.counterpart(line, lambda other: other.uses_random_items)
        if stranger is not None:
            values[f"{at}"] = _equal(line, stranger)
            if chance is not None:
                values[f"{at} own"] = _equal(line, chance)
    found = group.intervals(values)
    for at, line in enumerate(rows):
        if f"{at}" in found:
            yield _said(group, line, found[f"{at}"], found.get(f"{at} own"))


def _said(group: Group, line: Line, other: Estimate, own: Estimate | None) -> Finding:
    what = "answers hardly differ between users, share that stays the same with another user's items"
    text = share(other) + (f"; with random own items {share(own)}" if own is not None else "")
    alike = other.value is not None and other.value >= ALIKE
    return group.finding("answers", "found" if alike else "passed", [line], what, text, other)


def _one_for_all(group: Group) -> Iterator[Finding]:
    rows = [line for line in group.lines if not line.result.manifest.control]
    plain = [[_plain(columns.answers) for columns in line.columns] for line in rows]
    commonest = [Counter(chain.from_iterable(by_seed)).most_common(1)[0][0] for by_seed in plain]
    found = group.intervals(
        {
            str(at): np.mean([[answer == commonest[at] for answer in answers] for answers in by_seed], axis=0)
            for at, by_seed in enumerate(plain)
        }
    )
    golds = [gold for gold in group.lines[0].columns[0].golds if gold is not None]
    among_golds = Counter(_plain(golds)).most_common(1)[0][1] / len(golds) if golds else 0.0
    for at, estimate in found.items():
        if estimate.value is None:
            continue
        alike = estimate.value >= ALIKE and estimate.value > among_golds and len(set(group.users)) > 1
        text = commonest[int(at)]
        quoted = repr(text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…") if text else "blank"
        what = "answers hardly differ between users, share of the commonest answer"
        if golds:
            what += f" (of the commonest gold {100 * among_golds:.1f} %)"
        said = f"{share(estimate)}, {quoted}"
        yield group.finding("answers", "found" if alike else "passed", [rows[int(at)]], what, said, estimate)


def _plain(texts: Sequence[str]) -> list[str]:
    return [" ".join(text.casefold().split()) for text in texts]


def _equal(first: Line, second: Line) -> NDArray[np.float64]:
    """The share of the seeds of both, or of the first seeds where they have none in common, with an equal answer."""
    by_seed = dict(zip(seeds_of(second.family), second.columns, strict=True))
    shared = [(one, by_seed[s]) for s, one in zip(seeds_of(first.family), first.columns, strict=True) if s in by_seed]
    pairs = shared or [(first.columns[0], second.columns[0])]
    equal = [[a == b for a, b in zip(_plain(one.answers), _plain(two.answers), strict=True)] for one, two in pairs]
    means: NDArray[np.float64] = np.array(equal, dtype=np.float64).mean(axis=0)
    return means
