"""The paired sign-flip test over users."""

from __future__ import annotations

import numpy as np

from ._bootstrap import SEED, Floats, Value

#: Up to this number of users all sign assignments are enumerated, and the p-value is exact.
_EXACT = 12
_BLOCK = 256


def sign_flip_test(first: Floats, second: Floats, value: Value, flips: int = 10_000, seed: int = SEED) -> float:
    """Two-sided p-value of the sign-flip test, with users as the exchangeable unit.

    H0: within each user, the labels of the two methods are exchangeable (Fisher 1935; the paired randomization test).
    All answers of a user are exchanged together, so they may depend on each other.

    Args:
        first, second: statistics by user of the two methods on the same questions, shape (users, s) each.
        value: computes the metric from summed statistics.
        flips: number of random assignments, if not all are enumerated.

    Returns:
        The share of assignments whose difference is at least as large as the observed one; with random
        assignments the observed one is included (Phipson and Smyth 2010), so p is never 0.
    """
    users = len(first)
    middle = (first + second).sum(axis=0) / 2
    halves = (first - second) / 2
    observed = abs(float(value(first.sum(axis=0)) - value(second.sum(axis=0))))
    # Sums in another order differ in their last bits; the observed assignment and its mirror image must count.
    bound = observed * (1 - 1e-9) - 1e-12
    if users <= _EXACT:
        signs = 1 - 2 * ((np.arange(1 << users)[:, None] >> np.arange(users)) & 1)
        return float(np.mean(_differences(signs, halves, middle, value) >= bound))
    rng = np.random.default_rng(seed)
    reached = 0
    for start in range(0, flips, _BLOCK):
        size = min(_BLOCK, flips - start)
        signs = 1 - 2 * rng.integers(2, size=(size, users), dtype=np.int8)
        reached += int(np.sum(_differences(signs, halves, middle, value) >= bound))
    return (1 + reached) / (1 + flips)


def _differences(signs: np.typing.NDArray[np.integer], halves: Floats, middle: Floats, value: Value) -> Floats:
    moved = signs.astype(np.float64) @ halves
    return np.abs(np.asarray(value(middle + moved) - value(middle - moved)))
