"""Sums of per-sample statistics by user, and how much each user weighs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Value = Callable[[Floats], Floats]

#: Fixed, since the interval of a result is part of the result.
SEED = 20_250_807


def user_index(users: Sequence[str]) -> NDArray[np.int64]:
    """The index of the user of each sample, shape (n,).

    Users are numbered in the order of a hash of their ids, so that random draws of users do not depend on the order of
    a file.
    """
    ordered = sorted(set(users), key=lambda user: hashlib.blake2b(user.encode("utf-8", "surrogatepass")).digest())
    numbers = {user: number for number, user in enumerate(ordered)}
    return np.fromiter((numbers[user] for user in users), np.int64, len(users))


def user_totals(statistics: Floats, users: Sequence[str]) -> Floats:
    """Sum per-sample statistics by user.

    Args:
        statistics: shape (n, s).
        users: n user ids.

    Returns:
        Shape (users, s), users in the order of `user_index`.
    """
    index = user_index(users)
    totals = np.zeros((int(index.max(initial=-1)) + 1, statistics.shape[1]))
    np.add.at(totals, index, statistics)
    return totals


def user_values(totals: Floats, value: Value) -> Floats:
    """The value of each user as statistics (value, 1), shape (users, 2), for user-macro means."""
    values = value(totals)
    return np.stack([values, np.ones_like(values)], axis=1)


def freedom(sizes: Floats) -> float:
    """Degrees of freedom of the jackknife variance of a mean over users with `sizes` questions each.

    Satterthwaite's approximation under users whose means vary alike, whatever their number of questions (Bell and
    McCaffrey 2002, the intercept-only case): users - 1 if all have the same number, about 1 if one user has almost all.
    """
    weights = sizes / sizes.sum()
    scale = (weights / np.maximum(1 - weights, 1e-12)) ** 2
    s = float((weights**2).sum())
    trace = float((scale * (1 - 2 * weights + s)).sum())
    a, b, c = (float((scale * weights**power).sum()) for power in range(3))
    diagonal = (1 - 2 * weights + s) ** 2 - (s - 2 * weights) ** 2
    square = s**2 * a**2 + 2 * a * c - 4 * s * a * b + 2 * b**2 + float((scale**2 * diagonal).sum())
    return max(trace**2 / square, 1.0) if square > 0 else 1.0
