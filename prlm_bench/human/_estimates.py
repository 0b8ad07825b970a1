"""Figures of judgements with user-clustered intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..results import Estimate
from ..stats import Floats, bootstrap_totals, percentile_interval, user_totals

UNKNOWN = Estimate(value=None, low=None, high=None)


def clustered(statistics: Floats, users: Sequence[str], value: Callable[[Floats], Floats]) -> Estimate:
    """A figure of summed statistics with its 95 % interval, users resampled; null if undefined.

    Args:
        statistics: shape (n, s).
        users: the user of each of the n rows.
        value: computes the figure from summed statistics.
    """
    if not len(statistics):
        return UNKNOWN
    totals = user_totals(statistics, users)
    point = float(value(totals.sum(axis=0)))
    if not np.isfinite(point):
        return UNKNOWN
    if len(totals) < 2:
        return Estimate(value=point, low=None, high=None)
    low, high = percentile_interval(np.asarray(value(bootstrap_totals(totals))))
    return Estimate(value=point, low=low, high=high)
