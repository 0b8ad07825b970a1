"""What the templates of the index are given: the overviews, and the columns and rows of each table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..host import PluginHost
from ..report import Row, Table
from ..report._gains import Gains, reads_labels
from ..report._names import row_names
from ..report._overview import Board, MethodLine, Overview, Place
from ..report._text import (
    CUT,
    CUT_PROMPTS,
    REFUSED,
    SPEED_COLUMNS,
    arrow,
    has_finishes,
    has_refused,
    has_several_questions,
    has_speed,
    names_in,
    reported_cells,
    value,
)
from ._charts import Axis, axis_for
from ._entries import make_entries

#: What is shown of a method against its controls, as a mark and in words.
MARKS = {
    "all": ("▲", "better than all of its controls"),
    "others": ("△", "better than the controls that do not see the user's own items, not shown to be better than all"),
    "none": ("", "not shown to be better than its controls"),
    "worse": ("▼", "worse than a control that does not see the user's own items"),
}
#: Decimals of an overview's figures below 10.
_DIGITS = 3


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    title: str
    tip: str
    #: Which end is best, for sorting; empty where neither is.
    better: str = ""
    axis: Axis | None = None
    #: How its cells are drawn.
    kind: str = ""

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return {"high": "↑", "low": "↓"}.get(self.better if self.kind in ("metric", "over", "ranking") else "", "")


@dataclass(frozen=True)
class View:
    """A table of the leaderboard."""

    table: Table
    anchor: str
    entries: list[Any]
    names: list[str]
    shared: list[str]
    key: list[str]
    columns: list[Column]
    gains: Sequence[Gains | None]
    learnt: bool | None
    #: Which rows read the relevance labels.
    bounds: list[bool]
    retrieval: list[str] = field(default_factory=list)
    rewards: list[str] = field(default_factory=list)
    reported: tuple[list[str], list[list[str]]] | None = None

    @property
    def by_user(self) -> bool:
        """Whether users have several questions, so that the mean by user is another."""
        return has_several_questions(self.table)

    @property
    def finishes(self) -> bool:
        """Whether some row knows how completions ended."""
        return has_finishes(self.table)

    @property
    def refused(self) -> bool:
        """Whether a server refused some prompt."""
        return has_refused(self.table)

    @property
    def speed(self) -> bool:
        """Whether some row knows its tokens or seconds."""
        return has_speed(self.table)


def table_views(board: Board, host: PluginHost | None) -> list[View]:
    """The tables of a board, in its order."""
    return [_view(table, board.gains[at], board.learnt(at), host) for at, table in enumerate(board.tables)]


def _view(table: Table, gains: Sequence[Gains | None], learnt: bool | None, host: PluginHost | None) -> View:
    entries, names = make_entries(table), row_names(table.rows)
    view = View(
        table=table,
        anchor=anchor(table),
        entries=entries,
        names=_told_apart(names.names, table.rows),
        shared=names.shared,
        key=names.lines,
        columns=[],
        gains=gains,
        learnt=learnt,
        bounds=[reads_labels(row, host) for row in table.rows],
        retrieval=names_in(table, "retrieval"),
        rewards=names_in(table, "rewards"),
        reported=reported_cells(table) if table.reported else None,
    )
    view.columns.extend(_columns(view))
    return view


def _told_apart(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Names of rows; those of seeds that could not be averaged say their seed."""
    return [
        name if names.count(name) == 1 else f"{name}, seed {row.seed}" for name, row in zip(names, rows, strict=True)
    ]


def _columns(view: View) -> list[Column]:
    """The heads, in the order of a row's cells: what failed stands beside the figure that it explains."""
    first, *others = view.table.metrics
    found = [
        Column("#", "Rank by the ranking metric, the first one.", "low"),
        Column(
            "method", "Retriever, number of items k, reasoner and generator, as far as they differ. Links to its page."
        ),
        _metric(view, first, "ranking"),
        Column(
            "over controls",
            "Difference to the best of its controls, and whether it is shown: see the legend.",
            "high",
            kind="over",
        ),
    ]
    if view.table.groups.numbers:
        found.append(Column("group", "Rows that share the letter of the best are not shown to differ from it.", "low"))
    found.append(Column("parse failures", "Answers in which no answer was found; they count as empty.", "low"))
    found += [Column("cut answers", CUT.partition(": ")[2].capitalize(), "low")] if view.finishes else []
    found.append(Column("cut prompts", CUT_PROMPTS.partition(": ")[2].capitalize(), "low"))
    found += [Column("refused", REFUSED.partition(": ")[2].capitalize(), "low")] if view.refused else []
    found += [_metric(view, name, "metric") for name in others]
    if view.by_user:
        found.append(
            Column("by user", "The ranking metric as the mean of user means.", _end(view, first), kind="metric")
        )
    found += [
        Column(name, "Retrieval measure over the questions whose relevant items are known.", "high")
        for name in view.retrieval
    ]
    found += [Column(name, "Mean of this reward, with its interval.", "high") for name in view.rewards]
    found.append(Column("seed", "Seeds of the row; each links to its page."))
    tips = (
        "Tokens of all prompts.",
        "Tokens of all completions.",
        "Seconds to generate them, loading of the model included.",
    )
    found += [Column(title, tip, "low") for title, tip in zip(SPEED_COLUMNS, tips, strict=True)] if view.speed else []
    return found


