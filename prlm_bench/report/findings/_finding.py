"""What a check says about a row, and the rows that it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...host import Component
from ...results import ClusterEstimates, Estimate, SeedGroup, Stored, as_mean, describe_group
from .._columns import SampleColumns, numbers

Status = Literal["found", "passed", "unchecked"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    #: Which check: `retrieval`, `answers`, `rewards` or `controls`.
    check: str
    #: Whether the failure signature was found; `unchecked` where that cannot be said.
    status: Status
    task: str
    split: str
    #: The rows that it is about, in words, and their fingerprints.
    method: str
    fingerprints: tuple[str, ...]
    #: What is asked of the rows, alike for all rows of a check.
    what: str
    #: The answer: the figure with its interval, or why there is none.
    text: str
    #: The figure that decided, with its 95 % interval over users; None where there is none.
    figure: Estimate | None

    @property
    def heading(self) -> str:
        """What findings of several rows share."""
        return f"{self.task} {self.split}, {self.what}:"


@dataclass(frozen=True)
class Line:
    """A method with what the checks read of it, its seeds taken together."""

    family: SeedGroup
    #: The samples of each seed.
    columns: Sequence[SampleColumns]
    #: The retriever behind it; None where no plugin here brings it.
    retriever: Component | None

    @property
    def result(self) -> Stored:
        """The first seed's result, for what all seeds share."""
        return self.family[0]

    @property
    def name(self) -> str:
        """The method in one line."""
        return describe_group(self.family)

    @property
    def k(self) -> int:
        """Items shown at most."""
        return self.result.manifest.method.k

    @property
    def is_control(self) -> bool:
        """True for a control row, unless its retriever is told the relevant items."""
        told = self.retriever is not None and "relevance" in self.retriever.needs
        return self.result.manifest.control and not told

    @property
    def selects_items(self) -> bool:
        """True where a retriever that is no control gives items."""
        return self.k > 0 and not (self.retriever is not None and self.retriever.control)

    @property
    def uses_random_items(self) -> bool:
        """True where a control retriever gives the user's own items: it does not choose them for the question."""
        known = self.retriever
        return known is not None and known.control and not known.needs & {"users"} and not known.ignores & {"items"}

    @property
    def uses_other_users_items(self) -> bool:
        """True where a control retriever gives another user's items: it needs other users."""
        return self.retriever is not None and self.retriever.control and "users" in self.retriever.needs

    @property
    def frame(self) -> tuple[object, ...]:
        """All of the row but its retriever."""
        manifest = self.result.manifest
        method = manifest.method
        return (method.k, method.reasoner, method.generator, manifest.data.view, manifest.data.dates)


@dataclass(frozen=True)
class Group:
    """Rows that answered the same questions."""

    lines: Sequence[Line]

    @property
    def first(self) -> Stored:
        """Any of the results."""
        return self.lines[0].result

    @property
    def users(self) -> list[str]:
        """The user of each question."""
        return self.lines[0].columns[0].users

    @cached_property
    def metric(self) -> str | None:
        """The metric that ranks the first table; None where it has no value for single questions."""
        names = self.first.manifest.metric_names
        known = names and any(names[0] in record for record in self.lines[0].columns[0].metrics)
        return names[0] if known else None

    @cached_property
    def sign(self) -> float:
        """1 where a larger value of the metric is better, else -1."""
        summary = self.first.summary.metrics.get(self.metric or "")
        return 1.0 if summary is None or summary.higher_is_better else -1.0

    @property
    def why_no_metric(self) -> str:
        """Why there is no metric to compare in."""
        names = self.first.manifest.metric_names
        if not self.first.summary.metrics:
            return "the golds are withheld, so that answers have no score"
        return f"{names[0]} has no value for single questions" if names else "it was scored with no metric"

    def scores(self, line: Line) -> NDArray[np.float64]:
        """The metric of each question as the mean over seeds, shape (n,), turned so that larger is better."""
        found: NDArray[np.float64] = self.scores_by_seed(line).mean(axis=0)
        return found

    def scores_by_seed(self, line: Line) -> NDArray[np.float64]:
        """The metric of each question, shape (seeds, n), turned so that larger is better."""
        return self.sign * np.array([numbers(columns.metrics, self.metric or "") for columns in line.columns])

    def counterpart(self, line: Line, wanted: Callable[[Line], bool]) -> Line | None:
        """The wanted row that differs from `line` in nothing but the retriever; the first of several."""
        return next((other for other in self.lines if wanted(other) and other.frame == line.frame), None)

    def intervals(self, values: Mapping[str, NDArray[np.float64]]) -> dict[str, Estimate]:
        """The means of n figures each, users resampled once for all."""
        if not values:
            return {}
        figures = ClusterEstimates(self.users)
        for name, column in values.items():
            figures.add(name, as_mean(column.tolist()))
        return figures.estimates()

    def finding(
        self,
        check: str,
        status: Status,
        lines: Sequence[Line],
        what: str,
        text: str,
        figure: Estimate | None = None,
        name: str = "",
    ) -> Finding:
        """A finding about rows of this group; `name` stands for several of them."""
        manifest = self.first.manifest
        fingerprints = tuple(result.manifest.fingerprint for line in lines for result in line.family)
        method = name or "; ".join(line.name for line in lines)
        return Finding(check, status, manifest.task, manifest.split, method, fingerprints, what, text, figure)

    def unchecked(self, check: str, lines: Sequence[Line], what: str, why: str) -> Finding:
        """Why a check of these rows says nothing."""
        rows = f"{len(lines)} row{'s' * (len(lines) != 1)}"
        return self.finding(check, "unchecked", lines, what, why, name=rows)


Check = Callable[[Group], Iterator[Finding]]


def signed(found: Estimate) -> str:
    """A difference with its interval."""
    assert found.value is not None
    if found.low is None or found.high is None:
        return f"{found.value:+.4f} (one user, no interval)"
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def share(found: Estimate) -> str:
    """A share with its interval, in percent."""
    assert found.value is not None
    if found.low is None or found.high is None:
        return f"{100 * found.value:.1f} % (one user, no interval)"
    return f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"
