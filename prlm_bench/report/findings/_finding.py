"""The outcome of a check, and the rows that checks read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ...host import Component
from ...results import ClusterEstimates, Estimate, SeedGroup, Stored, as_mean, describe_group, mean_value, seeds_of
from ...stats import CONSTANT, scale_of, user_totals
from .._columns import SampleColumns, numbers
from .._text import on_trainings

#: Shown, shown to be absent, not enough users to show either, or not possible to check.
Status = Literal["found", "passed", "open", "unchecked"]

#: A gain below this, in the metric's unit, counts as none.
MARGIN = 0.02


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    #: Which check, see `CHECKS`.
    check: str
    #: Whether the failure signature is shown (`found`), shown to be absent (`passed`), neither with so few users
    #: (`open`), or could not be checked (`unchecked`).
    status: Status
    task: str
    split: str
    #: Description and fingerprints of the rows.
    method: str
    fingerprints: tuple[str, ...]
    #: What is checked; the same text for all rows of a check.
    what: str
    #: The result: the figure with its interval, or the reason for its absence.
    text: str
    #: The decisive figure with its interval over users, whose level is 1 - 0.05 / checks of the run; None if there is
    #: none.
    figure: Estimate | None
    #: For `open`: about how many users like these would decide; None where it cannot be said.
    needed: int | None = None

    @property
    def heading(self) -> str:
        """The heading shared by findings of several rows."""
        return f"{self.task} {self.split}, {self.what}:"


@dataclass(frozen=True)
class ResultRow:
    """A method and its samples, with all of its seeds."""

    seeds: SeedGroup
    #: The samples of each seed.
    columns: Sequence[SampleColumns]
    #: Its retriever; None if no loaded plugin registers it.
    retriever: Component | None

    @property
    def result(self) -> Stored:
        """The result of the first seed, for fields that all seeds share."""
        return self.seeds[0]

    @property
    def name(self) -> str:
        """The method in one line."""
        return describe_group(self.seeds)

    @property
    def k(self) -> int:
        """Maximum number of items shown."""
        return self.result.manifest.method.k

    @property
    def is_control(self) -> bool:
        """True for a control row, unless its retriever reads the relevance labels."""
        uses_labels = self.retriever is not None and "relevance" in self.retriever.needs
        return self.result.manifest.control and not uses_labels

    @property
    def selects_items(self) -> bool:
        """True if a retriever that is not a control selects the items."""
        return self.k > 0 and not (self.retriever is not None and self.retriever.control)

    @property
    def uses_random_items(self) -> bool:
        """True if a control retriever returns the user's own items, selected without the question."""
        known = self.retriever
        return known is not None and known.control and not known.needs & {"users"} and not known.ignores & {"items"}

    @property
    def uses_other_users_items(self) -> bool:
        """True if a control retriever returns another user's items: it needs other users."""
        return self.retriever is not None and self.retriever.control and "users" in self.retriever.needs

    @property
    def frame(self) -> tuple[object, ...]:
        """The settings of the row except its retriever."""
        manifest = self.result.manifest
        method = manifest.method
        return (method.k, method.reasoner, method.generator, manifest.data.view, manifest.data.dates)


