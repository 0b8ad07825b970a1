"""Tables as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ._leaderboard import Table
from ._text import NOTHING, REPORTED, cells, columns, heading, legend, reported_cells


def render_html(tables: Sequence[Table]) -> str:
    """Tables as an HTML fragment without scripts."""
    return "\n".join(map(_one, tables)) or f"<p>{NOTHING.rstrip()}</p>\n"


def _one(table: Table) -> str:
    parts = [_table(heading(table), columns(table), [cells(table, row) for row in table.rows])]
    if table.reported:
        parts.append(_table(REPORTED, *reported_cells(table)))
    return "\n".join([*parts, f"<p><small>{escape(legend([table]))}</small></p>"])


def _table(caption: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<table class="prlm-bench"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
