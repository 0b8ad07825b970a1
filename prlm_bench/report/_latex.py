"""Tables as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from ._leaderboard import Table
from ._text import NOTHING, REPORTED, cells, columns, heading, legend, reported_cells


def render_latex(tables: Sequence[Table]) -> str:
    """Tables as LaTeX."""
    return "\n".join(map(_one, tables)) or NOTHING


def _one(table: Table) -> str:
    titles = columns(table)
    lines = [
        "\\begin{table}",
        f"\\caption{{{_escape(heading(table))}. {_escape(legend([table]))}}}",
        "\\begin{tabular}{" + "l" * len(titles) + "}",
        "\\hline",
        " & ".join(map(_escape, titles)) + " \\\\",
        "\\hline",
        *(" & ".join(map(_escape, cells(table, row))) + " \\\\" for row in table.rows),
    ]
    if table.reported:
        names, rows = reported_cells(table)
        lines += ["\\hline", f"\\multicolumn{{{len(titles)}}}{{l}}{{{_escape(REPORTED)}}} \\\\"]
        # One line of text per row: published figures have other columns than the measured rows.
        for row in rows:
            text = ", ".join(f"{name}: {cell}" for name, cell in zip(names, row, strict=True))
            lines.append(f"\\multicolumn{{{len(titles)}}}{{l}}{{{_escape(text)}}} \\\\")
    return "\n".join([*lines, "\\hline", "\\end{tabular}", "\\end{table}"]) + "\n"


def _escape(text: str) -> str:
    special = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
    special |= {char: "\\" + char for char in "&%$#_{}"} | {
        "†": "$\\dagger$",
        "‡": "$\\ddagger$",
        "×": "$\\times$",
        "§": "\\S{}",
        "¶": "\\P{}",
        "\n": " ",
    }
    return "".join(special.get(char, char) for char in text)
