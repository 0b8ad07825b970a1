"""Rewards that do not separate good answers from bad ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ...results import ClusterEstimates
from ...stats import Floats
from .._columns import names_in, numbers
from ._finding import Finding, Group, ResultRow, Status, ends, share, signed

#: A reward has no spread if this share of the answers has the same score.
SAME = 0.99
#: A correlation below this counts as none.
WEAK = 0.1
#: Relative differences below this count as zero.
_ROUNDING = 1e-12


def rewards(group: Group) -> Iterator[Finding]:
    """Check each reward over all rows that have it.

    A reward must not give nearly all answers the same score, and must correlate with the ranking metric. If several
    results answered the same questions, both are taken as deviations from the question's mean. This removes the
    difficulty of questions and leaves whether better answers to a question score higher.
    """
    for name in dict.fromkeys(name for line in group.lines for name in names_in(line.columns[0].rewards)):
        lines = [line for line in group.lines if any(name in record for record in line.columns[0].rewards)]
        yield _check(group, name, lines, np.array([numbers(c.rewards, name) for line in lines for c in line.columns]))


def _check(group: Group, name: str, lines: Sequence[ResultRow], scores: Floats) -> Finding:
    about = f"reward {name}"
    what = "a reward does not separate good answers from bad ones"
    known = scores[np.isfinite(scores)]
    if not known.size:
        return group.unchecked("rewards", lines, about, "it has no finite value")
    values, counts = np.unique(known, return_counts=True)
    most_common = float(values[counts.argmax()])
    same = group.intervals({"same": np.nanmean(np.where(np.isfinite(scores), scores == most_common, np.nan), axis=0)})
    if same["same"].value is not None and same["same"].value >= SAME:
        text = f"{share(same['same'])} of {known.size} answers score {most_common:.4g}"
        return group.finding("rewards", "found", lines, what, text, same["same"], about)
    if group.metric is None:
        return group.unchecked("rewards", lines, about, group.why_no_metric)
    metric = np.concatenate([group.scores_by_seed(line) for line in lines])
    figures = ClusterEstimates(group.users)
    figures.add("correlation", _sums(scores, metric), _correlation)
    found = figures.estimates(level=group.level)["correlation"]
    where = f"within questions (over {len(scores)} results)" if len(scores) > 1 else "over questions"
    if found.value is None:
        return group.unchecked("rewards", lines, about, f"{group.metric} does not vary {where}")
    text = f"correlation with {group.metric} {where} {signed(found)}"
    status: Status = "open"
    low, high = ends(found)
    if low > 0:
        status = "passed"
    elif high < WEAK:
        status = "found"
    return group.finding("rewards", status, lines, what, text, found, about)


def _sums(x: Floats, y: Floats) -> Floats:
    """Sufficient statistics of a correlation by question, summed over rows: two arrays (rows, n) to (n, 6)."""
    both = np.isfinite(x) & np.isfinite(y)
    counts = both.sum(axis=0)
    x, y = (_centred(each, both, counts) for each in (x, y))
    return np.stack([counts, *(part.sum(axis=0) for part in (x, y, x * x, y * y, x * y))], axis=1).astype(np.float64)


def _centred(values: Floats, both: NDArray[np.bool_], counts: NDArray[np.int64]) -> Floats:
    known = np.where(both, values, 0.0)
    if len(values) == 1:
        return known
    deviations = np.where(both, values - known.sum(axis=0) / np.maximum(counts, 1), 0.0)
    # Equal values differ from their mean by rounding.
    return np.where(np.abs(deviations) > _ROUNDING * np.abs(known).max(initial=0.0), deviations, 0.0)


def _correlation(totals: Floats) -> Floats:
    n, x, y, xx, yy, xy = (totals[..., place] for place in range(6))
    with np.errstate(invalid="ignore", divide="ignore"):
        spread_x, spread_y = xx - x * x / n, yy - y * y / n
        known = (spread_x > _ROUNDING * xx) & (spread_y > _ROUNDING * yy)
        spread = np.sqrt(np.where(known, spread_x * spread_y, 1.0))
        return np.asarray(np.where(known, (xy - x * y / n) / spread, np.nan))
