"""Cells of tables that programs read: spreadsheets, which compute formulas, and Markdown."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from .text import printable

#: What begins a formula, also in full width, behind apostrophes that stand for themselves.
_FORMULA = r"[=+\-@\t\r\n\uff0b\uff0d\uff1d\uff20]"


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV; no text in it is a formula for spreadsheets (see `guarded`)."""
    return "".join(_csv_line([guarded(cell) if isinstance(cell, str) else cell for cell in row]) for row in rows)


def _csv_line(row: Sequence[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(row)  # so that it quotes a cell with either of the two
    return out.getvalue().removesuffix("\r\n") + "\n"


def guarded(text: str) -> str:
    """A cell that spreadsheets do not read as a formula: an apostrophe is put before characters that begin one."""
    return "'" + text if re.match("'*" + _FORMULA, text) else text


def unguarded(text: str) -> str:
    """Undo `guarded`."""
    return text[1:] if re.match("'+" + _FORMULA, text) else text


def markdown_row(cells: Iterable[str]) -> str:
    """A row of a Markdown table. Cells are plain text: they end no cell, and are neither HTML nor a link."""
    return "| " + " | ".join(map(markdown_text, cells)) + " |"


def markdown_text(text: str) -> str:
    """Plain text as the cell of a Markdown table."""
    line = " ".join(printable(text).split("\n"))
    for character in "\\|`":
        line = line.replace(character, "\\" + character)
    return line.replace("<", "&lt;").replace("](", "]\\(")
