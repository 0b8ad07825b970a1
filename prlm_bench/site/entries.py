"""What the site shows as one row: a method, its seeds taken together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .._files import digest
from ..report.leaderboard import Row, Table
from ..results.schema import Estimate
from ..results.store import Stored
from ..results.summarize import mean_value
from ..stats import Floats, bootstrap_totals, percentile_interval
from .groups import tied_groups

#: For each metric that has a value for every sample, its statistics (value, 1) by user, shape (users, 2).
Totals = Mapping[str, Floats]


@dataclass(frozen=True)
class Figure:
    """A metric of one entry."""

    estimate: Estimate
    #: The lowest and the highest value of a seed; None with one seed.
    seeds: tuple[float, float] | None


@dataclass(frozen=True)
class Entry:
    """Rows that differ in nothing but the seed."""

    #: A row for each seed, in the order of the seeds.
    rows: tuple[Row, ...]
    #: 1 for the best mean over seeds.
    rank: int
    #: Entries of one group cannot be told apart from the best of it.
    group: int
    metrics: dict[str, Figure]
    #: Means over the seeds; with several seeds they have no interval.
    user_macro: Estimate | None
    retrieval: dict[str, Estimate]
    rewards: dict[str, Estimate]
    parse_failures: Estimate
    truncated_prompts: Estimate

    @property
    def head(self) -> Row:
        """What all rows share: the first of them."""
        return self.rows[0]


def make_entries(table: Table, stored: Mapping[str, Stored], totals: Mapping[str, Totals]) -> list[Entry]:
    """The entries of a table, best first.

    Args:
        table: its rows.
        stored: results by fingerprint.
        totals: statistics by fingerprint and metric.
    """
    families: dict[str, list[Row]] = {}
    for row in table.rows:
        manifest = stored[row.fingerprint].manifest
        families.setdefault(digest(manifest.model_dump(exclude={"seed", "fingerprint", "command"})), []).append(row)
    members = [sorted(rows, key=lambda row: row.seed) for rows in families.values()]
    figures = [{name: _figure(rows, name, totals) for name in rows[0].metrics} for rows in members]
    ranking = table.metrics[0]
    order = sorted(range(len(members)), key=lambda at: _key(members[at][0], figures[at].get(ranking), ranking))
    pooled = [_pooled(members[at], ranking, totals) for at in order]
    groups = tied_groups(pooled)
    return [
        _entry(members[at], rank, group, figures[at], ranking)
        for rank, (at, group) in enumerate(zip(order, groups, strict=True), 1)
    ]


def _entry(rows: Sequence[Row], rank: int, group: int, figures: dict[str, Figure], ranking: str) -> Entry:
    macros = [row.metrics[ranking].user_macro for row in rows if ranking in row.metrics]
    return Entry(
        rows=tuple(rows),
        rank=rank,
        group=group,
        metrics=figures,
        user_macro=mean_estimate([macro for macro in macros if macro is not None]),
        retrieval=_means([row.retrieval for row in rows]),
        rewards=_means([row.rewards for row in rows]),
        parse_failures=mean_estimate([row.parse_failures for row in rows]) or rows[0].parse_failures,
        truncated_prompts=mean_estimate([row.truncated_prompts for row in rows]) or rows[0].truncated_prompts,
    )


def _key(row: Row, figure: Figure | None, ranking: str) -> float:
    if figure is None or figure.estimate.value is None:
        return float("inf")
    return -figure.estimate.value if row.metrics[ranking].higher_is_better else figure.estimate.value


def _figure(rows: Sequence[Row], name: str, totals: Mapping[str, Totals]) -> Figure:
    if len(rows) == 1:
        return Figure(rows[0].metrics[name], None)
    mean = mean_estimate([row.metrics[name] for row in rows])
    pooled = _pooled(rows, name, totals)
    values = [row.metrics[name].value for row in rows]
    known = [value for value in values if value is not None]
    seeds = (min(known), max(known)) if len(known) == len(rows) else None
    if mean is None or mean.value is None or pooled is None or len(pooled) < 2:
        return Figure(mean or Estimate(value=None, low=None, high=None), seeds)
    low, high = percentile_interval(mean_value(bootstrap_totals(pooled)))
    return Figure(Estimate(value=mean.value, low=low, high=high), seeds)


def _pooled(rows: Sequence[Row], name: str, totals: Mapping[str, Totals]) -> Floats | None:
    """Statistics by user, averaged over the seeds; None where one of them has none."""
    found = [totals[row.fingerprint].get(name) for row in rows]
    known = [each for each in found if each is not None]
    return np.mean(known, axis=0) if known and len(known) == len(rows) else None


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate | None:
    """The mean over seeds, without an interval; a single estimate as it is, none as None."""
    if len(estimates) < 2:
        return estimates[0] if estimates else None
    values = [estimate.value for estimate in estimates if estimate.value is not None]
    whole = len(values) == len(estimates)
    return Estimate(value=sum(values) / len(values) if whole else None, low=None, high=None)


def _means(groups: Sequence[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    names = dict.fromkeys(name for group in groups for name in group)
    found = {name: mean_estimate([group[name] for group in groups if name in group]) for name in names}
    return {name: estimate for name, estimate in found.items() if estimate is not None}
