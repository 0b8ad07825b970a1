"""Which interval a figure gets: by what the figure is, and by how many users there are.

The choices are those that hold their level in the simulations of `benchmarks/check_coverage.py`; the tables are in
docs/explanation/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import t as student

from ._bootstrap import RESAMPLES, bca_interval, bootstrap_totals, percentile_interval
from ._flips import INTERVAL_FLIPS, TAIL, Splits, smallest_p, split_totals, splits_of
from ._jackknife import Jackknife, jackknife
from ._trainings import Scale, Spread, between, combined, over_trainings, t_ends
from ._users import Floats, Value

#: How an interval is computed: by what the figure is, or from resampled users.
Interval = Literal["auto", "percentile", "bca"]
INTERVALS: tuple[Interval, ...] = ("auto", "percentile", "bca")
#: Why there is no interval where a part of the users has no value.
UNDEFINED = "undefined without some users"
#: Why there is no interval where nothing can be said of how users vary.
CONSTANT = "all users alike"
#: Users that an interval needs: below, none holds its level.
FEWEST: dict[Scale, int] = {"mean": 6, "share": 6, "errors": 10, "corpus": 20}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The ends of an interval; nan with the reason in `why` if none holds."""

    low: float
    high: float
    why: str = ""


def none(why: str) -> Bounds:
    """No interval."""
    return Bounds(float("nan"), float("nan"), why)


def scale_of(statistics: Floats, *, errors: bool = False) -> Scale:
    """What a figure is, from its per-sample statistics, shape (n, s).

    Args:
        errors: whether lower is better.
    """
    if statistics.shape[1] != 2:
        return "corpus"
    if np.isin(statistics, (0.0, 1.0)).all():
        return "share"
    return "errors" if errors and (statistics >= 0).all() else "mean"


def too_few(scale: Scale, users: int) -> str:
    """Why so many users hold no interval for such a figure; empty if they do."""
    return "" if users >= FEWEST[scale] else f"{users} user{'s' if users != 1 else ''}"


class Resampled:
    """The resamples and splits of the same users, drawn once for all figures.

    Args:
        totals: statistics of all figures by user, shape (users, s).
        sizes: questions of each user.
    """

    def __init__(self, totals: Floats, sizes: Floats, flips: int = INTERVAL_FLIPS, resamples: int = RESAMPLES) -> None:
        self.totals, self.sizes = totals, sizes
        self._flips, self._resamples = flips, resamples
        self._parts: Floats | None = None
        self._drawn: Floats | None = None

    def splits(self, columns: slice, value: Value) -> Splits:
        """The splits of the figure in these columns."""
        if self._parts is None:
            self._parts = split_totals(self.totals, self._flips)
        return splits_of(self.totals[:, columns], value, self._parts[:, columns])

    def drawn(self, columns: slice) -> Floats:
        """The bootstrap totals of these columns."""
        if self._drawn is None:
            self._drawn = bootstrap_totals(self.totals, self._resamples)
        return self._drawn[:, columns]

    def bounds(
        self, columns: slice, value: Value, scale: Scale = "mean", kind: Interval = "auto", level: float = 0.95
    ) -> Bounds:
        """The interval of the figure in these columns.

        Args:
            value: computes the figure from summed statistics.
            scale: what the figure is; decides how an `auto` interval is computed.
            kind: `auto`, or `percentile` or `bca` of resampled users at any number of users.
        """
        totals = self.totals[:, columns]
        if kind != "auto":
            return self._bootstrap(columns, value, kind, level)
        why = too_few(scale, len(totals))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            if not why and not np.isfinite(value(totals.sum(axis=0))):
                why = "the value is not finite"
        if why:
            return none(why)
        return _BOUNDS[scale](self, columns, value, level)

    def over_trainings(self, columns: slice, value: Value, trainings: int, scale: Scale, level: float = 0.95) -> Bounds:
        """The interval over users and trainings of a figure averaged over trainings.

        Args:
            columns: the statistics of each training, side by side.
            value: the figure of one training.
        """
        totals, mean = self.totals[:, columns], over_trainings(value, trainings)
        if (why := too_few(scale, len(totals))) or len(totals) < 2:
            return none(why)
        values = [float(value(part)) for part in np.split(totals.sum(axis=0), trainings)]
        spread = between(values)
        if spread.variance == 0:
            return self.bounds(columns, mean, "mean" if scale == "share" else scale, level=level)
        found = jackknife(totals, mean, self.sizes)
        if not np.isfinite(found.error):
            return none(UNDEFINED)
        return Bounds(*t_ends(found.value, combined([Spread(found.error**2, found.freedom), spread]), scale, level))

    def _bootstrap(self, columns: slice, value: Value, kind: Interval, level: float) -> Bounds:
        if len(self.totals) < 2:
            return none(too_few("mean", len(self.totals)))
        if kind == "bca":
            return Bounds(*bca_interval(self.totals[:, columns], value, self.drawn(columns), level))
        return Bounds(*percentile_interval(np.asarray(value(self.drawn(columns))), level))


