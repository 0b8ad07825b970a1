"""One row a method over all tasks: its place in each table, its mean rank, and where it beats its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import rankdata

from ..host import PluginHost
from ..results import Estimate
from ._gains import Gains, Verdict, gains_of, learnt
from ._leaderboard import Row, Table

#: What tells methods apart: retriever, k, reasoner, generator.
_Key = tuple[str, int, str, str]


@dataclass(frozen=True)
class Place:
    """A method in one table."""

    row: Row
    #: The ranking metric.
    figure: Estimate | None
    #: From 1; equal figures share the mean of their ranks.
    rank: float
    gains: Gains | None


@dataclass(frozen=True)
class MethodLine:
    """A method over the tables of an overview."""

    row: Row
    #: One for each table; None where the method was not run.
    places: tuple[Place | None, ...]

    @property
    def known(self) -> list[Place]:
        """The tables that it is in."""
        return [place for place in self.places if place is not None]

    @property
    def mean_rank(self) -> float:
        """The mean of its ranks in the tables that it is in."""
        return sum(place.rank for place in self.known) / len(self.known)

    @property
    def compared(self) -> int:
        """Tables in which it was compared with its controls."""
        return sum(place.gains is not None for place in self.known)

    @property
    def beats_all(self) -> int:
        """Tables in which it is shown to be better than all of its controls."""
        return self._with("all")

    @property
    def beats_others(self) -> int:
        """Tables in which it is shown to be better than those that do not see the user's own items."""
        return self._with("all") + self._with("others")

    def _with(self, verdict: Verdict) -> int:
        return sum(place.gains is not None and place.gains.verdict == verdict for place in self.known)


@dataclass(frozen=True)
class Overview:
    """The methods of all tables of one split and one metric protocol, best first."""

    split: str
    protocol: str
    tables: tuple[Table, ...]
    #: Those that were run on all tasks first, then by mean rank.
    methods: tuple[MethodLine, ...]


@dataclass(frozen=True)
class Board:
    """Tables in the order in which a page shows them, and what stands before them."""

    #: First those in which a method beats all of its controls, last those in which none is shown to use the user's
    #: items; among equals, those in which more methods do.
    tables: tuple[Table, ...]
    #: The gains of each row, by place of the table.
    gains: tuple[tuple[Gains | None, ...], ...]
    #: Of each split and protocol with at least two tables, those with most tables first.
    overviews: tuple[Overview, ...]

    def learnt(self, at: int) -> bool | None:
        """Whether some method of a table is shown to use the user's items; None where that is not known."""
        return learnt(self.gains[at])


def make_board(tables: Sequence[Table], host: PluginHost | None = None) -> Board:
    """Order the tables of a page and make its overviews.

    Args:
        tables: as `build_tables` makes them.
        host: says which retrievers read relevance labels.
    """
    found = [tuple(gains_of(table, host)) for table in tables]
    order = sorted(range(len(tables)), key=lambda at: _telling(found[at]))
    ordered = [(tables[at], found[at]) for at in order]
    groups: dict[tuple[str, str], list[tuple[Table, tuple[Gains | None, ...]]]] = {}
    for table, of_rows in zip(tables, found, strict=True):
        groups.setdefault((table.split, table.protocol), []).append((table, of_rows))
    wide = sorted((key for key in groups if len(groups[key]) > 1), key=lambda key: -len(groups[key]))
    return Board(
        tables=tuple(table for table, _ in ordered),
        gains=tuple(of_rows for _, of_rows in ordered),
        overviews=tuple(_overview(*key, groups[key]) for key in wide),
    )


def _telling(found: Sequence[Gains | None]) -> tuple[int, float]:
    """The place of a table on a page: a key to sort by."""
    verdicts = [gains.verdict for gains in found if gains is not None]
    shown = sum(verdict in ("all", "others") for verdict in verdicts) / max(len(verdicts), 1)
    if "all" in verdicts:
        return 0, -shown
    return (1, -shown) if shown or not verdicts else (2, 0.0)


def _overview(split: str, protocol: str, members: Sequence[tuple[Table, Sequence[Gains | None]]]) -> Overview:
    places = [_places(table, of_rows) for table, of_rows in members]
    keys = list(dict.fromkeys(key for each in places for key in each))
    lines = [_line(key, places) for key in keys]
    lines.sort(key=lambda line: (-len(line.known), line.mean_rank, _key(line.row)))
    return Overview(split, protocol, tuple(table for table, _ in members), tuple(lines))


def _line(key: _Key, places: Sequence[Mapping[_Key, Place]]) -> MethodLine:
    found = tuple(each.get(key) for each in places)
    return MethodLine(next(place.row for place in found if place is not None), found)


def _places(table: Table, of_rows: Sequence[Gains | None]) -> dict[_Key, Place]:
    """The place of each method; one with several rows, such as seeds that could not be averaged, has their mean."""
    name = table.metrics[0]
    figures = [row.figures.metrics.get(name) for row in table.rows]
    places: dict[_Key, list[Place]] = {}
    for row, figure, rank, gains in zip(table.rows, figures, _ranks(figures), of_rows, strict=True):
        places.setdefault(_key(row), []).append(Place(row, figure, rank, gains))
    return {key: members[0] if len(members) == 1 else _mean(members) for key, members in places.items()}


def _mean(members: Sequence[Place]) -> Place:
    values = [None if place.figure is None else place.figure.value for place in members]
    known = [value for value in values if value is not None]
    mean = sum(known) / len(known) if len(known) == len(values) else None
    rank = sum(place.rank for place in members) / len(members)
    return Place(members[0].row, Estimate(value=mean, low=None, high=None), rank, None)


def _ranks(figures: Sequence[Estimate | None]) -> list[float]:
    """Ranks of figures that are ordered, best first; those without a value share the last ranks."""
    values = [None if figure is None else figure.value for figure in figures]
    known = [value for value in values if value is not None]
    falling = len(known) < 2 or known[0] >= known[-1]
    worst = float("inf")
    ordered = [worst if value is None else -value if falling else value for value in values]
    return [float(rank) for rank in rankdata(ordered)]


def _key(row: Row) -> _Key:
    return row.retriever, row.k, row.reasoner, row.generator
