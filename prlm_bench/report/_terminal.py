"""Tables for a terminal, as wide as it is: see `TableView` for what gives way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .._util.tables import Column, fits, output_width, paragraph, table_text
from .._util.text import printable
from ..errors import UnknownNameError
from ..results import Estimate
from ..tasks import protocol_of
from ._leaderboard import Table
from ._names import row_names
from ._text import NOTHING, REPORTED, Field, arrow, estimate, fields, heading, legend, marks, plus_minus, reported_cells

#: What gives way in a narrow terminal, in this order: columns by their kind or title, `±` the intervals of the metrics
#: that do not rank. The rank, the method and the metric that ranks stay.
ORDER = ("speed", "spread", "by user", "retrieval", "±", "cut prompts", "metric", "reward", "refused", "cut answers")
#: Titles by which columns can be asked for, besides their own.
_ALSO = {"rank": "#", "name": "method", "parse_failures": "parse failures"}
#: Kinds of columns that go where they have no value; those of the first two are said once if all rows have the same.
_MAY_GO = ("seed", "share", "speed", "spread", "retrieval")
#: Columns of a method's name below which it is not wrapped while other columns can give way.
_NAME = 30


@dataclass(frozen=True)
class TableView:
    """What is shown of a table.

    Args:
        columns: titles of the columns, in the order of the table; by default all that have room.
        metrics: only these metrics, with or without their protocol.
        wide: everything, with full specs and both ends of intervals, however wide.
    """

    columns: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    wide: bool = False


def render_terminal(tables: Sequence[Table], view: TableView | None = None) -> str:
    """All tables as text, as wide as the terminal, or as needed without one.

    Args:
        tables: the tables.
        view: what is shown of them.

    Raises:
        UnknownNameError: no table has a column or a metric that the view names.
    """
    view = view or TableView()
    if not tables:
        return NOTHING
    _check(tables, view)
    width = None if view.wide else output_width()
    text, shown, drawn = "", set[str](), list[Table]()
    for table in tables:
        sheet = _Sheet(table, view, width)
        if not sheet.metrics:
            continue
        drawn.append(table)
        text += sheet.text()
        shown |= sheet.titles | sheet.lifted
        if table.reported:
            names, rows = reported_cells(table)
            text += table_text(REPORTED, names, rows, width=width)
    return text + paragraph(legend(drawn, None if view.wide else shown), width)


class _Sheet:
    """A table while its columns are chosen."""

    def __init__(self, table: Table, view: TableView, width: int | None) -> None:
        self.table, self.view, self.width = table, view, width
        self.metrics = [name for name in table.metrics if _is_wanted(name, view.metrics)]
        self.fields = fields(table, _both_ends if view.wide else plus_minus)
        self.fields = [field for field in self.fields if field.kind != "metric" or field.title in self.metrics]
        #: What all rows share, the specs that are shortened, and what had no room.
        self.shared: list[str] = []
        self.lifted: set[str] = set()
        self.key: list[str] = []
        self.left_out: list[str] = []
        #: The column of each field, by its id, beside the field that keeps the id.
        self._measured: dict[int, tuple[Field, Column]] = {}
        if not view.wide:
            self._shorten()

    @property
    def titles(self) -> set[str]:
        """The titles of the columns that are shown."""
        return {field.title for field in self.fields}

    def text(self) -> str:
        """The table, with what it leaves out below."""
        above = [heading(self.table), *([f"all rows: {', '.join(self.shared)}"] if self.shared else [])]
        dim = [number for number, row in enumerate(self.table.rows) if row.control]
        titles, cells = self._titles(), self._cells()
        drawn = "".join(paragraph(printable(line), self.width) for line in above[:-1])
        drawn += table_text(above[-1], titles, cells, least=self._least(), dim=dim, width=self.width)
        return drawn + "".join(paragraph(line, self.width) for line in self._below()) + "\n" * bool(self._below())

    def _below(self) -> list[str]:
        lines = list(self.key)
        if self.left_out:
            lines.append(f"No room for: {', '.join(self.left_out)}. --columns chooses, --wide shows everything.")
        return list(map(printable, lines))

    def _titles(self) -> list[str]:
        return [printable(self._title(field)) for field in self.fields]

    def _title(self, field: Field) -> str:
        if field.kind != "metric" or self.view.wide:
            return field.title
        return f"{_bare_name(field.title)} {arrow(self.table.higher_is_better(field.title))}".rstrip()

    def _cells(self) -> list[list[str]]:
        return [[printable(field.cell(row)) for field in self.fields] for row in self.table.rows]

    def _least(self) -> list[int]:
        return [_NAME if field.kind == "method" else 0 for field in self.fields]

    def _shorten(self) -> None:
        """Lift what all rows share, put the parts of methods into one column, and leave out what has no room."""
        found = row_names(self.table.rows)
        names = {id(row): " ".join([n, *marks(row)]) for row, n in zip(self.table.rows, found.names, strict=True)}
        self.shared, self.key = found.shared, found.lines
        method = Field("method", "method", lambda row: names[id(row)])
        others = [field for field in self.fields if field.kind != "method"]
        before = [field for field in others if field.kind in ("rank", "group")]
        self.fields = [*before, method, *others[len(before) :]]
        if self.view.columns:
            wanted = {_folded(name) for name in (*self.view.columns, *self.view.metrics)} | {"#", "method"}
            self.fields = [field for field in self.fields if wanted & set(_names_of(field))]
            return
        self._lift()
        for kind in ORDER:
            self._make_room(kind)

    def _lift(self) -> None:
        """Say once what all rows have in common, and leave out columns without a value."""
        for field in [field for field in self.fields if field.kind in _MAY_GO]:
            said = {field.cell(row) for row in self.table.rows} - {"-"}
            if not said or (len(said) == 1 and len(self.table.rows) > 1 and field.kind in _MAY_GO[:2]):
                self.fields.remove(field)
                self.lifted |= {field.title} if said else set()
                self.shared += [f"{field.title} {text}" for text in said]

    def _make_room(self, kind: str) -> None:
        """Leave out columns of a kind, the last one first, until the others have room."""
        first = next((field for field in self.fields if field.kind == "metric"), None)
        for place in reversed(range(len(self.fields))):
            field = self.fields[place]
            if self.width is None or fits(self._columns(), self.width):
                return
            if field is first:
                continue
            if kind == "±" and field.kind == "metric" and field.bare is not None:
                self.fields[place] = Field(field.title, field.kind, field.bare)
                self.left_out.append(f"± of {_bare_name(field.title)}")
            elif kind in (field.kind, field.title):
                del self.fields[place]
                self.left_out = [told for told in self.left_out if told != f"± of {_bare_name(field.title)}"]
                self.left_out.append(_bare_name(field.title) if kind == "metric" else field.title)

    def _columns(self) -> list[Column]:
        """The columns as they are drawn; the method may be wrapped down to `_NAME`."""
        for field in self.fields:
            if id(field) not in self._measured:
                cells = [printable(field.cell(row)) for row in self.table.rows]
                column = Column(printable(self._title(field)), cells)
                if field.kind == "method":
                    column = Column("", [" " * max(len(column.title), min(column.natural, _NAME))])
                self._measured[id(field)] = (field, column)
        return [self._measured[id(field)][1] for field in self.fields]


def _both_ends(found: Estimate | None) -> str:
    return estimate(found)


def _check(tables: Sequence[Table], view: TableView) -> None:
    sheets = [fields(table) for table in tables]
    names = {name for table in tables for metric in table.metrics for name in (metric, _bare_name(metric))}
    for name in view.metrics:
        if not any(_is_wanted(metric, [name]) for table in tables for metric in table.metrics):
            raise UnknownNameError("metric of these tables", name, names)
    known = {name for sheet in sheets for field in sheet if field.kind != "method" for name in _names_of(field)}
    for name in view.columns:
        if _folded(name) not in {*known, "method"}:
            titles = dict.fromkeys(field.title for sheet in sheets for field in sheet if field.kind != "method")
            raise UnknownNameError("column", name, [*titles, "method"])


def _is_wanted(metric: str, names: Sequence[str]) -> bool:
    folded = [_folded(name) for name in names]
    return not names or _folded(metric) in folded or _folded(_bare_name(metric)) in folded


def _names_of(field: Field) -> list[str]:
    return [_folded(field.title), *([_folded(_bare_name(field.title))] if field.kind == "metric" else [])]


def _folded(name: str) -> str:
    folded = re.sub(r"[\s_]+", " ", name).strip().casefold()
    return _ALSO.get(folded, folded)


def _bare_name(metric: str) -> str:
    """A metric without its protocol, which the heading names."""
    return metric.removesuffix(f"@{protocol_of(metric)}")
