"""Tables for a terminal."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ._leaderboard import Table
from ._text import NOTHING, REPORTED, cells, columns, heading, legend, reported_cells

#: Columns of a line that is as long as it needs to be.
_UNBOUNDED = 10_000


def render_terminal(tables: Sequence[Table]) -> str:
    """All tables as text, as wide as the terminal, or as needed without one."""
    if not tables:
        return NOTHING
    terminal = sys.stdout.isatty()
    width = max(shutil.get_terminal_size().columns, 100) if terminal else _UNBOUNDED
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, highlight=False)
    unbounded = console.options.update(width=_UNBOUNDED)
    speed = False
    for table in tables:
        for narrow, fast in ((False, True), (False, False), (True, False)):
            drawn = _measured(table, narrow, fast)
            if console.measure(drawn, options=unbounded).maximum <= width:
                break
        speed |= fast
        console.print(drawn)
        if table.reported:
            console.print(_reported(table))
    console.print(Text(legend(tables, speed=speed)), soft_wrap=True)
    return out.getvalue()


def _measured(table: Table, narrow: bool, speed: bool) -> RichTable:
    """A table of measured rows; if `narrow`, intervals are on separate lines, and without `speed` it has no tokens."""
    title = Text(heading(table), style="table.title")
    drawn = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    numbers = {"#", "k", "seed"}
    for name in columns(table, speed=speed):
        left = name in ("retriever", "reasoner", "generator")
        drawn.add_column(Text(name), justify="left" if left else "right", no_wrap=name in numbers, overflow="fold")
    for row in table.rows:
        style = "dim" if row.control else ""
        drawn.add_row(*(Text(cell) for cell in cells(table, row, break_line=narrow, speed=speed)), style=style)
    return drawn


def _reported(table: Table) -> RichTable:
    titles, rows = reported_cells(table)
    drawn = RichTable(title=REPORTED, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, style="italic")
    for title in titles:
        drawn.add_column(title, justify="left" if title in ("source", "method", "model", "split") else "right")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn
