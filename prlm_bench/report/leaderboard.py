"""From result folders to tables: one table for each task, split, set of questions and metric protocol.

Only rows that answered the same questions under the same protocol stand in one ranking. Published figures
are shown beside it and never in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .._files import digest
from ..results.schema import Estimate, MetricSummary
from ..results.store import Stored
from ..tasks import TaskBook
from .reported import Reported, reported_for


@dataclass(frozen=True)
class Row:
    """One measured method."""

    rank: int
    retriever: str
    k: int
    reasoner: str
    generator: str
    seed: int
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
    fingerprint: str


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
    rows: list[Row]
    reported: list[Reported]


def build_tables(stored: Iterable[Stored], tasks: TaskBook | None = None) -> list[Table]:
    """Group and rank results.

    Args:
        stored: finished results.
        tasks: gives titles; a result of a task that is not known is shown by its name.
    """
    groups: dict[tuple[str, str, str, int, str], list[Stored]] = {}
    for result in stored:
        manifest = result.manifest
        data = digest([manifest.data.sha256, manifest.data.n_invalid])[:8]
        for protocol in dict.fromkeys(name.rpartition("@")[2] for name in manifest.metrics):
            groups.setdefault((manifest.task, manifest.split, data, manifest.data.n, protocol), []).append(result)
    return [_table(key, members, tasks) for key, members in sorted(groups.items(), key=lambda item: item[0])]


def _table(key: tuple[str, str, str, int, str], members: Sequence[Stored], tasks: TaskBook | None) -> Table:
    task, split, data, n, protocol = key
    first = members[0].manifest
    metrics = tuple(name for name in first.metrics if name.rpartition("@")[2] == protocol)
    known = tasks is not None and task in tasks.names
    synthetic = known and tasks is not None and tasks.get(task).synthetic is not None
    ordered = sorted(members, key=lambda result: _order(result, metrics[0]))
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
        rows=[_row(rank, result, metrics) for rank, result in enumerate(ordered, 1)],
        # Of a task that is not known, nobody can say whether its data are real.
        reported=reported_for(first.benchmark, protocol) if known and not synthetic else [],
    )


def _order(result: Stored, metric: str) -> tuple[float, str]:
    summary = result.summary.metrics.get(metric)
    if summary is None or summary.value is None:
        return float("inf"), str(result.folder)
    return -summary.value if summary.higher_is_better else summary.value, str(result.folder)


def _row(rank: int, result: Stored, metrics: Sequence[str]) -> Row:
    manifest, summary = result.manifest, result.summary
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
        control=manifest.control,
        n=summary.n,
        n_total=summary.n_total,
        n_invalid=manifest.data.n_invalid,
        n_users=summary.n_users,
        metrics={name: summary.metrics[name] for name in metrics if name in summary.metrics},
        rewards=summary.rewards,
        retrieval=summary.retrieval,
        parse_failures=summary.parse_failures,
        truncated_prompts=summary.truncated_prompts,
        truncated_completions=summary.truncated_completions,
        items_shown=summary.items_shown,
        fingerprint=manifest.fingerprint,
    )
