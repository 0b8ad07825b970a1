"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from .._util.cells import markdown_row
from ._leaderboard import Table
from ._text import NOTHING, REPORTED, cells, columns, heading, legend, reported_cells


def render_markdown(tables: Sequence[Table]) -> str:
    """Tables as Markdown."""
    return "\n".join(map(_one, tables)) or NOTHING


def _one(table: Table) -> str:
    titles = columns(table)
    lines = [f"### {heading(table)}", "", markdown_row(titles), markdown_row(["---"] * len(titles))]
    lines += [markdown_row(cells(table, row)) for row in table.rows]
    lines += ["", legend([table])]
    if table.reported:
        names, rows = reported_cells(table)
        lines += ["", f"_{REPORTED}_", "", *map(markdown_row, [names, ["---"] * len(names), *rows])]
    return "\n".join(lines) + "\n"
