"""From result folders to tables: one table for each task, split, set of questions and metric protocol.

Only rows that answered the same questions under the same protocol stand in one ranking. Published figures
are shown beside it and never in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .._util.files import digest
from ..results._schema import Estimate, MetricSummary
from ..results._seed_groups import SeedGroup, seed_groups, seeds_of
from ..results._store import Stored
from ..stats import Interval
from ..tasks import TaskRegistry
from ._pooling import MethodFigures, SeedAggregation, SeedSpread
from ._reported import Reported, reported_for


@dataclass(frozen=True)
class Row:
    """One measured method, with one seed or with several taken together."""

    rank: int
    retriever: str
    k: int
    reasoner: str
    generator: str
    #: The first seed, and all of them.
    seed: int
    seeds: tuple[int, ...]
    control: bool
    n: int
    n_total: int
    n_invalid: int
    n_users: int
    metrics: dict[str, MetricSummary]
    rewards: dict[str, Estimate]
    retrieval: dict[str, Estimate]
    parse_failures: Estimate
    truncated_prompts: Estimate
    truncated_completions: float | None
    items_shown: float
    #: With several seeds, how each metric varies between them.
    spread: dict[str, SeedSpread]
    #: Fingerprints of the first seed's result and of all seeds' results.
    fingerprint: str
    fingerprints: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Comparable rows, best first, and what others have published for the benchmark."""

    task: str
    title: str
    benchmark: str
    split: str
    protocol: str
    #: Metric names; the first one ranks.
    metrics: tuple[str, ...]
    n: int
    n_total: int
    n_users: int
    #: Start of the digest of the data files.
    data: str
    #: The kind of its intervals.
    interval: Interval
    rows: list[Row]
    reported: list[Reported]


def build_tables(
    stored: Iterable[Stored], tasks: TaskRegistry | None = None, pooling: SeedAggregation | None = None
) -> list[Table]:
    """Group and rank results.

    Args:
        stored: finished results.
        tasks: gives titles; a result of a task that is not known is shown by its name.
        pooling: how results become rows; by default each is one, as it was stored.
    """
    pooling = pooling or SeedAggregation(by_seed=True)
    groups: dict[tuple[str, str, str, int, str], list[Stored]] = {}
    for result in stored:
        manifest = result.manifest
        data = digest([manifest.data.sha256, manifest.data.n_invalid])[:8]
        for protocol in dict.fromkeys(name.rpartition("@")[2] for name in manifest.metrics):
            groups.setdefault((manifest.task, manifest.split, data, manifest.data.n, protocol), []).append(result)
    pools: dict[tuple[str, ...], MethodFigures] = {}
    tables = []
    for key, members in sorted(groups.items(), key=lambda item: item[0]):
        rows = [(result,) for result in members] if pooling.by_seed else seed_groups(members)
        for family in rows:
            # A family stands in the tables of both protocols.
            if _names(family) not in pools:
                pools[_names(family)] = pooling.pool(family)
        tables.append(_table(key, [(family, pools[_names(family)]) for family in rows], tasks, pooling.interval))
    return tables


def _names(family: SeedGroup) -> tuple[str, ...]:
    return tuple(result.manifest.fingerprint for result in family)


def _table(
    key: tuple[str, str, str, int, str],
    members: Sequence[tuple[SeedGroup, MethodFigures]],
    tasks: TaskRegistry | None,
    interval: Interval,
) -> Table:
    task, split, data, n, protocol = key
    first = members[0][0][0].manifest
    metrics = tuple(name for name in first.metrics if name.rpartition("@")[2] == protocol)
    known = tasks is not None and task in tasks.names
    synthetic = known and tasks is not None and tasks.get(task).synthetic is not None
    ordered = sorted(members, key=lambda member: _order(member[0], member[1], metrics[0]))
    return Table(
        task=task,
        title=tasks.get(task).title if known and tasks is not None else task,
        benchmark=first.benchmark,
        split=split,
        protocol=protocol,
        metrics=metrics,
        n=n,
        n_total=first.data.n_total,
        n_users=first.data.n_users,
        data=data,
        interval=interval,
        rows=[_row(rank, family, pooled, metrics) for rank, (family, pooled) in enumerate(ordered, 1)],
        # Of a task that is not known, nobody can say whether its data are real.
        reported=reported_for(first.benchmark, protocol) if known and not synthetic else [],
    )


def _order(family: SeedGroup, pooled: MethodFigures, metric: str) -> tuple[float, str]:
    found, folder = pooled.metrics.get(metric), str(family[0].folder)
    if found is None or found.value is None:
        return float("inf"), folder
    return -found.value if found.higher_is_better else found.value, folder


def _row(rank: int, family: SeedGroup, pooled: MethodFigures, metrics: Sequence[str]) -> Row:
    manifest, summary = family[0].manifest, family[0].summary
    method = manifest.method
    texts = "" if manifest.data.view == "lamp" else f" [{manifest.data.view} texts]"
    dates = " [dates]" if manifest.data.dates else ""
    return Row(
        rank=rank,
        retriever=method.retriever.spec + (texts + dates if method.k else ""),
        k=method.k,
        reasoner=method.reasoner.spec,
        generator=method.generator.spec,
        seed=manifest.seed,
        seeds=seeds_of(family),
        control=manifest.control,
        n=summary.n,
        n_total=summary.n_total,
        n_invalid=manifest.data.n_invalid,
        n_users=summary.n_users,
        metrics={name: pooled.metrics[name] for name in metrics if name in pooled.metrics},
        rewards=pooled.rewards,
        retrieval=pooled.retrieval,
        parse_failures=pooled.parse_failures,
        truncated_prompts=pooled.truncated_prompts,
        truncated_completions=pooled.truncated_completions,
        items_shown=pooled.items_shown,
        spread={name: pooled.spread[name] for name in metrics if name in pooled.spread},
        fingerprint=manifest.fingerprint,
        fingerprints=_names(family),
    )
