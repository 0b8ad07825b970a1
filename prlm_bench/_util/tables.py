"""Plain-text tables."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from .text import shown


def table_text(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as text, as wide as the terminal, or as wide as needed if standard output is not one."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    heading = Text(shown(title), style="table.title") if title else None
    table = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(Text(shown(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    out = io.StringIO()
    terminal = sys.stdout.isatty()
    console = Console(file=out, force_terminal=terminal)
    if not terminal:  # files and pipes have no width; lines that may be searched with grep are not folded
        console = Console(file=out, width=max(200, console.width))
    console.print(table)
    return out.getvalue()
