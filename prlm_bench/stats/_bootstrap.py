"""The cluster bootstrap over users, and the intervals taken from it."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from ._users import SEED, Floats, Value

RESAMPLES = 2000
#: Resamples processed at a time.
_BLOCK = 64


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
