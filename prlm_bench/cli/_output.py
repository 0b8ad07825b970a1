"""Output of commands: JSON, text and tables, on standard output or in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .._util.files import STDOUT, pretty, replacing, write_whole
from .._util.tables import table_text
from .._util.text import printable


def say(*lines: object, err: bool = False) -> None:
    """Print lines that may hold foreign text, without orders to the terminal.

    Args:
        *lines: each on a line of its own.
        err: on standard error.
    """
    print("\n".join(printable(str(line)) for line in lines), file=sys.stderr if err else sys.stdout)


def print_json(value: Any) -> None:
    """Write JSON to standard output."""
    sys.stdout.buffer.write(printable(pretty(value).decode()).encode())
    sys.stdout.buffer.flush()


def print_or_write(text: str, output: Path | None) -> None:
    """Write text to standard output, which `-` stands for too, or atomically to a file."""
    if output in (None, STDOUT):
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        return
    write_whole(output, (text if text.endswith("\n") else text + "\n").encode())
    say(f"wrote {output}", err=True)


def print_or_write_pieces(pieces: Iterable[bytes], output: Path | None) -> None:
    """Write a stream of bytes to standard output, which `-` stands for too, or atomically to a file."""
    if output in (None, STDOUT):
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    with replacing(output) as file:
        for piece in pieces:
            file.write(piece)
    say(f"wrote {output}", err=True)


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a plain table."""
    sys.stdout.write(table_text(title, columns, rows))
