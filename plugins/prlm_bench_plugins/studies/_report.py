"""What a study returns: a table, a figure and findings in words."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prlm_bench.files import pretty, write_whole
from prlm_bench.report import write_figure
from prlm_bench.results import Estimate


@dataclass(frozen=True)
class StudyReport:
    """The outcome of a study."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    #: Sentences that say what the numbers mean; each begins with the finding.
    findings: Sequence[str] = ()
    #: Draws the figure on matplotlib axes; None for a study without one.
    draw: Callable[[Any], None] | None = field(default=None, compare=False)
    #: Further tables, which have no findings and no figure.
    more: Sequence[StudyReport] = ()
    #: Whether a part of the study failed; the findings say which.
    failed: bool = False

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object; the rows of further tables stand under `more`, by name."""
        found = {"study": self.name, "title": self.title, "rows": self.records(), "findings": list(self.findings)}
        return {**found, "more": {each.name: each.records() for each in self.more}} if self.more else found

    def records(self) -> list[dict[str, Any]]:
        """The rows by column."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def texts(self) -> list[list[str]]:
        """The rows for people: four decimals, and `-` for a missing value."""
        return [[_text(cell) for cell in row] for row in self.rows]

    def write(self, folder: Path) -> list[Path]:
        """Write the tables (CSV), all as JSON, and the figure (PNG, SVG) to `folder`; returns their paths.

        Raises:
            MissingDependencyError: there is a figure, and matplotlib is not installed.
        """
        paths = [each.write_table(folder) for each in (self, *self.more)]
        paths.append(folder / f"{self.name}.json")
        write_whole(paths[-1], pretty(self.to_json()))
        if self.draw is None:
            return paths
        return [*paths, *write_figure(folder, self.name, self._draw_titled, purpose="the figure of a study")]

    def write_table(self, folder: Path) -> Path:
        """Write the table as CSV to `folder`; returns its path."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerows([self.columns, *self.rows])
        path = folder / f"{self.name}.csv"
        write_whole(path, table.getvalue().encode())
        return path

    def _draw_titled(self, axes: Any) -> None:
        assert self.draw is not None
        self.draw(axes)
        axes.set_title(self.title, fontsize="medium", wrap=True)


def _text(cell: Any) -> str:
    if cell is None:
        return "-"
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def spread(found: Estimate) -> list[float | None]:
    """Value, low and high end of an estimate, as three cells."""
    return [found.value, found.low, found.high]


def draw_intervals(axes: Any, labels: Sequence[str], rows: Sequence[Sequence[float | None]], what: str) -> None:
    """Draw points with their intervals, one per line, the first on top.

    Args:
        axes: matplotlib axes.
        labels: n labels.
        rows: n triples of value, low and high; a missing end is drawn at the value.
        what: label of the horizontal axis.
    """
    for place, (value, low, high) in enumerate(rows):
        if value is None:
            continue
        ends = (value if low is None else low, value if high is None else high)
        axes.plot(ends, [place, place], color="tab:blue", linewidth=2)
        axes.plot([value], [place], "o", color="tab:blue")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(what)
    axes.grid(axis="x", alpha=0.3)
