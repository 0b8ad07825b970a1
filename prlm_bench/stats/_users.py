"""Sums of per-sample statistics by user, and how much each user weighs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

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
    return totals_at(statistics, user_index(users))


def totals_at(statistics: Floats, index: NDArray[np.int64]) -> Floats:
    """`user_totals` by the index of each sample's user."""
    totals = np.zeros((int(index.max(initial=-1)) + 1, statistics.shape[1]))
    np.add.at(totals, index, statistics)
    return totals


def user_values(totals: Floats, value: Value) -> Floats:
    """The value of each user as statistics (value, 1), shape (users, 2), for user-macro means."""
    values = value(totals)
    return np.stack([values, np.ones_like(values)], axis=1)


def freedom(sizes: Floats, icc: float = 1.0) -> float:
    """Degrees of freedom of the jackknife variance of a mean over users with `sizes` questions each.

    Satterthwaite's approximation (Bell and McCaffrey 2002, the intercept-only case) where the mean of a user with n
    questions has a variance in proportion to icc + (1 - icc) / n: users - 1 if all have the same number, about 1 if one
    user has almost all.

    Args:
        icc: the correlation of answers of one user; 1 gives the fewest degrees of freedom.
    """
    weights = sizes / sizes.sum()
    variances = icc + (1 - icc) / np.maximum(sizes, 1)
    scale = (weights / np.maximum(1 - weights, 1e-12)) ** 2
    cross = weights * variances
    s = float((weights * cross).sum())
    own = variances - 2 * cross + s
    trace = float((scale * own).sum())
    a, b, c = (float((scale * cross**power).sum()) for power in range(3))
    square = s**2 * a**2 + 2 * a * c - 4 * s * a * b + 2 * b**2
    square += float((scale**2 * (own**2 - (s - 2 * cross) ** 2)).sum())
    return max(trace**2 / square, 1.0) if square > 0 else 1.0


def estimated_icc(residuals: Floats, sizes: Floats) -> float:
    """The correlation of answers of one user, from how the squares of users' summed residuals grow with their sizes.

    The square of a user with n questions is in proportion to icc n^2 + (1 - icc) n on average. To plug an estimate into
    the degrees of freedom is the proposal of Imbens and Kolesar, "Robust Standard Errors in Small Samples", 2016.

    Args:
        residuals: summed over the questions of each user, shape (users,).
    """
    known = sizes > 0
    n = sizes[known]
    columns = np.stack([np.sqrt(n), 1 / np.sqrt(n)], axis=1)
    squares = residuals[known] ** 2 / n**1.5
    largest = squares.max(initial=0.0)
    if not np.isfinite(largest) or largest == 0:
        return 1.0
    (between, within), _ = nnls(columns, squares / largest)
    return float(between / (between + within)) if between + within > 0 else 1.0
