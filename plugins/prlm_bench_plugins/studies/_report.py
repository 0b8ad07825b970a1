"""What a study returns: a table, a figure and findings in words."""

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

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"study": self.name, "title": self.title, "rows": rows, "findings": list(self.findings)}

    def texts(self) -> list[list[str]]:
        """The rows for people: four decimals, and `-` for a missing value."""
        return [[_text(cell) for cell in row] for row in self.rows]

    def write(self, folder: Path) -> list[Path]:
        """Write the table (CSV, JSON) and the figure (PNG, SVG) to `folder`; returns their paths.

        Raises:
            MissingDependencyError: there is a figure, and matplotlib is not installed.
        """
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerows([self.columns, *self.rows])
        paths = [folder / f"{self.name}.csv", folder / f"{self.name}.json"]
        write_whole(paths[0], table.getvalue().encode())
        write_whole(paths[1], pretty(self.to_json()))
        if self.draw is None:
            return paths
        return [*paths, *write_figure(folder, self.name, self._draw_titled, purpose="the figure of a study")]

    def _draw_titled(self, axes: Any) -> None:
        assert self.draw is not None
        self.draw(axes)
        axes.set_title(self.title, fontsize="medium", wrap=True)


def write_figure(
    folder: Path,
    name: str,
    draw: Callable[[Any], None],
    *,
    purpose: str,
    size: tuple[float, float] = (7.0, 4.0),
) -> list[Path]:
    """Draw a figure and write it as `name.png` and `name.svg`; equal figures give equal files.

    Args:
        folder: where to write.
        name: of the files, without their ending.
        draw: draws on the figure's matplotlib axes.
        purpose: what the figure is, for the error message.
        size: width and height in inches.

    Returns:
        The files.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError(purpose, "matplotlib", "report") from None
    figure = Figure(figsize=size, layout="constrained")
    draw(figure.add_subplot())
    paths = []
    # By default a PNG holds the release of matplotlib, and an SVG the date and random ids.
    with rc_context({"svg.hashsalt": "prlm-bench"}):
        for form, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            paths.append(folder / f"{name}.{form}")
            with replacing(paths[-1]) as file:
                figure.savefig(file, format=form, dpi=150, metadata=metadata)
    return paths


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
