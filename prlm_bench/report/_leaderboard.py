"""Builds tables from results: one for each task, split, set of questions and metric protocol.

A ranking contains only rows that answered the same questions under the same protocol. Published figures are shown
separately and never ranked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..interfaces import NOT_BATCH_INVARIANT, NOT_VERIFIED
from ..results import SeedGroup, Stored, data_key, seeds_of
from ..results._select import method_line
from ..stats import Interval
from ..tasks import TaskRegistry, protocol_of
from ._groups import Groups, Trainings, read_trainings, tied_groups
from ._pooling import MethodFigures, SeedAggregation
from ._reported import Reported, reported_for


@dataclass(frozen=True)
class Row:
    """One measured method, with one seed or several averaged."""

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
    figures: MethodFigures
    #: 1 for results of an earlier version of prlm-bench.
    schema_version: int
    #: False if the server of the generator does not say which model it serves.
    verified: bool
    #: False if an answer of the generator may hang on the other prompts of its batch.
    batch_invariant: bool
    #: Fingerprints of the first seed's result and of all seeds' results.
    fingerprint: str
    fingerprints: tuple[str, ...]
    #: What the run called it; may be empty.
    name: str = ""
    #: Who made the row, and where more is said of it, if it was somebody else; empty if it was made here.
    contributed_by: str = ""

    @property
    def method(self) -> str:
        """The method in one line, with all of its options."""
        return method_line(self.retriever, self.k, self.reasoner, self.generator)


@dataclass(frozen=True)
class Table:
    """Comparable rows, best first, and published figures of the benchmark."""

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
    #: First digits of the digest of the data files.
    data: str
    #: The benchmark whose data these are, where it is not `benchmark` and the user insisted.
    other_task: str | None
    #: The kind of its intervals.
    interval: Interval
    rows: list[Row]
    #: Which rows are not shown to differ from the best, in the ranking metric.
    groups: Groups
    reported: list[Reported]
    #: The statistics of each row in the ranking metric, by user; None where its samples are not there.
    trainings: tuple[Trainings | None, ...] = ()

    def higher_is_better(self, metric: str) -> bool | None:
        """Whether higher values of a metric are better; None where no row has it."""
        found = (row.figures.metrics.get(metric) for row in self.rows)
        return next((estimate.higher_is_better for estimate in found if estimate is not None), None)


def build_tables(
    stored: Iterable[Stored],
    tasks: TaskRegistry | None = None,
    pooling: SeedAggregation | None = None,
    *,
    metrics: Sequence[str] = (),
) -> list[Table]:
    """Group and rank results.

    Args:
        stored: finished results.
        tasks: provides titles; an unknown task is shown by its name.
        pooling: how results become rows; by default each result is one row.
        metrics: only these metrics, of which the first of each protocol ranks; by default all.
    """
    pooling = pooling or SeedAggregation(by_seed=True)
    groups: dict[tuple[str, str, str, int, str], list[Stored]] = {}
    for result in stored:
        manifest = result.manifest
        for protocol in dict.fromkeys(map(protocol_of, _named([result], metrics))):
            key = (manifest.task, manifest.split, data_key(manifest), manifest.data.n, protocol)
            groups.setdefault(key, []).append(result)
    pools: dict[tuple[str, ...], MethodFigures] = {}
    trainings: dict[tuple[str, ...], dict[str, Trainings]] = {}
    tables = []
    for key, members in sorted(groups.items(), key=lambda item: item[0]):
        rows = [(result,) for result in members] if pooling.by_seed else pooling.groups(members)
        for group in rows:
            # A group appears in the tables of both protocols.
            if _names(group) not in pools:
                pools[_names(group)] = pooling.pool(group)
                trainings[_names(group)] = read_trainings(group, _ranking_metrics(_named(group, metrics)))
        members_of = [(group, pools[_names(group)]) for group in rows]
        tables.append(_table(key, members_of, trainings, tasks, pooling.interval, _named(members, metrics)))
    return tables


def _named(members: Sequence[Stored], metrics: Sequence[str]) -> list[str]:
    """The metrics that some of the rows have, of these where some are given."""
    known = dict.fromkeys(name for member in members for name in member.metric_names)
    return [name for name in metrics if name in known] if metrics else [*known]


def _ranking_metrics(names: Sequence[str]) -> list[str]:
    """The first metric of each protocol."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(protocol_of(name), name)
    return [*first.values()]


def _names(group: SeedGroup) -> tuple[str, ...]:
    return tuple(result.manifest.fingerprint for result in group)


def _table(
    key: tuple[str, str, str, int, str],
    members: Sequence[tuple[SeedGroup, MethodFigures]],
    trainings: Mapping[tuple[str, ...], Mapping[str, Trainings]],
    tasks: TaskRegistry | None,
    interval: Interval,
    names: Sequence[str],
) -> Table:
    task, split, data, n, protocol = key
    first = members[0][0][0].manifest
    metrics = tuple(name for name in names if protocol_of(name) == protocol)
    known = tasks is not None and task in tasks.names
    synthetic = known and tasks is not None and tasks.named(task).synthetic is not None
    ordered = sorted(members, key=lambda member: _order(member[0], member[1], metrics[0]))
    of_rows = tuple(trainings[_names(group)].get(metrics[0]) for group, _ in ordered)
    return Table(
        task=task,
        title=tasks.named(task).title if known and tasks is not None else task,
        benchmark=first.benchmark,
        split=split,
        protocol=protocol,
        metrics=metrics,
        n=n,
        n_total=first.data.n_total,
        n_users=first.data.n_users,
        data=data,
        other_task=first.data.other_task,
        interval=interval,
        rows=[_row(rank, group, pooled, metrics) for rank, (group, pooled) in enumerate(ordered, 1)],
        groups=tied_groups(of_rows),
        # For an unknown task it is not known whether its data are real.
        reported=reported_for(first.benchmark, protocol)
        if known and not synthetic and first.data.other_task is None
        else [],
        trainings=of_rows,
    )


def _order(group: SeedGroup, pooled: MethodFigures, metric: str) -> tuple[float, str]:
    found, folder = pooled.metrics.get(metric), str(group[0].folder)
    if found is None or found.value is None:
        return float("inf"), folder
    return -found.value if found.higher_is_better else found.value, folder


def _row(rank: int, group: SeedGroup, pooled: MethodFigures, metrics: Sequence[str]) -> Row:
    manifest, summary = group[0].manifest, group[0].summary
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
        seeds=seeds_of(group),
        control=manifest.control,
        n=summary.n,
        n_total=summary.n_total,
        n_invalid=manifest.data.n_invalid,
        n_users=summary.n_users,
        figures=pooled.of_metrics(metrics),
        schema_version=manifest.schema_version,
        verified=NOT_VERIFIED not in method.generator.fingerprint,
        batch_invariant=NOT_BATCH_INVARIANT not in method.generator.fingerprint,
        fingerprint=manifest.fingerprint,
        fingerprints=_names(group),
        name=manifest.name,
        contributed_by="; ".join(dict.fromkeys(filter(None, map(_whose, group)))),
    )


def _whose(result: Stored) -> str:
    made = result.contribution
    return "" if made is None else made.by + (f" ({made.url})" if made.url else "")