@dataclass(frozen=True)
class Group:
    """Rows that answered the same questions."""

    lines: Sequence[ResultRow]
    #: Checks of the run, over which the level of intervals is corrected (Bonferroni).
    family: int = 1

    @property
    def level(self) -> float:
        """The level of the intervals of checks."""
        return 1 - 0.05 / max(self.family, 1)

    @property
    def first(self) -> Stored:
        """The first result."""
        return self.lines[0].result

    @property
    def users(self) -> list[str]:
        """The user of each question."""
        return self.lines[0].columns[0].users

    @cached_property
    def metric(self) -> str | None:
        """The metric that ranks the first table; None if it has no value for single questions."""
        names = self.first.manifest.metric_names
        known = names and any(names[0] in record for record in self.lines[0].columns[0].metrics)
        return names[0] if known else None

    @cached_property
    def sign(self) -> float:
        """1 if a larger value of the metric is better, else -1."""
        summary = self.first.summary.metrics.get(self.metric or "")
        return 1.0 if summary is None or summary.higher_is_better else -1.0

    @property
    def why_no_metric(self) -> str:
        """Why there is no metric for comparisons."""
        names = self.first.manifest.metric_names
        if not self.first.summary.metrics:
            return "the golds are withheld, so answers have no score"
        return f"{names[0]} has no value for single questions" if names else "the results have no metrics"

    def scores(self, line: ResultRow) -> NDArray[np.float64]:
        """The metric of each question averaged over seeds, shape (n,), signed so that larger is better."""
        found: NDArray[np.float64] = self.scores_by_seed(line).mean(axis=0)
        return found

    def scores_by_seed(self, line: ResultRow) -> NDArray[np.float64]:
        """The metric of each question, shape (seeds, n), signed so that larger is better."""
        return self.sign * np.array([numbers(columns.metrics, self.metric or "") for columns in line.columns])

    def counterpart(self, line: ResultRow, wanted: Callable[[ResultRow], bool]) -> ResultRow | None:
        """The first row that satisfies `wanted` and differs from `line` only in the retriever."""
        return next((other for other in self.lines if wanted(other) and other.frame == line.frame), None)

    def intervals(self, values: Mapping[str, NDArray[np.float64]]) -> dict[str, Estimate]:
        """The mean of each array of n values, or of (trainings, n), all intervals from the same draws of users."""
        if not values:
            return {}
        figures = ClusterEstimates(self.users)
        for name, column in values.items():
            statistics = [as_mean(each.tolist()) for each in np.atleast_2d(column)]
            scale = scale_of(np.concatenate(statistics))
            figures.add_totals(name, [user_totals(each, self.users) for each in statistics], mean_value, scale)
        return figures.estimates(level=self.level)

    def gap(self, line: ResultRow, other: ResultRow) -> NDArray[np.float64]:
        """The difference of the metric by question: of each training, shape (trainings, n), where the seeds of the rows
        are the same or one row has a single seed; else of means over seeds, shape (n,)."""
        mine, theirs = seeds_of(line.seeds), seeds_of(other.seeds)
        if mine == theirs or 1 in (len(mine), len(theirs)):
            gaps: NDArray[np.float64] = self.scores_by_seed(line) - self.scores_by_seed(other)
            return gaps
        return self.scores(line) - self.scores(other)

    def gain(self, found: Estimate) -> tuple[Status, int | None]:
        """Whether there is no gain, or one below `MARGIN`; if neither is shown, how many users would show `MARGIN`."""
        low, high = ends(found)
        if low > 0:
            return "passed", None
        if high < MARGIN:
            return "found", None
        return "open", _users_needed(found, len(set(self.users)), self.level)

    def finding(
        self,
        check: str,
        status: Status,
        lines: Sequence[ResultRow],
        what: str,
        text: str,
        figure: Estimate | None = None,
        name: str = "",
        needed: int | None = None,
    ) -> Finding:
        """A finding about rows of this group; `name` replaces the list of their names."""
        manifest = self.first.manifest
        fingerprints = tuple(result.manifest.fingerprint for line in lines for result in line.seeds)
        method = name or "; ".join(line.name for line in lines)
        return Finding(check, status, manifest.task, manifest.split, method, fingerprints, what, text, figure, needed)

    def unchecked(self, check: str, lines: Sequence[ResultRow], what: str, why: str) -> Finding:
        """The outcome of a check that is not possible for these rows."""
        rows = f"{len(lines)} row{'s' * (len(lines) != 1)}"
        return self.finding(check, "unchecked", lines, what, why, name=rows)


Check = Callable[[Group], Iterator[Finding]]


def _users_needed(found: Estimate, users: int, level: float, power: float = 0.8) -> int | None:
    """Users like these that show a true gain of `MARGIN` with probability `power` (normal approximation)."""
    if found.low is None or found.high is None or found.high <= found.low:
        return None
    certain, likely = norm.ppf((1 + level) / 2), norm.ppf(power)
    error = (found.high - found.low) / 2 / certain
    return int(np.ceil(users * ((certain + likely) * error / MARGIN) ** 2))


def ends(found: Estimate) -> tuple[float, float]:
    """The ends of an interval: the value itself where all users are alike, infinite where there is none."""
    if found.low is not None and found.high is not None:
        return found.low, found.high
    known = found.value is not None and found.why == CONSTANT
    return (found.value, found.value) if known and found.value is not None else (-np.inf, np.inf)


def needing(text: str, needed: int | None) -> str:
    """The text of an open check."""
    return text + (f"; about {needed} users would show a gain of {MARGIN}" if needed else "")


def signed(found: Estimate) -> str:
    """A difference with its interval."""
    assert found.value is not None
    if found.low is None or found.high is None:
        return f"{found.value:+.4f} ({found.why})"
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def resting_on(values: NDArray[np.float64]) -> str:
    """The trainings that figures rest on, to put after them; "" where all agree.

    Args:
        values: by question, shape (trainings, n); of shape (n,) if they are no trainings.
    """
    differ = values.ndim == 2 and not all(np.array_equal(each, values[0], equal_nan=True) for each in values)
    return f" {on_trainings(len(values))}" if differ else ""


def share(found: Estimate) -> str:
    """A share with its interval, in percent."""
    assert found.value is not None
    if found.low is None or found.high is None:
        return f"{100 * found.value:.1f} % ({found.why})"
    return f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"
