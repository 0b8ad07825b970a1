"""Who aggregates? Methods over the strength of the trait that shows only in several items together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from prlm_bench.data import synthetic_folder
from prlm_bench.data.synth import SynthConfig
from prlm_bench.errors import RunError
from prlm_bench.progress import Progress
from prlm_bench.report import compare
from prlm_bench.results import Stored

from .cells import run_cells, seed_values
from .report import Report

if TYPE_CHECKING:
    from prlm_bench.host import PluginHost

#: Shares of a user's items that show the user's side of the aggregated trait; mini-LaMP itself has 0.75.
STRENGTHS = (0.55, 0.65, 0.75, 0.85, 0.95, 1.0)


@dataclass(frozen=True)
class StrengthAsked:
    """Methods on one task of mini-LaMP, made anew for each strength."""

    host: PluginHost
    task: str
    split: str
    #: Specs, as `run --method` has them.
    methods: Sequence[str]
    strengths: Sequence[float]
    seeds: Sequence[int]
    limit: int | None
    users: int
    results: Path
    progress: Progress


def strength(asked: StrengthAsked) -> Report:
    """Run each method on the same users at each strength, and compare it with the first.

    Golds show the user's side always, items with the given probability; everything else about the users is the
    same. Scores are means over seeds; intervals resample users with all of their seeds.

    Raises:
        RunError: a task that is not of mini-LaMP, or a method that cannot run.
    """
    task = asked.host.tasks.get(asked.task)
    if task.synthetic is None:
        raise RunError(f"{asked.task} has no planted traits", "--task, one of mini-LaMP")
    (metric,) = asked.host.metrics([task.metrics[0]])
    names = [method.partition(":")[0] for method in asked.methods]
    labels = names if len(set(names)) == len(names) else asked.methods
    rows: list[list[Any]] = []
    for level in asked.strengths:
        seed_groups = [_run(asked, level, method) for method in asked.methods]
        found = compare(seed_groups[1:], seed_groups[0], [metric], task.labels, correction="none")
        differences = [None, *(each.difference for each in found)]
        for label, family, d in zip(labels, seed_groups, differences, strict=True):
            gain = [None] * 3 if d is None else [d.difference, d.low, d.high]
            rows.append([level, label, fmean(seed_values(family, metric.name)), *gain])
    return Report(
        "strength",
        f"{asked.task} {asked.split} over the strength of the aggregated trait ({len(asked.seeds)} seeds)",
        ["strength", "method", metric.name, "minus the first", "low", "high"],
        rows,
        (),
        lambda axes: _draw(axes, labels, rows, metric.name),
    )


def _run(asked: StrengthAsked, level: float, method: str) -> tuple[Stored, ...]:
    task = asked.host.tasks.get(asked.task)
    data = synthetic_folder(task, SynthConfig.of(asked.users, level))
    fields = {"split": asked.split, "methods": [method], "seeds": list(asked.seeds), "limit": asked.limit}
    return tuple(run_cells(asked.host, asked.results, asked.progress, tasks=[asked.task], data=data, **fields))


def _draw(axes: Any, labels: Sequence[str], rows: Sequence[Sequence[Any]], metric: str) -> None:
    for label in labels:
        own = [row for row in rows if row[1] == label]
        axes.plot([row[0] for row in own], [row[2] for row in own], "o-", label=label)
    axes.set_xlabel("share of items that show the user's side")
    axes.set_ylabel(metric)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
