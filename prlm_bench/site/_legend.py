"""How to read the tables: one legend for a whole page."""

from __future__ import annotations

from ..host import PluginHost
from ..report import Table
from ..report._gains import reads_labels
from ..report._overview import Board
from ..report._text import (
    BOOTSTRAP,
    BY_USER,
    CUT,
    CUT_PROMPTS,
    EARLIER,
    FAILED,
    GROUPS,
    REFUSED,
    has_finishes,
    has_refused,
    has_several_questions,
    notes_on,
)

_CONTROLS = (
    "Controls are rows that show what a method is worth: the question or an item as the answer, the same model without "
    "items, with random items of the user, with another user's. The controls of a method are those with its reasoner "
    "and generator, and those whose generator is a control."
)
_MARKS = (
    "▲: shown to be better than all of its controls. △: shown to be better than those that do not see the user's own "
    "items, but not than all; it uses the items, and that it has better ones than a control is not shown. ▼: worse "
    "than one of those. No mark: nothing is shown. All by paired tests over users at 5 %, with Holm's correction over "
    "the methods of a table. -: not compared, because there are no controls or samples, or too few users."
)
_BOUND = "Upper bound: the retriever reads which items are relevant. Such a row is no control that others must beat."
_RANKS = (
    "Mean rank: over the tasks that a method was run on; equal figures share a rank. Methods that were not run on all "
    "tasks come after those that were, and their mean ranks are of other tasks."
)
_ARROWS = "↑: more is better. ↓: less is better. The first metric of a table ranks."
_INTERVALS = (
    "Brackets hold the 95 % interval over users. It says nothing about the difference of two rows, which is paired: "
    "see the groups, or `prlm-bench compare`."
)
_DRAWN = (
    "The drawn line is the interval; all lines of a column share one axis, whose ends are in the head. Dashed: the "
    "best control row of the table."
)
_SEEDS = (
    "Several seeds of a method are one row: its figures are means over the seeds, their intervals over users and seeds."
)
_SPREAD = (
    "Below them are the lowest and the highest seed, with the standard deviation between seeds (sd). Each seed links "
    "to its own page."
)


def legend_lines(board: Board, host: PluginHost | None, *, drawn: bool) -> list[str]:
    """The legend of a page, a line for each thing; commands are in backticks.

    Args:
        board: what the page shows.
        host: knows the components.
        drawn: whether intervals are drawn, and rows link to pages.
    """
    tables = board.tables
    rows = [row for table in tables for row in table.rows]
    failed = any(row.figures.reward_failures or row.figures.metric_failures for row in rows)
    several = any(len(row.seeds) > 1 for row in rows)
    found = [
        _CONTROLS if drawn else f"†: control row. {_CONTROLS}",
        _MARKS,
        *[_BOUND] * any(reads_labels(row, host) for row in rows),
        *[_RANKS] * bool(board.overviews),
        _ARROWS,
        _INTERVALS,
        *[text for kind, text in BOOTSTRAP.items() if any(table.interval == kind for table in tables)],
        *[_DRAWN] * drawn,
        *[_sentence(GROUPS)] * any(table.groups.numbers for table in tables),
        *[f"{_SEEDS} {_SPREAD}" if drawn else _SEEDS] * several,
        *[_sentence(BY_USER)] * any(map(has_several_questions, tables)),
        CUT_PROMPTS,
        *[CUT] * any(map(has_finishes, tables)),
        *[REFUSED] * any(map(has_refused, tables)),
        *[_sentence(FAILED)] * failed,
    ]
    if drawn:
        return [*found, *(_sentence(text.lstrip("§¶◇ ")) for text in notes_on(tables))]
    earlier = any(row.schema_version == 1 for row in rows)
    return [*found, *[EARLIER] * earlier, *map(_sentence, notes_on(tables))]


def luck_of(table: Table) -> str:
    """How much the first of a table is expected to be too good; empty with one row in its group."""
    if table.groups.luck is None:
        return ""
    tied = table.groups.numbers.count(1)
    return (
        f"The first of {tied} rows in group A is first partly by chance: of equal rows it would come out "
        f"{table.groups.luck:.4f} too good."
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
