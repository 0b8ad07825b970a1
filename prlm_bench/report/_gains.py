"""What each method of a table gains over its controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import PrlmBenchError
from ..host import Component, PluginHost, parse_spec
from ..results import mean_value
from ..stats import holm, paired_difference, smallest_p
from ._groups import LEVEL, Trainings
from ._leaderboard import Row, Table

#: What is shown of a method: that it beats the best of all its controls; that it beats only those that do not see the
#: user's own items; neither; or that it is worse than the best of the latter.
Verdict = Literal["all", "others", "none", "worse"]
_FLIPS = 2_000


@dataclass(frozen=True)
class Gain:
    """A method against one control, in the ranking metric."""

    control: Row
    #: Positive where the method is better, also where less is better.
    difference: float
    #: p-value of the paired test over users, corrected by Holm's method over the methods of the table.
    p: float

    @property
    def shown(self) -> bool:
        """Whether there is a difference at 5 %."""
        return self.p < LEVEL


@dataclass(frozen=True)
class Gains:
    """A method against the best of its controls, and against the best of those without the user's own items."""

    over_all: Gain
    over_others: Gain | None

    @property
    def verdict(self) -> Verdict:
        """What is shown."""
        if self.over_all.shown and self.over_all.difference > 0:
            return "all"
        others = self.over_others
        if others is None or not others.shown:
            return "none"
        return "others" if others.difference > 0 else "worse"


def gains_of(table: Table, host: PluginHost | None = None) -> list[Gains | None]:
    """The gains of each row; None for controls, and where samples are missing or users too few to show anything.

    The controls of a method are the control rows with its reasoner and generator (no items, random ones, another
    user's), and those whose generator is a control. One that reads which items are relevant is no bar.

    Args:
        table: a table; rows without samples have no gains.
        host: knows the components; without it, a row without items is the only control that sees none of the user's.
    """
    if len(table.trainings) != len(table.rows):
        return [None] * len(table.rows)
    judge = _Judge(table, host)
    over_all, over_others = judge.gains(others=False), judge.gains(others=True)
    return [
        None if (gain := over_all.get(at)) is None else Gains(gain, over_others.get(at))
        for at in range(len(table.rows))
    ]


def reads_labels(row: Row, host: PluginHost | None) -> bool:
    """Whether the retriever of a row reads which items are relevant, so that the row is an upper bound."""
    retriever = _component(host, "retriever", row.retriever)
    return retriever is not None and "relevance" in retriever.needs


def _component(host: PluginHost | None, kind: Literal["retriever", "generator"], spec: str) -> Component | None:
    if host is None:
        return None
    try:
        return host.registry.get(kind, parse_spec(spec.partition(" [")[0]).name)
    except PrlmBenchError:  # of a plugin that is not installed
        return None


def learnt(found: Sequence[Gains | None]) -> bool | None:
    """Whether some method of a table is shown to use the user's items: to beat all controls that do not see them.

    None where that is not known.
    """
    known = [gains for gains in found if gains is not None]
    return any(gains.verdict in ("all", "others") for gains in known) if known else None


class _Judge:
    """The comparisons of one table."""

    def __init__(self, table: Table, host: PluginHost | None) -> None:
        self._table, self._host = table, host
        self._methods = {row.generator for row in table.rows if not row.control}

    def gains(self, *, others: bool) -> dict[int, Gain]:
        """By place of the row; `others` are the controls that do not see the user's own items."""
        found: dict[int, tuple[Row, float, float]] = {}
        users = 0
        for at, row in enumerate(self._table.rows):
            best = None if row.control else self._best_control(row, others)
            mine, theirs = self._table.trainings[at], None if best is None else self._table.trainings[best]
            if best is not None and mine is not None and theirs is not None and _comparable(mine, theirs):
                found[at] = (self._table.rows[best], *self._difference(mine, theirs))
                users = len(mine.totals[0])
        if not found or smallest_p(users) > LEVEL / len(found):
            return {}
        p_values = holm([p for _, _, p in found.values()])
        return {at: Gain(*found[at][:2], p) for at, p in zip(found, p_values, strict=True)}

    def _best_control(self, row: Row, others: bool) -> int | None:
        """The place of the best control of a row; rows are ordered, best first."""
        for at, other in enumerate(self._table.rows):
            same = other.generator == row.generator and other.reasoner == row.reasoner
            if not other.control or not (same or other.generator not in self._methods):
                continue
            if not reads_labels(other, self._host) and not (others and self._sees_own_items(other)):
                return at
        return None

    def _sees_own_items(self, row: Row) -> bool:
        retriever = _component(self._host, "retriever", row.retriever)
        generator = _component(self._host, "generator", row.generator)
        blind = any("items" in each.ignores for each in (retriever, generator) if each is not None)
        return row.k > 0 and not blind and not (retriever is not None and "users" in retriever.needs)

    def _difference(self, mine: Trainings, theirs: Trainings) -> tuple[float, float]:
        sizes = mine.totals[0][:, 1]
        found = paired_difference(mine.totals, theirs.totals, mean_value, sizes, flips=_FLIPS)
        sign = -1 if self._table.higher_is_better(self._table.metrics[0]) is False else 1
        return sign * found.difference, found.p


def _comparable(mine: Trainings, theirs: Trainings) -> bool:
    return len({len(totals) for each in (mine, theirs) for totals in each.totals}) == 1
