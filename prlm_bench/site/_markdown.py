"""The leaderboard as one Markdown page: what the index of the site shows, for a repository."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from .._util.cells import markdown_row, markdown_text
from .._util.files import write_whole
from .._util.reading import read_text
from ..errors import DataError
from ..host import PluginHost
from ..report import Row, Table
from ..report._overview import Board, make_board
from ..report._text import Field, arrow, fields, marks
from ._legend import legend_lines, luck_of
from ._pictures import Picture
from ._views import OverviewView, View, gain_cell, overview_views, table_views

#: What stands before this line of a file stays as it is.
MARKER = "<!-- leaderboard -->"
#: Columns that say how often something went wrong; they stand beside the figure that they explain.
_SHARES = ("parse failures", "cut answers", "cut prompts", "refused")


def write_markdown(
    tables: Sequence[Table], host: PluginHost | None, file: Path, pictures: Sequence[Picture] = ()
) -> None:
    """Write the page.

    Args:
        tables: as `build_tables` makes them.
        host: knows the components.
        file: what it says before a line `<!-- leaderboard -->` stays, and the page follows that line; a new file gets a
            title. A file without that line is not touched.
        pictures: of studies; the page names their files.

    Raises:
        DataError: the file is there and has no such line, or cannot be read.
    """
    head = f"# Leaderboard\n\n{MARKER}\n"
    if file.exists():
        before, marker, _ = read_text(file).partition(MARKER)
        if not marker:
            hint = f"put a line {MARKER} where the page is to begin, or choose another file"
            raise DataError(f"{file} exists and has no line {MARKER}", hint)
        head = f"{before}{MARKER}\n"
    page = markdown_page(make_board(tables, host), host, [(_link(file, each.path), each.title) for each in pictures])
    write_whole(file, f"{head}\n{page}".encode())


def _link(file: Path, target: Path) -> str:
    return quote(Path(os.path.relpath(target.resolve(), file.resolve().parent)).as_posix())


def markdown_page(board: Board, host: PluginHost | None, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """The page without a title.

    Args:
        board: its tables and overviews.
        host: knows the components.
        pictures: links and titles.
    """
    if not board.tables:
        return "No finished results.\n"
    blocks: list[str] = []
    for at, shown in enumerate(overview_views(board, host)):
        blocks += _overview(shown, folded=at > 0)
    blocks += [
        "## How to read the tables",
        "\n".join(f"- {text}" for text in legend_lines(board, host, drawn=False)),
    ]
    if pictures:
        blocks += ["## Pictures", *(f"![{markdown_text(title)}]({link})" for link, title in pictures)]
    blocks += [
        "## Tables",
        "One for each task, split, set of questions and metric protocol. Rows of different tables are not "
        "comparable. First come those in which a method beats its controls, last those in which none is shown to "
        "use its user's items.",
    ]
    for view in table_views(board, host):
        blocks += _table(view)
    return "\n\n".join(blocks) + "\n"


def _overview(shown: OverviewView, *, folded: bool) -> list[str]:
    what = f"{markdown_text(shown.overview.split)}, {shown.overview.protocol} protocol, {len(shown.heads)} tasks"
    heads = [f"[{markdown_text(head['task'])}](#{head['anchor']})<br>{head['metric']}" for head in shown.heads]
    first = ["method", "mean rank", "beats its controls", "uses the items"]
    lines = ["| " + " | ".join([*first, *heads]) + " |", markdown_row(["---"] * (len(first) + len(heads)))]
    for (line, name, cells), bound in zip(shown.lines, shown.bounds, strict=True):
        ran = f" ({len(line.known)} task{'s' * (len(line.known) > 1)})" if len(line.known) < len(cells) else ""
        counts = [
            f"{count} of {line.compared}" if line.compared else "-" for count in (line.beats_all, line.beats_others)
        ]
        figures = ["" if cell is None else f"{cell['text']} {cell['mark']}".rstrip() for cell in cells]
        kind = " (upper bound)" if bound else " †" if line.row.control else ""
        lines.append(markdown_row([name + kind, f"{line.mean_rank:.1f}{ran}", *counts, *figures]))
    table, about = "\n".join(lines), _named(shown.shared, shown.key)
    if folded:
        return _folded(f"Overview of {what}", *about, table)
    return [f"## Overview: {what}", *about, table]


def _table(view: View) -> list[str]:
    table = view.table
    name = f"{markdown_text(table.task)} {markdown_text(table.split)}, {table.protocol} protocol"
    parts = [
        f'### <a id="{view.anchor}"></a>{name}',
        _about(view),
        *_named(view.shared, view.key),
        _rows(view, _main_columns(view)),
    ]
    if more := _more_columns(view):
        parts += _folded("More columns", _rows(view, more))
    if view.reported:
        names, rows = view.reported
        lines = "\n".join(map(markdown_row, [names, ["---"] * len(names), *rows]))
        parts += _folded(f"Reported by others ({len(rows)} rows), not ranked", lines)
    return parts


def _folded(summary: str, *blocks: str) -> list[str]:
    # The attribute has MkDocs read Markdown inside; GitHub does so anyway.
    return [f'<details markdown="1"><summary>{summary}</summary>', *blocks, "</details>"]


def _about(view: View) -> str:
    table = view.table
    why = f"; {table.groups.why}" if table.groups.why else ""
    about = f"{table.title}: {table.n} of {table.n_total} questions, {table.n_users} users, data {table.data}{why}."
    nothing = "**No method is shown to use its user's items here.**" if view.learnt is False else ""
    return " ".join(filter(None, [markdown_text(about), luck_of(table), nothing]))


def _named(shared: Sequence[str], key: Sequence[str]) -> list[str]:
    said = [f"All rows: {', '.join(shared)}."] * bool(shared) + [f"Short for: {'; '.join(key)}."] * bool(key)
    return [markdown_text(" ".join(said))] if said else []


def _rows(view: View, columns: Sequence[tuple[str, Sequence[str]]]) -> str:
    lines: Iterable[Sequence[str]] = zip(*(cells for _, cells in columns), strict=True)
    heads = [title for title, _ in columns]
    return "\n".join(map(markdown_row, [heads, ["---"] * len(heads), *lines]))


def _main_columns(view: View) -> list[tuple[str, Sequence[str]]]:
    """Rank, method, ranking metric, gain, what failed, and the values of other metrics."""
    rows, known = view.table.rows, fields(view.table)
    first, *others = view.table.metrics
    found: list[tuple[str, Sequence[str]]] = [
        ("#", [str(row.rank) for row in rows]),
        ("method", [_name(row, name) for row, name in zip(rows, view.names, strict=True)]),
        _column(next(field for field in known if field.title == first), rows, _arrow(view, first)),
        ("over controls", [_gain(view, at) for at in range(len(rows))]),
    ]
    found += [_column(field, rows) for field in known if field.kind == "group"]
    found += [_column(field, rows) for title in _SHARES for field in known if field.title == title]
    return found + [
        (f"{field.title} {_arrow(view, field.title)}", [(field.bare or field.cell)(row) for row in rows])
        for field in known
        if field.kind == "metric" and field.title in others
    ]


def _more_columns(view: View) -> list[tuple[str, Sequence[str]]]:
    """The columns that are not among the main ones, and the intervals of other metrics."""
    rows = view.table.rows
    kinds = ("seed", "metric", "by user", "spread", "retrieval", "reward", "speed")
    more = [field for field in fields(view.table) if field.kind in kinds and field.title != view.table.metrics[0]]
    named = ("method", [_name(row, name) for row, name in zip(rows, view.names, strict=True)])
    return [named, *(_column(field, rows) for field in more)] if more else []


def _column(field: Field, rows: Sequence[Row], arrow: str = "") -> tuple[str, Sequence[str]]:
    return f"{field.title} {arrow}".rstrip(), [_unbroken(field.cell(row)) for row in rows]


def _unbroken(cell: str) -> str:
    """A cell whose interval is not broken into two lines."""
    return re.sub(r"\[([^\s,]+), ([^\s,]+)\]\Z", "[\\1,\u00a0\\2]", cell)


def _arrow(view: View, metric: str) -> str:
    return arrow(view.table.higher_is_better(metric) is not False)


def _name(row: Row, name: str) -> str:
    return " ".join([name, *marks(row)])


def _gain(view: View, at: int) -> str:
    if view.bounds[at] and view.table.rows[at].control:
        return "upper bound"
    if view.table.rows[at].control:
        return "control"
    gain = gain_cell(view.gains[at])
    return f"{gain['text']} {gain['mark']}".rstrip() + (" (upper bound)" if view.bounds[at] else "")
