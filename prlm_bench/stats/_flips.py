"""The sign-flip test over users, and the interval of all values that it does not reject.

Flipping the signs of a set of users splits them into that set and its complement. For a mean, the test of the value x
counts a split if x lies between the means of the two parts, so that one list of splits gives the p-value of every x and
the interval at every level, and test and interval agree. Splits are of whole users, so their answers may depend on each
other, and users may weigh differently.

Source: R. A. Fisher 1935 (the paired test); J. A. Hartigan, "Using Subsample Values as Typical Values", 1969 (the
interval); I. A. Canay, J. P. Romano and A. M. Shaikh, "Randomization Tests Under an Approximate Symmetry Assumption",
2017 (clusters as the unit). It is exact where users' values are symmetric around the true value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._users import SEED, Floats, Value

#: Random splits for the interval of one figure, and for a test.
INTERVAL_FLIPS = 2_000
TEST_FLIPS = 10_000
#: With fewer random splits than this beyond a value, its p-value comes from the t distribution.
TAIL = 5
#: Up to this number of users all splits are enumerated.
EXACT = 12
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Splits:
    """The values of the two parts of each split."""

    #: The smaller and the larger value of each split.
    low: Floats
    high: Floats
    #: Sign assignments in all: the observed one, which reaches every value, and one for each split.
    count: int
    users: int
    #: Whether these are all splits.
    exact: bool

    def p(self, x: float) -> float:
        """Two-sided p-value of the value `x`: the share of assignments that reach it.

        With random splits the observed assignment is included (Phipson and Smyth 2010), so p is never 0.
        """
        slack = 1e-9 * abs(x) + 1e-12  # sums in another order differ in their last bits
        reached = np.count_nonzero((self.low <= x + slack) & (self.high >= x - slack))
        return float((1 + reached) / self.count)

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """All values whose p-value is above 1 - level; None if there are too few users to reject any value."""
        needed = int(np.floor((1 - level) * self.count + 1e-9))
        if needed < 1:
            return None
        low = float(np.partition(self.low, needed - 1)[needed - 1])
        high = float(-np.partition(-self.high, needed - 1)[needed - 1])
        return (low, high) if np.isfinite(low) and np.isfinite(high) else None


def smallest_p(users: int) -> float:
    """The smallest p-value that the exact test can give with so many users."""
    return float(2.0 ** (1 - users))


def split_totals(totals: Floats, flips: int, seed: int = SEED) -> Floats:
    """Summed statistics of one part of each split, shape (splits, s); all splits up to `EXACT` users.

    Args:
        totals: statistics by user, shape (users, s).
        flips: number of random splits.
    """
    users = len(totals)
    rng = np.random.default_rng(seed)
    # One user stays in the other part: a split and its mirror image are the same split.
    count = (1 << (users - 1)) - 1 if users <= EXACT else flips
    parts = np.empty((count, totals.shape[1]))
    for start in range(0, count, _BLOCK):
        size = min(_BLOCK, count - start)
        if users <= EXACT:
            numbers = np.arange(start + 1, start + 1 + size)
            members = (numbers[:, None] >> np.arange(users)) & 1
        else:
            members = rng.integers(2, size=(size, users), dtype=np.int8)
        parts[start : start + size] = _product(members, totals)
    return parts


def _product(members: np.typing.NDArray[np.integer], totals: Floats) -> Floats:
    with np.errstate(invalid="ignore", over="ignore"):  # a statistic may be infinite
        return members.astype(np.float64) @ totals


def splits_of(totals: Floats, value: Value, parts: Floats) -> Splits:
    """The splits of a figure.

    Args:
        totals: statistics by user, shape (users, s).
        value: computes the figure from summed statistics.
        parts: `split_totals(totals, ...)`.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        one = np.asarray(value(parts), dtype=np.float64)
        other = np.asarray(value(totals.sum(axis=0) - parts), dtype=np.float64)
    known = np.isfinite(one) & np.isfinite(other)
    # A part without a value decides nothing.
    low = np.where(known, np.minimum(one, other), -np.inf)
    high = np.where(known, np.maximum(one, other), np.inf)
    return Splits(low, high, len(parts) + 1, len(totals), len(totals) <= EXACT)
