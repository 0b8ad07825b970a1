"""Draws the intervals of a metric on a common axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..report import Row
from ..report._text import value
from ..results import Estimate
from ._entries import Entry

#: Width of a drawing and its margins, in pixels.
WIDTH = 96
_MARGIN = 4


@dataclass(frozen=True)
class Axis:
    """The common range of the intervals of one metric."""

    low: float
    high: float
    #: The value of the best control row, if any.
    control: float | None

    @property
    def ends(self) -> tuple[str, str]:
        """The ends of the range as text."""
        return _short(self.low), _short(self.high)

    def at(self, point: float) -> float:
        """The position of a value, in pixels from the left."""
        unit = (WIDTH - 2 * _MARGIN) / (self.high - self.low) if self.high > self.low else 0.0
        return round(_MARGIN + (point - self.low) * unit, 1)


@dataclass(frozen=True)
class Drawing:
    """An interval and its point, in pixels."""

    low: float
    value: float
    high: float
    control: float | None


def axis_for(
    entries: Sequence[Entry],
    metric: str,
    higher_is_better: bool,
    is_bar: Callable[[Row], bool] = lambda row: row.control,
) -> Axis:
    """The axis of a metric, wide enough for all entries.

    Args:
        entries: the rows.
        metric: its name.
        higher_is_better: which end is best.
        is_bar: the rows of which the best is marked.
    """
    rows = [entry.row for entry in entries if metric in entry.row.figures.metrics]
    found = [(is_bar(row), row.figures.metrics[metric]) for row in rows]
    ends = [end for _, each in found for end in (each.low, each.high, each.value) if end is not None]
    if not ends:
        return Axis(0.0, 1.0, None)
    controls = [each.value for control, each in found if control and each.value is not None]
    best = max if higher_is_better else min
    return Axis(min(ends), max(ends), best(controls) if controls else None)


def draw(found: Estimate, axis: Axis) -> Drawing | None:
    """The drawing of an estimate; None if it has no interval."""
    if found.value is None or found.low is None or found.high is None:
        return None
    control = None if axis.control is None else axis.at(axis.control)
    return Drawing(axis.at(found.low), axis.at(found.value), axis.at(found.high), control)


def _short(number: float) -> str:
    return value(Estimate(value=number, low=None, high=None))[:5].rstrip(".")
