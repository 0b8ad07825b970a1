"""What a study gives: a table, a figure and findings in words."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prlm_bench.cli.plugin_api import pretty, replacing, write_whole
from prlm_bench.errors import MissingDependencyError
from prlm_bench.results import Estimate


@dataclass(frozen=True)
class Report:
    """A study's outcome."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    #: Sentences that say what the figures mean; each begins with what was found.
    findings: Sequence[str] = ()
    #: Draws the figure on matplotlib axes; None for a study without one.
    draw: Callable[[Any], None] | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"study": self.name, "title": self.title, "rows": rows, "findings": list(self.findings)}

    def texts(self) -> list[list[str]]:
        """The rows for people: four digits, and `-` for what is not known."""
        return [[_text(cell) for cell in row] for row in self.rows]

    def write(self, folder: Path) -> list[Path]:
        """Write the table (CSV, JSON) and the figure (PNG, SVG) below `folder`; returns their paths."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerows([self.columns, *self.rows])
        paths = [folder / f"{self.name}.csv", folder / f"{self.name}.json"]
        write_whole(paths[0], table.getvalue().encode())
        write_whole(paths[1], pretty(self.to_json()))
        return [*paths, *self._draw(folder)]

    def _draw(self, folder: Path) -> list[Path]:
        if self.draw is None:
            return []
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise MissingDependencyError("the figure of a study", "matplotlib", "report") from None
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        self.draw(axes)
        axes.set_title(self.title, fontsize="medium", wrap=True)
        paths = []
        for form in ("png", "svg"):
            path = folder / f"{self.name}.{form}"
            # Without a date the same figures give the same bytes.
            metadata = {"Date": None} if form == "svg" else {"Software": None}
            with replacing(path) as file:
                figure.savefig(file, format=form, dpi=150, metadata=metadata)
            paths.append(path)
        return paths


def _text(cell: Any) -> str:
    if cell is None:
        return "-"
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def spread(found: Estimate) -> list[float | None]:
    """Value, low and high end, as three cells."""
    return [found.value, found.low, found.high]


def draw_intervals(axes: Any, labels: Sequence[str], rows: Sequence[Sequence[float | None]], what: str) -> None:
    """Points with intervals, one a line, the first on top."""
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
