"""The cluster bootstrap over users, and the intervals taken from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Value = Callable[[Floats], Floats]
#: How an interval is computed from resampled values.
Interval = Literal["percentile", "bca"]
INTERVALS: tuple[Interval, ...] = ("percentile", "bca")

RESAMPLES = 2000
#: Fixed, since the interval of a result is part of the result.
SEED = 20_250_807
#: Resamples processed at a time.
_BLOCK = 64


def user_index(users: Sequence[str]) -> NDArray[np.int64]:
    """The index of the user of each sample, in order of first appearance; shape (n,)."""
    numbers: dict[str, int] = {}
    return np.fromiter((numbers.setdefault(user, len(numbers)) for user in users), np.int64, len(users))


def user_totals(statistics: Floats, users: Sequence[str]) -> Floats:
    """Sum per-sample statistics by user.

    Args:
        statistics: shape (n, s).
        users: n user ids.

    Returns:
        Shape (users, s), users in order of first appearance.
    """
    index = user_index(users)
    totals = np.zeros((int(index.max(initial=-1)) + 1, statistics.shape[1]))
    np.add.at(totals, index, statistics)
    return totals


def bootstrap_totals(totals: Floats, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """Summed statistics of resampled users (cluster bootstrap, Davison and Hinkley 1997, section 3.8).

    Args:
        totals: shape (users, s).

    Returns:
        Shape (resamples, s): each row is the sum over as many users, drawn with replacement.
    """
    users = len(totals)
    rng = np.random.default_rng(seed)
    rows = np.empty((resamples, totals.shape[1]))
    for start in range(0, resamples, _BLOCK):
        size = min(_BLOCK, resamples - start)
        draws = rng.integers(users, size=(size, users))
        flat = (draws + users * np.arange(size)[:, None]).ravel()
        weights = np.bincount(flat, minlength=size * users).reshape(size, users)
        with np.errstate(invalid="ignore"):  # a statistic may be infinite, and a weight 0
            rows[start : start + size] = weights.astype(np.float64) @ totals
    return rows


def percentile_interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of bootstrap values (Efron 1979); non-finite values are left out."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bca_interval(totals: Floats, value: Value, resampled: Floats, level: float = 0.95) -> tuple[float, float]:
    """The bias-corrected and accelerated interval (Efron 1987); the acceleration is from a jackknife over users.

    Args:
        totals: statistics by user, shape (users, s).
        value: computes the figure from summed statistics.
        resampled: `bootstrap_totals(totals)`.

    Returns:
        Low and high end; the percentile interval if the bootstrap values have no spread.
    """
    whole = totals.sum(axis=0)
    point = float(value(whole))
    values = np.asarray(value(resampled))
    values = values[np.isfinite(values)]
    # Half of the ties count as below; otherwise the bias of discrete figures would be overstated.
    below = (np.sum(values < point) + 0.5 * np.sum(values == point)) / max(len(values), 1)
    left_out = np.asarray(value(whole - totals))
    deviations = left_out.mean() - left_out
    spread = float(np.sum(deviations**2))
    if not 0 < below < 1 or not np.isfinite(spread) or spread == 0:
        return percentile_interval(values, level)
    acceleration = float(np.sum(deviations**3)) / (6 * spread**1.5)
    normal = NormalDist()
    bias = normal.inv_cdf(float(below))
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        moved = bias + normal.inv_cdf(share)
        ends.append(normal.cdf(bias + moved / (1 - acceleration * moved)))
    low, high = np.quantile(values, ends)
    return float(low), float(high)


def interval_of(
    kind: Interval, totals: Floats, value: Value, resampled: Floats, level: float = 0.95
) -> tuple[float, float]:
    """The interval of this type; arguments as for `bca_interval`."""
    if kind == "bca":
        return bca_interval(totals, value, resampled, level)
    return percentile_interval(np.asarray(value(resampled)), level)


def user_values(totals: Floats, value: Value) -> Floats:
    """The value of each user as statistics (value, 1), shape (users, 2), for user-macro means."""
    values = value(totals)
    return np.stack([values, np.ones_like(values)], axis=1)
