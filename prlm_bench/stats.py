"""User-clustered inference: users, not questions, are what is resampled.

Questions of one user are not independent, so an interval over questions is too narrow. Every figure here
is a function of sums of per-sample statistics (see `metrics`), so a resample of users is a weighted sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2000
#: One fixed stream: the interval of a result is part of the result.
SEED = 20_250_807
#: Resamples whose weights are held at once.
_BLOCK = 64


def user_totals(statistics: Floats, users: Sequence[str]) -> Floats:
    """Sum per-sample statistics by user.

    Args:
        statistics: shape (n, s).
        users: n user ids.

    Returns:
        Shape (users, s), users in order of first appearance.
    """
    numbers: dict[str, int] = {}
    index = np.fromiter((numbers.setdefault(user, len(numbers)) for user in users), np.int64, len(users))
    totals = np.zeros((len(numbers), statistics.shape[1]))
    np.add.at(totals, index, statistics)
    return totals


def bootstrap_totals(totals: Floats, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """Total statistics of resampled users (cluster bootstrap, Davison and Hinkley 1997, section 3.8).

    Args:
        totals: shape (users, s).

    Returns:
        Shape (resamples, s): each row sums as many users, drawn with replacement, as there are.
    """
    users = len(totals)
    generator = np.random.default_rng(seed)
    rows = np.empty((resamples, totals.shape[1]))
    for start in range(0, resamples, _BLOCK):
        size = min(_BLOCK, resamples - start)
        draws = generator.integers(users, size=(size, users))
        flat = (draws + users * np.arange(size)[:, None]).ravel()
        weights = np.bincount(flat, minlength=size * users).reshape(size, users)
        rows[start : start + size] = weights.astype(np.float64) @ totals
    return rows


def percentile_interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of bootstrap values (Efron 1979); values that are not finite are left out."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def user_values(totals: Floats, value: Callable[[Floats], Floats]) -> Floats:
    """Each user's own value as statistics (value, 1), shape (users, 2), for user-macro means."""
    values = value(totals)
    return np.stack([values, np.ones_like(values)], axis=1)
