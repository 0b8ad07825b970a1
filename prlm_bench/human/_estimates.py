"""Intervals of figures of judgements, over users and annotators.

Users and annotators are two crossed samples: another study would ask other people about other users. The variance of a
figure is that between users plus that between annotators, less the variation of single judgements, which both parts
hold. Each part is a jackknife; how much of a part is variation of single judgements follows from who judged what, by
the method of moments (K. Gao and A. B. Owen, "Efficient moment calculations for variance components in large unbalanced
crossed random effects models", Electronic Journal of Statistics 11, 2017). With few annotators the quantiles are those
of t, with degrees of freedom by Satterthwaite's formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from ..results import Estimate, as_mean, mean_value
from ..stats import (
    FEWEST,
    Floats,
    Scale,
    Spread,
    Value,
    combined,
    freedom,
    too_few,
    user_index,
    wilson,
)

#: Annotators that an interval needs: with two, the t quantile is 12.7.
FEWEST_ANNOTATORS = 3
#: Why there is no interval where nothing can be said of how users and annotators vary.
ALIKE = "all users and annotators alike"
#: What a measure of agreement is, for the number of users that its interval needs.
AGREEMENT: Scale = "corpus"
#: What intervals of judgements need, in words.
NEEDED = (
    f"an interval needs {FEWEST_ANNOTATORS} annotators and {FEWEST['share']} users, "
    f"that of agreement {FEWEST[AGREEMENT]} users"
)
Index = NDArray[np.int64]


def unknown(why: str) -> Estimate:
    """A figure that is not defined, and why."""
    return Estimate(value=None, low=None, high=None, why=why)


def without(value: float, why: str) -> Estimate:
    """A figure that has no interval, and why."""
    return Estimate(value=value, low=None, high=None, why=why)


def plain(value: float, low: float, high: float) -> Estimate:
    """A figure with its interval."""
    return Estimate(value=value, low=low, high=high)


@dataclass(frozen=True, slots=True)
class _Factor:
    """One way to group judgements: the group of each, and how many judgements each group has."""

    index: Index
    sizes: Floats

    def jackknife(self, statistics: Floats, value: Value) -> Floats:
        """The variance of a figure, or of several side by side, from leaving out each group in turn."""
        totals = np.zeros((len(self.sizes), statistics.shape[1]))
        np.add.at(totals, self.index, statistics)
        return self.variance(np.asarray(value(totals.sum(axis=0) - totals), dtype=np.float64))

    def variance(self, left_out: Floats) -> Floats:
        """The jackknife variance, from the figures without each group (Tukey 1958)."""
        groups = len(self.sizes)
        return np.asarray((groups - 1) / groups * np.sum((left_out - left_out.mean(axis=0)) ** 2, axis=0))

    def expected(self, effect: Index) -> float:
        """The jackknife variance of a mean that is to be expected from effects with variance 1.

        Args:
            effect: the number of the effect in each judgement.
        """
        groups, n = len(self.sizes), float(self.sizes.sum())
        both, count = np.unique(self.index * (int(effect.max()) + 1) + effect, return_counts=True)
        group, level = np.divmod(both, int(effect.max()) + 1)
        share, overall = count / self.sizes[group], np.bincount(effect) / n
        squares = np.bincount(group, share**2 - 2 * share * overall[level], groups) + float(np.sum(overall**2))
        weights = self.sizes / n
        return float((groups - 1) / groups * np.sum((weights / (1 - weights)) ** 2 * squares))


def _factor(index: Index) -> _Factor:
    return _Factor(index, np.bincount(index).astype(np.float64))


class Crossed:
    """Judgements by their user and their annotator.

    Args:
        users, annotators: of each judgement.
    """

    def __init__(self, users: Sequence[str], annotators: Sequence[str]) -> None:
        self.users, self.annotators = _factor(user_index(users)), _factor(user_index(annotators))
        both = self.users.index * len(self.annotators.sizes) + self.annotators.index
        self._cells = _factor(np.unique(both, return_inverse=True)[1].astype(np.int64))

    @property
    def why(self) -> str:
        """Why there can be no interval; empty if there can."""
        annotators, users = len(self.annotators.sizes), len(self.users.sizes)
        few = f"{annotators} annotator{'s' if annotators > 1 else ''}" if annotators < FEWEST_ANNOTATORS else ""
        return ", ".join(filter(None, [few, too_few("share", users)]))

    def spread(self, statistics: Floats, value: Value) -> list[Spread]:
        """The variance over users and annotators of one figure, or of each of several side by side.

        Args:
            statistics: of each judgement, shape (n, s).
            value: computes the figures from summed statistics.
        """
        users, annotators, cells = (
            np.atleast_1d(factor.jackknife(statistics, value)) for factor in (self.users, self.annotators, self._cells)
        )
        shares = self._shares
        twice = users + annotators - np.tensordot(shares, [users, annotators, cells], 1)
        return [self.together(*map(float, each)) for each in zip(users, annotators, twice, strict=True)]

    def together(self, users: float, annotators: float, twice: float = 0.0) -> Spread:
        """The sum of the jackknife variances of users and of annotators, less what both hold.

        Args:
            twice: what both hold; without it the sum is slightly too large.
        """
        factors = (self.users, self.annotators, self._cells)
        variances = (users, annotators, -min(max(twice, 0.0), users, annotators))
        return combined([Spread(v, freedom(f.sizes)) for v, f in zip(variances, factors, strict=True)])

    @property
    def _shares(self) -> Floats:
        """How the jackknife variances of users, annotators and cells (one's judgements of one user) add up.

        They add up to the variance of a mean, whatever the variances of users, annotators and cells. Where who judged
        what does not tell them apart, those of users and annotators are summed.
        """
        factors = (self.users, self.annotators, self._cells)
        n = float(len(self.users.index))
        true = [float(np.sum((factor.sizes / n) ** 2)) for factor in factors]
        table = np.array(
            [[f.expected(e.index) / whole for f in factors] for e, whole in zip(factors, true, strict=True)]
        )
        shares = np.linalg.lstsq(table, np.ones(3), rcond=1e-9)[0]
        return np.asarray(shares) if np.allclose(table @ shares, 1.0, atol=1e-6) else np.array([1.0, 1.0, 0.0])


def share(
    scores: Sequence[float], users: Sequence[str], annotators: Sequence[str], why: str = "no judgement"
) -> Estimate:
    """The mean of scores from 0 to 1 with its 95 % interval over users and annotators.

    Wilson's interval with an effective number of judgements, the one with which independent judgements would have the
    same variance (Korn and Graubard 1998), and a t quantile. Where all are alike, users count as one judgement each.

    Args:
        scores: of each judgement.
        why: said where there are none.
    """
    if not scores:
        return unknown(why)
    statistics, crossed = as_mean(scores), Crossed(users, annotators)
    mean = float(mean_value(statistics.sum(axis=0)))
    if crossed.why:
        return without(mean, crossed.why)
    (found,) = crossed.spread(statistics, mean_value)
    binary = mean * (1 - mean)
    if found.variance > 0 and binary > 0:
        alone = float(np.var(scores)) / len(scores)  # less would be luck: no two judgements repel each other
        effective, degrees = binary / max(found.variance, alone), found.freedom
    else:
        weights = crossed.users.sizes / len(scores)
        effective, degrees = 1 / float(np.sum(weights**2)), freedom(crossed.users.sizes)
    ends = wilson(mean, max(effective, 1.0), float(student.ppf(0.975, max(degrees, 1.0))))
    return plain(mean, ends.low, ends.high)
