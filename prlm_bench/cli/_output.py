"""Output of commands: JSON, text and tables, on standard output or in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from .._util.files import STDOUT, pretty, replacing, write_whole
from .._util.tables import paragraph, table_text
from .._util.text import printable, shown
from .._util.verbosity import verbosity
from ..errors import DataError


def say(*lines: object, err: bool = False) -> None:
    """Print lines that may hold foreign text, as people may see it (see `shown`).

    Args:
        *lines: each on a line of its own.
        err: on standard error.
    """
    print("\n".join(shown(str(line)) for line in lines), file=sys.stderr if err else sys.stdout)


def note(*lines: object) -> None:
    """Print lines on standard error that nobody needs, unless `--quiet` is given."""
    if not verbosity.quiet:
        say(*lines, err=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines of text on standard output, wrapped between words where it is a terminal."""
    sys.stdout.write("".join(map(paragraph, lines)))


def ask_to_replace(output: Path, force: bool) -> None:
    """Ask on the terminal before a command replaces a file; without one, refuse.

    Args:
        output: what the command will write.
        force: do not ask.

    Raises:
        DataError: the file is there, and stays.
    """
    if force or output == STDOUT or not output.is_file():
        return
    answer = sys.stdin.isatty() and typer.confirm(f"{shown(str(output))} exists. Replace it?", err=True)
    if not answer:
        raise DataError(f"{output} exists and was not replaced", "--force replaces it")


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
    note(f"wrote {output}")


def print_or_write_pieces(pieces: Iterable[bytes], output: Path | None) -> None:
    """Write a stream of bytes to standard output, which `-` stands for too, or atomically to a file."""
    if output in (None, STDOUT):
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    with replacing(output) as file:
        for piece in pieces:
            file.write(piece)
    note(f"wrote {output}")


def print_table(title: str, columns: list[str], rows: list[list[str]], *, err: bool = False) -> None:
    """Print a plain table; on standard error where standard output is for something else."""
    (sys.stderr if err else sys.stdout).write(table_text(title, columns, rows))
