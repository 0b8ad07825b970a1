"""The text of tables in any format: headings, columns, cells and legends."""

from __future__ import annotations

from collections.abc import Sequence

from ..results import Estimate
from ._leaderboard import Row, Table
from ._pooling import MethodFigures


def heading(table: Table) -> str:
    """The heading of a table, one line."""
    other = "" if table.other_task is None else f" of another benchmark ({table.other_task})"
    return (
        f"{table.task} {table.split}, {table.protocol} protocol: {table.title}; "
        f"{table.n} of {table.n_total} questions, {table.n_users} users, data {table.data}{other}"
    )


def columns(table: Table) -> list[str]:
    """The column titles of a table."""
    seeds = ["seed"] if len({row.seeds for row in table.rows}) > 1 or has_spread(table) else []
    spread = ["seed sd", "user sd"] if has_spread(table) else []
    retrieval, rewards = names_in(table, "retrieval"), names_in(table, "rewards")
    shares = ["parse failures", "cut prompts"]
    parts = ["#", "retriever", "k", "reasoner", "generator", *seeds]
    return [*parts, *table.metrics, "by user", *spread, *retrieval, *rewards, *shares]


def cells(table: Table, row: Row, *, break_line: bool = False) -> list[str]:
    """A row's cells, aligned with `columns`."""
    shown = len({other.seeds for other in table.rows}) > 1 or has_spread(table)
    seeds = [", ".join(map(str, row.seeds))] if shown else []
    gap = "\n" if break_line else " "
    figures = row.figures
    metrics = [estimate(figures.metrics.get(name), gap) for name in table.metrics]
    first = figures.metrics.get(table.metrics[0])
    macro = [estimate(first.user_macro if first else None, gap)]
    spread = _spread_cells(figures, table.metrics[0]) if has_spread(table) else []
    retrieval = [value(figures.retrieval.get(name)) for name in names_in(table, "retrieval")]
    rewards = [estimate(figures.rewards.get(name), gap) for name in names_in(table, "rewards")]
    shares = [percent(figures.parse_failures), percent(figures.truncated_prompts)]
    generator = row.generator + (" †" if row.control else "") + (" ‡" if row.schema_version == 1 else "")
    return [
        str(row.rank), row.retriever, str(row.k), row.reasoner, generator,
        *seeds, *metrics, *macro, *spread, *retrieval, *rewards, *shares,
    ]  # fmt: skip


def _spread_cells(figures: MethodFigures, name: str) -> list[str]:
    if figures.deterministic:
        return [DETERMINISTIC, "-"]
    between = figures.spread.get(name)
    found = [between.sd, between.between_users] if between else [None, None]
    return [value(Estimate(value=each, low=None, high=None)) for each in found]


def reported_cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Column titles and rows of the published figures."""
    names = [name for name in table.metrics if any(name in r.metrics for r in table.reported)]
    rows = [
        [r.source, r.method, r.model, r.split, *(f"{r.metrics[n]:.4f}" if n in r.metrics else "-" for n in names)]
        for r in table.reported
    ]
    return ["source", "method", "model", "split", *names], rows


NOTHING = "No finished results.\n"
LEGEND = (
    "† control row. [ ] 95 % interval, users resampled. by user: the ranking metric as the mean of user means. "
    "Cut prompts: an item was shortened or left out to fit the token budget."
)
#: Additions to the legend for BCa intervals, and for rows of several seeds.
BCA = "Intervals are bias-corrected and accelerated (BCa)."
SEEDS = (
    "Several seeds of a method are one row, their mean; its interval is over users only. seed sd: standard deviation "
    "of the ranking metric between seeds. user sd: the same between user means, without the variation between seeds."
)
#: Shown as the spread between seeds if the seed has no effect.
DETERMINISTIC = "none"
SAME = "none: all seeds gave the same samples."
EARLIER = "‡ produced by an earlier version of prlm-bench, with another fingerprint."
REPORTED = "Reported by others; not measured here and not ranked, since split, model or prompt differ."


def legend(tables: Sequence[Table]) -> str:
    """The legend of these tables."""
    bca = [BCA] if any(table.interval == "bca" for table in tables) else []
    rows = [row for table in tables for row in table.rows]
    seeds = [SEEDS] if any(map(has_spread, tables)) else []
    same = [SAME] if any(row.figures.deterministic for row in rows) else []
    earlier = [EARLIER] if any(row.schema_version == 1 for row in rows) else []
    return " ".join([LEGEND, *bca, *seeds, *same, *earlier])


def value(found: Estimate | None) -> str:
    """A figure with four decimals, two from 10 on."""
    if found is None or found.value is None:
        return "-"
    return f"{found.value:.2f}" if abs(found.value) >= 10 else f"{found.value:.4f}"


def estimate(found: Estimate | None, gap: str = " ") -> str:
    """A figure with its interval."""
    if found is None or found.value is None or found.low is None or found.high is None:
        return value(found)
    digits = 1 if abs(found.value) >= 10 else 3
    return f"{value(found)}{gap}[{found.low:.{digits}f}, {found.high:.{digits}f}]"


def percent(found: Estimate) -> str:
    """A share as a percentage."""
    return "-" if found.value is None else f"{100 * found.value:.1f}%"


def has_spread(table: Table) -> bool:
    return any(row.figures.spread or row.figures.deterministic for row in table.rows)


def names_in(table: Table, group: str) -> list[str]:
    return list(dict.fromkeys(name for row in table.rows for name in getattr(row.figures, group)))
