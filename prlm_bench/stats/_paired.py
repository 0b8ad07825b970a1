"""The paired difference of two methods on the same questions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import t as student

from ._flips import TAIL, TEST_FLIPS, Splits, smallest_p
from ._intervals import UNDEFINED, Bounds, Interval, Resampled, none, pseudo_splits, too_few
from ._jackknife import Jackknife, jackknife
from ._trainings import Spread, between, combined, over_trainings, t_ends
from ._users import Floats, Value

#: Whether a difference is tested over users alone, or over users and trainings.
Basis = Literal["users", "users and trainings"]
#: Users that must differ for an interval: below, nothing is known of how far those may differ who are not in the data.
FEWEST_DIFFERENT = 4
#: Beyond this number of users none are said to be enough.
MOST_USERS = 10_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """First method minus second, in the unit of the metric, each the mean of its trainings."""

    first: float
    second: float
    difference: float
    #: 95 % interval of the difference: the values that the test does not reject; nan if none holds.
    low: float
    high: float
    #: 90 % interval, for equivalence.
    inner_low: float
    inner_high: float
    #: Why there is no interval; empty if there is one.
    why: str
    #: Standard error of the difference, and its degrees of freedom.
    error: float
    freedom: float
    #: Two-sided p-value, not corrected.
    p: float
    #: What is tested: the sign-flip test over users, or the t test over users and trainings.
    basis: Basis
    #: Number of users whose own value is higher, equal or lower with the first method.
    higher: int
    equal: int
    lower: int

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """The ends of the 95 % interval; None where there is none."""
        return (None, None) if self.why else (self.low, self.high)

    @property
    def users(self) -> int:
        """Number of users."""
        return self.higher + self.equal + self.lower

    def is_within(self, margin: float) -> bool:
        """True if the methods are equivalent within `margin` at 5 %: two one-sided tests (Schuirmann 1987)."""
        return -margin < self.inner_low and self.inner_high < margin


def paired_difference(
    first: Sequence[Floats],
    second: Sequence[Floats],
    value: Value,
    sizes: Floats,
    *,
    corpus: bool = False,
    interval: Interval = "auto",
    flips: int = TEST_FLIPS,
) -> Difference:
    """Compare two methods.

    Args:
        first, second: statistics by user on the same questions, shape (users, s), one array for each training.
        value: computes the metric from summed statistics.
        sizes: questions of each user.
        corpus: whether the metric is no mean, but a function of counts over all samples.
        interval: the kind of the intervals; the test is the same with any.
        flips: number of random splits of the users.
    """
    both = np.concatenate([*first, *second], axis=1)
    cut = sum(totals.shape[1] for totals in first)
    means = over_trainings(value, len(first)), over_trainings(value, len(second))

    def gap(totals: Floats) -> Floats:
        return np.asarray(means[0](totals[..., :cut]) - means[1](totals[..., cut:]))

    whole = both.sum(axis=0)
    with np.errstate(invalid="ignore", over="ignore"):
        points = float(means[0](whole[:cut])), float(means[1](whole[cut:]))
        own = np.asarray(gap(both))
    nothing = Difference(
        *points,
        difference=points[0] - points[1] if np.isfinite(points).all() else float("nan"),
        **dict.fromkeys(("low", "high", "inner_low", "inner_high", "error", "freedom"), float("nan")),
        why="",
        p=1.0,
        basis="users",
        higher=int(np.sum(own > 1e-12)),
        equal=int(np.sum(~(np.abs(own) > 1e-12))),
        lower=int(np.sum(own < -1e-12)),
    )
    if not np.isfinite(nothing.difference):
        return replace(nothing, why="a value is not finite")
    if len(both) < 2:
        return replace(nothing, why=too_few("mean", len(both)))
    found = jackknife(both, gap, sizes)
    trained = _spread([[float(value(totals.sum(axis=0))) for totals in side] for side in (first, second)])
    drawn = Resampled(both, sizes, flips)
    if trained.variance > 0:
        tested = _over_trainings(nothing, found, trained)
    else:
        tested = _over_users(nothing, found, drawn, gap, corpus, flips)
    if interval == "auto":
        return tested
    columns = slice(0, both.shape[1])
    ends = [drawn.bounds(columns, gap, kind=interval, level=level) for level in (0.95, 0.90)]
    return _with_bounds(tested, *ends)


def _spread(values: Sequence[Sequence[float]]) -> Spread:
    """The variance of a difference of means over trainings.

    Where one side has a single training, that of the other side is taken for it: one estimate for both, which has the
    degrees of freedom of one.
    """
    parts = [between(side) for side in values]
    counts = [len(side) for side in values]
    for one, other in ((0, 1), (1, 0)):
        if counts[one] == 1 and counts[other] > 1:
            return Spread(parts[other].variance * (1 + counts[other]), parts[other].freedom)
    return combined(parts)


def _over_trainings(nothing: Difference, found: Jackknife, trained: Spread) -> Difference:
    spread = combined([Spread(found.error**2, found.freedom), trained])
    error = float(np.sqrt(spread.variance))
    why = too_few("mean", nothing.users)
    ends = [none(why) if why else Bounds(*t_ends(found.value, spread, level=level)) for level in (0.95, 0.90)]
    p = float(2 * student.sf(abs(found.value) / error, spread.freedom))
    tested = replace(nothing, error=error, freedom=spread.freedom, p=p, basis="users and trainings")
    return _with_bounds(tested, *ends)


def _over_users(
    nothing: Difference, found: Jackknife, drawn: Resampled, gap: Value, corpus: bool, flips: int
) -> Difference:
    why = too_few("corpus" if corpus else "mean", nothing.users) or _too_alike(nothing)
    splits = drawn.splits(slice(0, drawn.totals.shape[1]), gap)
    if corpus and not why:
        splits = pseudo_splits(found.pseudo, drawn.sizes, flips)
    ends = [none(why) if why else _ends(splits.interval(level)) for level in (0.95, 0.90)]
    tested = replace(nothing, error=found.error, freedom=found.freedom, p=_p(splits, found))
    return _with_bounds(tested, *ends)


def _too_alike(found: Difference) -> str:
    differ = found.higher + found.lower
    if differ >= FEWEST_DIFFERENT:
        return ""
    return f"only {differ} user{'s differ' if differ != 1 else ' differs'}" if differ else "no user differs"


def _ends(found: tuple[float, float] | None) -> Bounds:
    return none(UNDEFINED) if found is None else Bounds(*found)


def _p(splits: Splits, found: Jackknife) -> float:
    """The sign-flip p-value of 0; far in its tail that of the t test, down to what the exact test could give."""
    p = splits.p(0.0)
    if splits.exact or p * splits.count >= TAIL or found.error == 0:
        return p
    tail = float(2 * student.sf(abs(found.value) / found.error, found.freedom))
    return min(p, max(tail, smallest_p(splits.users)))


def _with_bounds(found: Difference, outer: Bounds, inner: Bounds) -> Difference:
    outside = replace(found, low=outer.low, high=outer.high, why=outer.why)
    return replace(outside, inner_low=inner.low, inner_high=inner.high)


def smallest_detectable(found: Difference, comparisons: int = 1, level: float = 0.05, power: float = 0.8) -> float:
    """The smallest true difference that the test finds with probability `power` among so many comparisons.

    (t of 1 - level / (2 comparisons) + t of power) times the standard error (Bloom 1995, with t quantiles), the first
    step of Holm's correction. Infinite where the number of users rules out so small a p-value.
    """
    if not found.error >= 0 or (found.basis == "users" and smallest_p(found.users) > level / comparisons):
        return float("inf")
    needed = student.ppf(1 - level / (2 * comparisons), found.freedom) + student.ppf(power, found.freedom)
    return float(needed) * found.error


def users_needed(
    found: Difference, effect: float, comparisons: int = 1, level: float = 0.05, power: float = 0.8
) -> int | None:
    """How many users like these it takes to find a true difference of `effect`; None if none are enough.

    The standard error is scaled by the root of the number of users; that of trainings stays.
    """
    if not found.error > 0 or effect <= 0 or found.basis != "users":
        return None
    scale = found.error * float(np.sqrt(found.users)) / effect

    def enough(users: int) -> bool:
        if smallest_p(users) > level / comparisons:
            return False
        quantiles = student.ppf(1 - level / (2 * comparisons), users - 1) + student.ppf(power, users - 1)
        return bool(users >= (quantiles * scale) ** 2)

    if not enough(MOST_USERS):
        return None
    return bisect_left(range(MOST_USERS), True, lo=2, key=enough)