def _mean(resampled: Resampled, columns: slice, value: Value, level: float) -> Bounds:
    splits = resampled.splits(columns, value)
    return split_bounds(splits, level, lambda: jackknife(resampled.totals[:, columns], value, resampled.sizes))


def split_bounds(splits: Splits, level: float, left_out: Callable[[], Jackknife]) -> Bounds:
    """The interval of a figure by its splits; at a level beyond random ones, that of the t distribution.

    Args:
        left_out: the jackknife of the figure, if it is needed.
    """
    if smallest_p(splits.users) > 1 - level:
        return none(f"{splits.users} users")
    if not splits.exact and (1 - level) * splits.count < TAIL:
        found = left_out()
        if not np.isfinite(found.error):
            return none(UNDEFINED)
        return Bounds(*t_ends(found.value, Spread(found.error**2, found.freedom), level=level))
    ends = splits.interval(level)
    if ends is None:
        return none(UNDEFINED)
    return none(CONSTANT) if ends[0] == ends[1] else Bounds(*ends)


def _share(resampled: Resampled, columns: slice, value: Value, level: float) -> Bounds:
    """Wilson's interval with an effective number of questions (Korn and Graubard 1998) and t quantiles.

    Where all answers are right or all are wrong, users count as one observation each.
    """
    totals, sizes = resampled.totals[:, columns], resampled.sizes
    found = jackknife(totals, value, sizes)
    share, spread = found.value, found.value * (1 - found.value)
    n = float(totals[:, 1].sum())
    weights = totals[:, 1] / n
    known = found.error > 0 and spread > 0
    effective = max(min(spread / found.error**2, n) if known else 1 / float((weights**2).sum()), 1.0)
    return wilson(share, effective, float(student.ppf((1 + level) / 2, found.freedom)))


def wilson(share: float, effective: float, quantile: float) -> Bounds:
    """Wilson's interval (1927) of a share.

    Args:
        effective: number of independent answers that would have the same variance.
        quantile: of the normal or the t distribution.
    """
    square = quantile**2 / effective
    middle = (share + square / 2) / (1 + square)
    half = quantile / (1 + square) * float(np.sqrt(share * (1 - share) / effective + square / (4 * effective)))
    return Bounds(max(middle - half, 0.0), min(middle + half, 1.0))


def _errors(resampled: Resampled, columns: slice, value: Value, level: float) -> Bounds:
    """The t interval of the logarithm, with the jackknife's standard error."""
    found = jackknife(resampled.totals[:, columns], value, resampled.sizes)
    if found.value <= 0 or found.error == 0:
        return _mean(resampled, columns, value, level)
    half = float(student.ppf((1 + level) / 2, found.freedom)) * found.error / found.value
    return Bounds(found.value * float(np.exp(-half)), found.value * float(np.exp(half)))


def _corpus(resampled: Resampled, columns: slice, value: Value, level: float) -> Bounds:
    """The sign-flip interval of the jackknife's pseudo-values, which corrects the bias of few samples."""
    found = jackknife(resampled.totals[:, columns], value, resampled.sizes)
    return split_bounds(pseudo_splits(found.pseudo, resampled.sizes), level, lambda: found)


def pseudo_splits(pseudo: Floats, sizes: Floats, flips: int = INTERVAL_FLIPS) -> Splits:
    """The splits of the mean of pseudo-values, shape (users,), weighted by the users' questions."""
    totals = np.stack([sizes * pseudo, sizes], axis=1)
    return splits_of(totals, lambda sums: sums[..., 0] / sums[..., 1], split_totals(totals, flips))


_BOUNDS: dict[Scale, Callable[[Resampled, slice, Value, float], Bounds]] = {
    "mean": _mean,
    "share": _share,
    "errors": _errors,
    "corpus": _corpus,
}
