"""Groups rows of a table that do not differ significantly."""

from __future__ import annotations

from collections.abc import Sequence

from ..results import mean_value
from ..stats import Floats, holm, sign_flip_test

_LEVEL = 0.05
_FLIPS = 2000


def tied_groups(totals: Sequence[Floats | None]) -> list[int]:
    """A group number for each row of a ranking, best first, counted from 1.

    The first group is the best row and all rows that do not differ from it at 5 % in a paired sign-flip test over
    users, with Holm's correction over these comparisons; the next group begins with the best remaining row. Rows
    without values for single samples have their own groups.

    Args:
        totals: for each row, statistics (value, 1) of the ranking metric by user, shape (users, 2), the users
            in the same order; None if single samples have no value.
    """
    groups = [0] * len(totals)
    left = list(range(len(totals)))
    number = 0
    while left:
        number += 1
        best, others = left[0], left[1:]
        tied = {best, *_not_separated(totals[best], [(other, totals[other]) for other in others])}
        for row in tied:
            groups[row] = number
        left = [row for row in left if row not in tied]
    return groups


def group_name(number: int) -> str:
    """A, B, ..., Z, AA, AB, ... for 1, 2, ..., 26, 27, 28, ..."""
    letters = ""
    while number > 0:
        number, place = divmod(number - 1, 26)
        letters = chr(ord("A") + place) + letters
    return letters


def _not_separated(best: Floats | None, others: Sequence[tuple[int, Floats | None]]) -> list[int]:
    comparable = [(row, totals) for row, totals in others if totals is not None]
    if best is None or len(best) < 2 or not comparable:
        return []
    p_values = holm([sign_flip_test(best, totals, mean_value, flips=_FLIPS) for _, totals in comparable])
    return [row for (row, _), p in zip(comparable, p_values, strict=True) if p >= _LEVEL]
