"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from ._leaderboard import Table
from ._text import NOTHING, REPORTED, cells, columns, heading, legend, reported_cells


def render_markdown(tables: Sequence[Table]) -> str:
    """Tables as Markdown."""
    return "\n".join(map(_one, tables)) or NOTHING


def _one(table: Table) -> str:
    titles = columns(table)
    lines = [f"### {heading(table)}", "", _pipe(titles), _pipe(["---"] * len(titles))]
    lines += [_pipe(cells(table, row)) for row in table.rows]
    lines += ["", legend([table])]
    if table.reported:
        names, rows = reported_cells(table)
        lines += ["", f"_{REPORTED}_", "", _pipe(names), _pipe(["---"] * len(names)), *map(_pipe, rows)]
    return "\n".join(lines) + "\n"


def _pipe(words: Sequence[str]) -> str:
    return "| " + " | ".join(word.replace("|", "\\|").replace("\n", " ") for word in words) + " |"
