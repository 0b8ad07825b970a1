"""Metrics as everything that scores uses them: what a plugin's metric gives is checked here, and nowhere else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..errors import PrlmBenchError
from ._faults import PluginFault, WrongResultError, no_exit

if TYPE_CHECKING:
    from ..metrics import Pairs
    from ..metrics._metric import Floats


#: The fingerprint of a metric or a reward whose factory raised an error: once that works, the row is another one.
NOT_MADE = "not made"


class CheckedMetric:
    """A metric under the name of its spec, options included, whose figures are checked.

    Args:
        metric: what the factory made.
        name: `measure@protocol` with the options that are not defaults; the column's name.
        told: what errors call it, with its plugin.

    Raises:
        PrlmBenchError: it lacks what a metric has to declare, or declares something else.
    """

    def __init__(self, metric: Any, name: str, told: str) -> None:
        self.inner: Any = metric
        self.name = name
        #: What errors call it.
        self.told = told
        self.higher_is_better = _flag(metric, "higher_is_better")
        #: Whether the value is the mean of a number for each sample.
        self.is_mean = _flag(metric, "is_mean")
        #: Whether it refuses golds that do not fit the task's labels.
        self.reads_labels = bool(getattr(metric, "reads_labels", False))
        #: The smallest and the largest value that there can be.
        self.limits = _limits(metric)
        #: What it measures, in one line; "" where it does not say.
        self.summary = _summary(metric)

    def __repr__(self) -> str:
        return f"<metric {self.name}>"

    def statistics(self, pairs: Pairs) -> Floats:
        """Sufficient statistics, shape (n, s), one row for each pair.

        Raises:
            WrongResultError: the metric gives something else.
        """
        with no_exit():
            given = self.inner.statistics(pairs)
        found = self._numbers("statistics", given)
        if found.ndim != 2 or len(found) != len(pairs) or not found.shape[1]:
            raise self._wrong("statistics", f"shape {found.shape} for {len(pairs)} pairs; ({len(pairs)}, s) is needed")
        return found

    def value(self, totals: Floats) -> Floats:
        """The value of summed statistics: shape (..., s) to (...).

        Raises:
            WrongResultError: the metric gives something else.
        """
        with no_exit():
            given = self.inner.value(totals)
        found = self._numbers("value", given)
        if found.shape != totals.shape[:-1]:
            raise self._wrong("value", f"shape {found.shape} for totals of shape {totals.shape}")
        return found

    def too_rare(self, totals: Floats) -> str:
        """What occurs too rarely for an interval; see `metrics.KnowsRareValues`."""
        rule = getattr(self.inner, "too_rare", None)
        if rule is None:
            return ""
        with no_exit():
            why = rule(totals)
        if not isinstance(why, str):
            raise self._wrong("too_rare", f"a {type(why).__name__} in place of a text")
        return why

    def _numbers(self, method: str, given: Any) -> Floats:
        import numpy as np

        try:
            return np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError):
            raise self._wrong(method, f"a {type(given).__name__} that is no array of numbers") from None

    def _wrong(self, method: str, what: str) -> WrongResultError:
        return WrongResultError(f"{method}() gave {what}", self.inner, method)


class BrokenMetric:
    """Stands for a metric whose factory raised an error: a run costs its column, as if its first call had.

    Args:
        fault: the error.
    """

    higher_is_better = is_mean = True

    def __init__(self, fault: PluginFault) -> None:
        self._fault = fault

    def statistics(self, pairs: Pairs) -> Floats:
        """Raise the factory's error."""
        raise self._fault

    def value(self, totals: Floats) -> Floats:
        """Raise the factory's error."""
        raise self._fault


def _flag(metric: Any, name: str) -> bool:
    given = getattr(metric, name, None)
    if given not in (True, False):
        raise PrlmBenchError(f"{type(metric).__name__}.{name} has to be True or False; it is {given!r}")
    return bool(given)


def _limits(metric: Any) -> tuple[float, float]:
    given = getattr(metric, "limits", (-math.inf, math.inf))
    try:
        low, high = map(float, given)
    except (TypeError, ValueError):
        low = high = math.nan
    if not low < high:
        raise PrlmBenchError(f"{type(metric).__name__}.limits has to be the least and the largest value: {given!r}")
    return low, high


def _summary(metric: Any) -> str:
    given = getattr(metric, "summary", "")
    return given.partition("\n")[0].strip() if isinstance(given, str) else ""
