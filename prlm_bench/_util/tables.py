"""Tables and paragraphs for a terminal: nothing is wider than it, and no word and no number is cut in two.

Every table that a command prints is drawn by `table_text`. Files and pipes have no width: nothing is wrapped there.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.cells import cell_len, chop_cells

from .text import shown

#: Between two columns.
_GAP = "  "
#: What stays on one line: an interval, or what stands between blanks, with the marks behind it.
_WORD = re.compile(r"\[[-+\d.,%\s]*\]\S*|\S+(?: [†‡§¶◇↑↓])*")
#: A cell of figures, which are aligned to the right: a number with its interval, counts, or that there is none.
_FIGURE = re.compile(r"[-+<~]?\d[\d.,/]*%?( ?[±\[(].*)?( of [\d.]+)?|\d+(, \d+)+|-|failed|none|")
_NUMBER = re.compile(r"[-+<~±]?\d[\d.,:/]*%?")
#: Parts of a long word, each with the sign that it may be broken after.
_PIECE = re.compile(r"[^/,:=+&?|]*[/,:=+&?|]+|[^/,:=+&?|]+")


@dataclass(frozen=True)
class Column:
    """A column of a table, with cells of text: one for each row."""

    title: str
    cells: Sequence[str]
    #: The least width that is good to read; by default that of the longest word.
    least: int = 0

    @cached_property
    def figures(self) -> bool:
        """Whether it holds figures, which are aligned to the right."""
        return all(map(_FIGURE.fullmatch, self.cells)) and any(self.cells)

    @cached_property
    def natural(self) -> int:
        """The width at which no cell is wrapped; a title of figures may be."""
        head = _longest(_WORD.findall(self.title)) if self.figures else cell_len(self.title)
        return max([head, *(cell_len(line) for cell in self.cells for line in cell.split("\n"))])

    def narrowest(self, pieces: bool) -> int:
        """The least width at which no word is broken, or with `pieces` none inside its parts."""
        words = [word for cell in (self.title, *self.cells) for word in _WORD.findall(cell)]
        if pieces:
            return _longest(piece for word in words for piece in _pieces(word))
        return max(min(self.least, self.natural), _longest(words))


def output_width() -> int | None:
    """Columns of standard output: those of the terminal, or what COLUMNS says; None for files and pipes."""
    if sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdecimal() and int(given) else None


def table_text(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    least: Sequence[int] = (),
    dim: Collection[int] = (),
    width: int | None = -1,
) -> str:
    """A table as text.

    Where the columns have no room side by side, those that say the same in every row are lifted into the title, text is
    wrapped between words, long words behind punctuation, and in the end each row becomes a block of lines.

    Args:
        title: above the table; may be empty.
        columns: their titles.
        rows: their cells; foreign text in them is made harmless.
        least: widths of columns below which they are hard to read.
        dim: the numbers of rows that are drawn faintly.
        width: of the output; by default that of standard output. None does not wrap.
    """
    width = output_width() if width == -1 else width
    cells = [[_clean(cell) for cell in row] for row in rows]
    table = [
        Column(_clean(name), [row[i] for row in cells], least[i] if i < len(least) else 0)
        for i, name in enumerate(columns)
    ]
    heading = [_clean(title)] if title else []
    if width is not None and not fits(table, width):
        table, same = _without_constant(table)
        heading += [f"all rows: {same}"] if same else []
    lines = [("title", line) for text in heading for line in wrapped(text, width)]
    widths = _widths(table, width)
    if widths is None:
        assert width is not None
        lines += _stacked(table, width)
    else:
        lines += _side_by_side(table, widths, dim)
    return _drawn(lines)


def fits(columns: Sequence[Column], width: int, *, wrap: bool = False) -> bool:
    """Whether the columns have room side by side, without a wrapped cell or, with `wrap`, without a broken word."""
    sizes = [column.narrowest(False) if wrap and not column.figures else column.natural for column in columns]
    return _total(sizes) <= width


def paragraph(text: str, width: int | None = -1) -> str:
    """Text in lines that are not wider than standard output, broken between words; with a line break at its end.

    Lines that begin with blanks are continued behind two more.
    """
    width = output_width() if width == -1 else width
    lines = []
    for part in shown(text).split("\n"):
        indent = part[: len(part) - len(part.lstrip())]
        room = None if width is None else max(width - len(indent) - 2 * bool(indent), 1)
        first, *rest = wrapped(part[len(indent) :], room) or [""]
        lines += [indent + first, *(indent + "  " * bool(indent) + line for line in rest)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def wrapped(text: str, width: int | None) -> list[str]:
    """Text as lines of at most `width` columns, broken between words, and behind punctuation where these are long."""
    if width is None or cell_len(text) <= width:
        return [text]
    lines, line = [], ""
    for part, blank in _parts(text, width):
        joined = line + " " * (blank and line != "") + part
        if cell_len(joined) <= width:
            line = joined
            continue
        lines += [line] if line else []
        *full, line = chop_cells(part, width) if cell_len(part) > width else [part]
        lines += full
    return [*lines, line] if line else lines


def _parts(text: str, width: int) -> list[tuple[str, bool]]:
    """The words of a text, those that are too long in their pieces, and whether a blank stands before each."""
    found: list[tuple[str, bool]] = []
    for word in _WORD.findall(text):
        pieces = _pieces(word) if cell_len(word) > width else [word]
        found += [(piece, number == 0) for number, piece in enumerate(pieces)]
    return found


def _pieces(word: str) -> list[str]:
    return [word] if _NUMBER.fullmatch(word) or word[0] == "[" else _PIECE.findall(word)


def _clean(cell: str) -> str:
    return shown(cell).replace("\t", " ").rstrip("\n")


def _longest(words: Sequence[str] | object) -> int:
    return max(map(cell_len, words), default=0)  # type: ignore[arg-type]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _without_constant(columns: Sequence[Column]) -> tuple[list[Column], str]:
    """The first column and those that differ between rows, and what the others say."""
    same = [c for c in columns[1:] if len(c.cells) > 1 and len({*c.cells}) == 1 and c.title]
    told = ", ".join(f"{column.title} {column.cells[0]}".strip() for column in same)
    return [column for column in columns if column not in same], told


def _widths(columns: Sequence[Column], width: int | None) -> list[int] | None:
    """The width of each column; None where they have no room side by side."""
    natural = [column.natural for column in columns]
    whole_titles = [max(column.natural, cell_len(column.title)) for column in columns]
    if width is None or _total(whole_titles) <= width:
        return whole_titles
    if _total(natural) <= width:
        return natural
    for pieces, whole in ((False, True), (False, False), (True, False)):
        least = [c.natural if whole and c.figures else c.narrowest(pieces and not c.figures) for c in columns]
        if _total(least) > width:
            continue
        cap = max(natural)
        while _total(found := [max(low, min(high, cap)) for low, high in zip(least, natural, strict=True)]) > width:
            cap -= 1
        for place, high in enumerate(natural):
            if found[place] < high and _total(found) < width:
                found[place] += 1
        return found
    return None


def _side_by_side(columns: Sequence[Column], widths: Sequence[int], dim: Collection[int]) -> list[tuple[str, str]]:
    right = [column.figures for column in columns]

    def drawn(cells: Sequence[str], head: bool = False) -> list[str]:
        blocks = [
            [line for part in cell.split("\n") for line in wrapped(part, size) or [""]]
            for cell, size in zip(cells, widths, strict=True)
        ]
        height = max(map(len, blocks))
        blocks = [[""] * (height - len(b)) + b if head else b + [""] * (height - len(b)) for b in blocks]
        lines = zip(*blocks, strict=True)
        return [_GAP.join(map(_padded, line, widths, right)).rstrip() for line in lines]

    titles = [column.title for column in columns]
    lines = [("head", line) for line in drawn(titles, head=True)] if any(titles) else []
    lines += [("", "─" * _total(widths))] if any(titles) else []
    for number, row in enumerate(zip(*(column.cells for column in columns), strict=True)):
        lines += [("dim" if number in dim else "", line) for line in drawn(row)]
    return [*lines, ("", "")]


def _padded(text: str, width: int, right: bool) -> str:
    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank


def _stacked(columns: Sequence[Column], width: int) -> list[tuple[str, str]]:
    """Each row as a block: a line for each cell that is not empty, behind the column's title."""
    size = min(max(cell_len(column.title) for column in columns), max(width // 2 - 2, 1))
    lines: list[tuple[str, str]] = []
    for cells in zip(*(column.cells for column in columns), strict=True):
        for column, cell in [pair for pair in zip(columns, cells, strict=True) if pair[1]]:
            names = wrapped(column.title, size) or [""]
            texts = [line for part in cell.split("\n") for line in wrapped(part, max(width - size - len(_GAP), 1))]
            for number in range(max(len(names), len(texts))):
                name, text = ((each[number : number + 1] or [""])[0] for each in (names, texts))
                lines.append(("", (_padded(name, size, False) + _GAP + text).rstrip()))
        lines.append(("", ""))
    return lines


_STYLES = {"title": "italic", "head": "bold", "dim": "dim", "": ""}


def _drawn(lines: Sequence[tuple[str, str]]) -> str:
    """Lines as text, with styles where standard output shows them."""
    if not (sys.stdout.isatty() or os.environ.get("FORCE_COLOR")):
        return "".join(f"{line}\n" for _, line in lines)
    import io

    from rich.console import Console
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=10_000, highlight=False)
    for style, line in lines:
        console.print(Text(line, style=_STYLES[style]), soft_wrap=True)
    return out.getvalue()
