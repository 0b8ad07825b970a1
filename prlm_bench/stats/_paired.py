"""The paired difference of two methods on the same questions."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ._bootstrap import RESAMPLES, SEED, Floats, Interval, Value, bootstrap_totals, interval_of
from ._permutation import sign_flip_test


@dataclass(frozen=True, slots=True)
class Difference:
    """First method minus second, in the unit of the metric."""

    first: float
    second: float
    difference: float
    #: 95 % interval of the difference, users resampled; nan with fewer than two users.
    low: float
    high: float
    #: 90 % interval, for equivalence.
    inner_low: float
    inner_high: float
    #: Standard error of the difference: the standard deviation of the resampled differences.
    error: float
    #: Sign-flip test over users, two-sided, not corrected.
    p: float
    #: Number of users whose own value is higher, equal or lower with the first method.
    higher: int
    equal: int
    lower: int

    def is_within(self, margin: float) -> bool:
        """True if the methods are equivalent within `margin` at 5 %: two one-sided tests (Schuirmann 1987)."""
        return -margin < self.inner_low and self.inner_high < margin


def paired_difference(
    first: Floats,
    second: Floats,
    value: Value,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    interval: Interval = "percentile",
) -> Difference:
    """Compare two methods.

    Args:
        first, second: statistics by user on the same questions, shape (users, s) each.
        value: computes the metric from summed statistics.
        resamples: number of resamples of users for the intervals.
        interval: type of the intervals.
    """
    width = first.shape[1]
    points = [float(value(totals.sum(axis=0))) for totals in (first, second)]
    low = high = inner_low = inner_high = error = float("nan")
    if len(first) > 1:
        both = np.concatenate([first, second], axis=1)
        resampled = bootstrap_totals(both, resamples, seed)

        def gap(totals: Floats) -> Floats:
            return np.asarray(value(totals[..., :width]) - value(totals[..., width:]))

        differences = gap(resampled)
        low, high = interval_of(interval, both, gap, resampled)
        inner_low, inner_high = interval_of(interval, both, gap, resampled, 0.90)
        finite = differences[np.isfinite(differences)]
        error = float(finite.std(ddof=1)) if len(finite) > 1 else float("nan")
    own = np.asarray(value(first) - value(second))
    return Difference(
        first=points[0],
        second=points[1],
        difference=points[0] - points[1],
        low=low,
        high=high,
        inner_low=inner_low,
        inner_high=inner_high,
        error=error,
        p=sign_flip_test(first, second, value, seed=seed),
        higher=int(np.sum(own > 1e-12)),
        equal=int(np.sum(np.abs(own) <= 1e-12)),
        lower=int(np.sum(own < -1e-12)),
    )


def smallest_detectable(error: float, level: float = 0.05, power: float = 0.8) -> float:
    """The smallest true difference that a test at `level` finds with probability `power`.

    Normal approximation: (z of 1 - level/2 + z of power) times the standard error of the difference (Bloom 1995).
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)) * error
