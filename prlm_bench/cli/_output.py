"""Where commands put what they print."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .._util.files import pretty, replacing, write_whole


def print_json(value: Any) -> None:
    """JSON on standard output."""
    sys.stdout.buffer.write(pretty(value))
    sys.stdout.buffer.flush()


def print_or_write(text: str, output: Path | None) -> None:
    """Text on standard output, or in a file that is whole or not there."""
    if output is None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        return
    write_whole(output, (text if text.endswith("\n") else text + "\n").encode())
    print(f"wrote {output}", file=sys.stderr)


def print_or_write_pieces(pieces: Iterable[bytes], output: Path | None) -> None:
    """A stream of bytes on standard output, or in a file that is whole or not there."""
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    with replacing(output) as file:
        for piece in pieces:
            file.write(piece)
    print(f"wrote {output}", file=sys.stderr)


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A plain table for people."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width; do not fold what someone will grep
        console = Console(width=max(200, console.width))
    console.print(table)