def _metric(view: View, name: str, kind: str) -> Column:
    higher = view.table.higher_is_better(name) is not False
    tip = f"{name}: {'more' if higher else 'less'} is better. The line is the 95 % interval over users"
    tip += ", dashed the best control row." if kind == "ranking" else "."
    bounds = {row.fingerprint for row, bound in zip(view.table.rows, view.bounds, strict=True) if bound}
    axis = axis_for(view.entries, name, higher, lambda row: row.control and row.fingerprint not in bounds)
    return Column(name, tip, _end(view, name), axis, kind)


def _end(view: View, name: str) -> str:
    return "low" if view.table.higher_is_better(name) is False else "high"


@dataclass(frozen=True)
class OverviewView:
    """An overview."""

    overview: Overview
    heads: list[dict[str, str]]
    lines: list[tuple[MethodLine, str, list[dict[str, str] | None]]]
    bounds: list[bool]
    shared: list[str]
    key: list[str]


def overview_views(board: Board, host: PluginHost | None) -> list[OverviewView]:
    """The overviews of a board."""
    return [_overview(overview, host) for overview in board.overviews]


def _overview(overview: Overview, host: PluginHost | None) -> OverviewView:
    names = row_names([line.row for line in overview.methods])
    lines = [
        (line, name, [None if place is None else place_cell(place) for place in line.places])
        for line, name in zip(overview.methods, names.names, strict=True)
    ]
    heads = [_head(table) for table in overview.tables]
    bounds = [reads_labels(line.row, host) for line in overview.methods]
    return OverviewView(overview, heads, lines, bounds, names.shared, names.lines)


def _head(table: Table) -> dict[str, str]:
    first = table.metrics[0]
    higher = table.higher_is_better(first) is not False
    tip = (
        f"{table.title}; {table.n} questions, {table.n_users} users; {first}, {'more' if higher else 'less'} is better"
    )
    return {"task": table.task, "metric": first.partition("@")[0] + " " + arrow(higher), "tip": tip} | {
        "anchor": anchor(table),
        "better": "high" if higher else "low",
    }


def place_cell(place: Place) -> dict[str, str]:
    """A method's figure in one table: its text, its value, its mark, and all of that in words."""
    figure = place.figure
    number = None if figure is None else figure.value
    text = "-" if number is None else f"{number:.{_DIGITS}f}" if abs(number) < 10 else f"{number:.1f}"
    mark, words = ("", "a control") if place.row.control else ("", "not compared with controls")
    if place.gains is not None:
        mark, words = MARKS[place.gains.verdict]
    tip = f"{value(figure)}, rank {place.rank:g}; {words}"
    return {"text": text, "value": "" if number is None else repr(number), "mark": mark, "tip": tip}


def gain_cell(gains: Gains | None) -> dict[str, str]:
    """What a row gains over its controls: its text, its value, its mark, and all of that in words."""
    if gains is None:
        return {"text": "-", "value": "", "mark": "", "tip": "not compared: no controls, no samples, or too few users"}
    mark, words = MARKS[gains.verdict]
    best = gains.over_all
    tip = f"{words}; {best.difference:+.4f} to {best.control.method} (p {best.p:.3f})"
    if gains.over_others is not None and gains.over_others.control is not best.control:
        others = gains.over_others
        tip += f", {others.difference:+.4f} to {others.control.method} (p {others.p:.3f})"
    digits = 3 if abs(best.difference) < 10 else 1
    return {"text": f"{best.difference:+.{digits}f}", "value": repr(best.difference), "mark": mark, "tip": tip}


def anchor(table: Table) -> str:
    """The id of a table in the index."""
    words = f"{table.task}-{table.split}-{table.protocol}-{table.n}-{table.data}"
    return re.sub(r"[^A-Za-z0-9_-]+", "-", words)
