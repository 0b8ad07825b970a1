"""Which rows of a table cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..results.store import Stored, read_samples
from ..results.summarize import as_mean, mean_value
from ..stats import holm, sign_flip_test, user_totals
from ..stats.bootstrap import Floats

_LEVEL = 0.05
_FLIPS = 2000


def tied_groups(rows: Sequence[Stored], metric: str) -> list[int]:
    """A group number for each row of a ranking, best first, counted from 1.

    The first group is the best row and all that a paired sign-flip test over users, corrected by Holm's method
    within the group's comparisons, does not separate from it at 5 %; the next begins with the best row that is
    left. Rows without a value for single samples are groups of their own.

    Args:
        rows: results of the same questions, in the order of the table.
        metric: the ranking metric.
    """
    totals = [_totals(row, metric) for row in rows]
    groups = [0] * len(rows)
    left = list(range(len(rows)))
    number = 0
    while left:
        number += 1
        best, others = left[0], left[1:]
        tied = {best, *_not_separated(totals[best], [(other, totals[other]) for other in others])}
        for row in tied:
            groups[row] = number
        left = [row for row in left if row not in tied]
    return groups


def _not_separated(best: Floats | None, others: Sequence[tuple[int, Floats | None]]) -> list[int]:
    comparable = [(row, totals) for row, totals in others if totals is not None]
    if best is None or len(best) < 2 or not comparable:
        return []
    p_values = holm([sign_flip_test(best, totals, mean_value, flips=_FLIPS) for _, totals in comparable])
    return [row for (row, _), p in zip(comparable, p_values, strict=True) if p >= _LEVEL]


def _totals(row: Stored, metric: str) -> Floats | None:
    samples = [(sample.user, sample.metrics.get(metric)) for sample in read_samples(row.folder)]
    values = [np.nan if value is None else value for _, value in samples]
    if np.isnan(values).any():
        return None
    return user_totals(as_mean(values), [user for user, _ in samples])
