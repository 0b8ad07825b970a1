"""Tables as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from .._util.cells import latex_row, latex_text
from ._leaderboard import Table
from ._text import NOTHING, REPORTED, cells, columns, heading, legend, reported_cells


def render_latex(tables: Sequence[Table]) -> str:
    """Tables as LaTeX."""
    return "\n".join(map(_one, tables)) or NOTHING


def _one(table: Table) -> str:
    titles = columns(table)
    lines = [
        "\\begin{table}",
        f"\\caption{{{latex_text(heading(table))}. {latex_text(legend([table]))}}}",
        "\\begin{tabular}{" + "l" * len(titles) + "}",
        "\\hline",
        latex_row(map(latex_text, titles)),
        "\\hline",
        *(latex_row(map(latex_text, cells(table, row))) for row in table.rows),
    ]
    if table.reported:
        names, rows = reported_cells(table)
        lines += ["\\hline", f"\\multicolumn{{{len(titles)}}}{{l}}{{{latex_text(REPORTED)}}} \\\\"]
        # One line of text per row: published figures have other columns than the measured rows.
        for row in rows:
            text = ", ".join(f"{name}: {cell}" for name, cell in zip(names, row, strict=True))
            lines.append(f"\\multicolumn{{{len(titles)}}}{{l}}{{{latex_text(text)}}} \\\\")
    return "\n".join([*lines, "\\hline", "\\end{tabular}", "\\end{table}"]) + "\n"
