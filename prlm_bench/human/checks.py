"""Attention checks: a question's own gold beside one that is plainly not its answer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from ..errors import DataError

#: Golds of other questions among which the least fitting is taken.
_TRIED = 50


def wrong_golds(
    golds: Mapping[str, str | None], order: Sequence[str], count: int, dice: random.Random
) -> Iterator[tuple[str, str, str]]:
    """Questions with their gold and a wrong one.

    Args:
        golds: gold by question.
        order: questions, those to be taken first first.
        count: how many are wanted; fewer are given where golds do not differ.

    Raises:
        DataError: there are no golds.
    """
    known = {question: gold for question, gold in golds.items() if gold}
    if not known:
        raise DataError("attention checks need golds, which these results do not have", "--attention-checks 0")
    everything = sorted(set(known.values()))
    given = 0
    for question in order:
        right = known.get(question)
        if given == count or right is None:
            continue
        others = [gold for gold in dice.sample(everything, min(_TRIED, len(everything))) if _differ(gold, right)]
        if others:
            given += 1
            yield question, right, min(others, key=lambda gold: _likeness(gold, right))


def _differ(first: str, second: str) -> bool:
    return first.strip().lower() != second.strip().lower()


def _likeness(first: str, second: str) -> float:
    """Closeness of two numbers, or the share of words that two texts have in common."""
    try:
        return -abs(float(first) - float(second))
    except ValueError:
        one, two = set(first.lower().split()), set(second.lower().split())
        return len(one & two) / max(len(one | two), 1)
