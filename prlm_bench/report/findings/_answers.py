"""Answers that hardly differ between users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ...results import Estimate, seeds_of
from ._finding import Finding, Group, ResultRow, Status, ends, resting_on, share

#: Answers hardly differ if at least this share of them is the same.
ALIKE = 0.9
#: Characters of an answer that a line quotes.
_QUOTED = 40


def answers(group: Group) -> Iterator[Finding]:
    """Two checks of each row that is not a control.

    First, whether answers depend on whose items are shown: each is compared with the answer to the same question with
    another user's items, all else equal. The share of equal answers with random own items is given for comparison.
    Second, whether one answer is given to nearly all questions although golds differ. Comparisons ignore case and
    whitespace.
    """
    yield from _whose_items(group)
    yield from _one_for_all(group)


def _whose_items(group: Group) -> Iterator[Finding]:
    rows = [line for line in group.lines if line.selects_items]
    others = {id(line): group.counterpart(line, lambda other: other.uses_other_users_items) for line in rows}
    alone = [line for line in rows if others[id(line)] is None]
    if alone:
        why = "no other row has another user's items with the same k, reasoner and generator"
        yield group.unchecked("answers", alone, "answers compared with those for another user's items", why)
    values: dict[str, NDArray[np.float64]] = {}
    for at, line in enumerate(rows):
        other_user, random_own = others[id(line)], group.counterpart(line, lambda other: other.uses_random_items)
        if other_user is not None:
            values[f"{at}"] = _equal(line, other_user)
            if random_own is not None:
                values[f"{at} own"] = _equal(line, random_own)
    found = group.intervals(values)
    for at, line in enumerate(rows):
        if f"{at}" in found:
            seeds = resting_on(values[f"{at}"])
            yield _whose_items_finding(group, line, found[f"{at}"], found.get(f"{at} own"), seeds)


def _whose_items_finding(group: Group, line: ResultRow, other: Estimate, own: Estimate | None, seeds: str) -> Finding:
    what = "answers are barely personalized, share unchanged with another user's items"
    text = share(other) + seeds + (f"; with random own items {share(own)}" if own is not None else "")
    return group.finding("answers", _status(other), [line], what, text, other)


def _status(alike: Estimate) -> Status:
    """Whether the share of equal answers is shown to be at least `ALIKE`, or below."""
    low, high = ends(alike)
    if high < ALIKE:
        return "passed"
    return "found" if low >= ALIKE else "open"


def _one_for_all(group: Group) -> Iterator[Finding]:
    rows = [line for line in group.lines if not line.result.manifest.control]
    plain = [[_plain(columns.answers) for columns in line.columns] for line in rows]
    most_common = [Counter(chain.from_iterable(by_seed)).most_common(1)[0][0] for by_seed in plain]
    values = {
        str(at): np.array([[answer == most_common[at] for answer in answers] for answers in by_seed], dtype=np.float64)
        for at, by_seed in enumerate(plain)
    }
    found = group.intervals(values)
    golds = [gold for gold in group.lines[0].columns[0].golds if gold is not None]
    among_golds = Counter(_plain(golds)).most_common(1)[0][1] / len(golds) if golds else 0.0
    for at, estimate in found.items():
        if estimate.value is None:
            continue
        status = _status(estimate) if estimate.value > among_golds and len(set(group.users)) > 1 else "passed"
        text = most_common[int(at)]
        quoted = repr(text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…") if text else "blank"
        what = "answers hardly differ between users, share of the most common answer"
        if golds:
            what += f" (of the most common gold {100 * among_golds:.1f} %)"
        shown = f"{share(estimate)}{resting_on(values[at])}, {quoted}"
        yield group.finding("answers", status, [rows[int(at)]], what, shown, estimate)


def _plain(texts: Sequence[str]) -> list[str]:
    return [" ".join(text.casefold().split()) for text in texts]


def _equal(first: ResultRow, second: ResultRow) -> NDArray[np.float64]:
    """1 where answers are equal: for each shared seed, or for the first seeds if none is shared; shape (seeds, n)."""
    by_seed = dict(zip(seeds_of(second.seeds), second.columns, strict=True))
    shared = [(one, by_seed[s]) for s, one in zip(seeds_of(first.seeds), first.columns, strict=True) if s in by_seed]
    pairs = shared or [(first.columns[0], second.columns[0])]
    equal = [[a == b for a, b in zip(_plain(one.answers), _plain(two.answers), strict=True)] for one, two in pairs]
    return np.array(equal, dtype=np.float64)
