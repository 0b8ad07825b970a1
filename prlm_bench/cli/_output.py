"""Output of commands: JSON, text and tables, on standard output or in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .._util.files import pretty, replacing, write_whole
from .._util.tables import table_text


def print_json(value: Any) -> None:
    """Write JSON to standard output."""
    sys.stdout.buffer.write(pretty(value))
    sys.stdout.buffer.flush()


def print_or_write(text: str, output: Path | None) -> None:
    """Write text to standard output, or atomically to a file."""
    if output is None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        return
    write_whole(output, (text if text.endswith("\n") else text + "\n").encode())
    print(f"wrote {output}", file=sys.stderr)


def print_or_write_pieces(pieces: Iterable[bytes], output: Path | None) -> None:
    """Write a stream of bytes to standard output, or atomically to a file."""
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    with replacing(output) as file:
        for piece in pieces:
            file.write(piece)
    print(f"wrote {output}", file=sys.stderr)


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a plain table."""
    sys.stdout.write(table_text(title, columns, rows))
