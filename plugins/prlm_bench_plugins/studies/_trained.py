"""Studies of trained methods: what each part brings, transfer to other tasks, and strength of the planted trait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from scipy.stats import ttest_1samp

from prlm_bench.data import open_split, synthetic_folder
from prlm_bench.data.synth import SynthConfig
from prlm_bench.errors import PluginError, RunError
from prlm_bench.files import cache_root
from prlm_bench.report import Comparison, compare, on_trainings
from prlm_bench.results import Stored
from prlm_bench.running import Components

from ._base import StudyConfig, seed_values, study
from ._report import StudyReport, draw_intervals

#: Columns of the ablation's table, besides costs; the name of the first method stands in one.
_COLUMNS = (
    *("method", "mean", "seed sd", "seeds", "minus {}", "low", "high", "p (Holm)", "p of trainings", "parse failures"),
)

Method = Mapping[str, Any]

#: What a training costs, by the names of a manifest's `costs`, and the columns of the table.
COSTS = {"tokens_generated": "tokens generated", "tokens_trained": "tokens trained", "seconds": "training seconds"}
#: Differences of trainings that vary by less do not vary: they are sums in other orders.
_SAME = 1e-12
#: Significance level of the corrected tests.
_LEVEL = 0.05
#: Shares of a user's items that show the user's side of the aggregated trait; mini-LaMP itself has 0.75.
STRENGTHS = (0.55, 0.65, 0.75, 0.85, 0.95, 1.0)


@study("ablation")
def ablation(config: StudyConfig, trainer: Mapping[str, Any], runs: Path) -> StudyReport:
    """Train once for each seed, run every method that the trainer names, and compare the others with the first.

    Scores are means over seeds, with their standard deviation between seeds; intervals and tests are over users, and
    over trainings where these differ. `p of trainings` is that of the paired t test over the trainings alone, not
    corrected. Costs are those of one training, means over seeds: tokens that were generated
    (evaluations included) and trained, and seconds, each with the stages that a method builds on.

    Args:
        config: one task, and the seeds of the trainings. What the first chooses among settings holds for all.
        trainer: the trainer's spec, with all of its options.
        runs: folder of the trainings, each in `<task>/<seed>`.
    """
    metric, labels = config.metric, config.task.labels
    trained = _train(config, trainer, runs)
    seed_groups = {label: tuple(run_method(config, method)) for label, method in trained.methods.items()}
    first, *others = seed_groups
    found = compare([seed_groups[label] for label in others], seed_groups[first], [metric], labels, correction="holm")
    compared: dict[str, Comparison | None] = {first: None, **dict(zip(others, found, strict=True))}
    base = seed_values(seed_groups[first], metric.name)
    rows = [
        [*_ablation_row(label, seed_groups[label], metric.name, compared[label], base), *trained.cost(label)]
        for label in seed_groups
    ]
    rows.sort(key=lambda row: -row[1] if metric.higher_is_better else row[1])
    return StudyReport(
        "ablation",
        f"{config.task_name} {config.split}: {first}, its variants and baselines on the same data; {metric.name}",
        [*(column.format(first) for column in _COLUMNS), *COSTS.values()],
        rows,
        [*_ablation_findings(first, rows, 1 if metric.higher_is_better else -1), *trained.findings],
        lambda axes: _draw_ablation(axes, rows, f"{metric.name}, minus that of {first}"),
    )


@dataclass(frozen=True)
class Trained:
    """What the trainings of several seeds made."""

    #: The methods that the trainer's manifest names, by label, with `{seed}` in place of the seed in paths.
    methods: Mapping[str, Method]
    #: Costs by label, of each seed.
    costs: Sequence[Mapping[str, Mapping[str, float]]]
    #: Sentences about the trainings.
    findings: Sequence[str]

    def cost(self, label: str) -> list[int | None]:
        """Mean costs of a method (see `mean_cost`)."""
        return mean_cost([costs[label] for costs in self.costs if label in costs])


def mean_cost(costs: Sequence[Mapping[str, float]]) -> list[int | None]:
    """Means over trainings in the order of `COSTS`; None where they are not known."""
    return [
        round(fmean(cost[name] for cost in costs)) if costs and all(name in cost for cost in costs) else None
        for name in COSTS
    ]


def _train(config: StudyConfig, trainer: Mapping[str, Any], runs: Path) -> Trained:
    """Train on the task with each seed; finished trainings are not repeated.

    The options that the manifest of the first training has under `other_seeds` are given to those of the other seeds;
    lists are added to those of the trainer.

    Raises:
        PluginError: the trainer's manifest names no methods.
    """
    methods: dict[str, Method] = {}
    costs: list[Mapping[str, Mapping[str, float]]] = []
    findings: list[str] = []
    for number, seed in enumerate(config.seeds):
        folder = runs / config.task_name / str(seed)
        dataset = open_split(
            config.task,
            "train",
            config.data,
            any_task=config.any_task,
            synth_users=config.synth_users,
            progress=config.progress,
        )
        components = Components(config.host, dataset, cache_root())
        config.progress.note(f"{trainer['name']} on {config.task_name}, seed {seed}")
        manifest = components.ready("trainer", trainer, seed).train(folder, config.progress)
        findings += [f"Seed {seed}: {finding}." for finding in manifest.get("findings", ())]
        costs.append(manifest.get("costs", {}))
        if number == 0:
            trainer = with_options(trainer, manifest.get("other_seeds", {}))
        named = manifest.get("methods")
        if not named:
            raise PluginError(f"trainer {trainer['name']} names no methods", "see docs/reference/plugins.md")
        general = str(runs / config.task_name / "{seed}")
        methods = {label: replaced(method, str(folder), general) for label, method in named.items()}
    return Trained(methods, costs, findings)


def with_options(trainer: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """A trainer's spec with further options; lists are added to those that it has."""
    joined = {
        name: [*trainer.get(name, []), *value] if isinstance(value, list) else value for name, value in more.items()
    }
    return {**trainer, **joined}


def replaced(method: Method, old: str, new: str) -> dict[str, Any]:
    """A method with another folder in its parts."""
    return {part: value.replace(old, new) if isinstance(value, str) else value for part, value in method.items()}


def run_method(config: StudyConfig, method: Method) -> list[Stored]:
    """A method's results on the task, one for each seed."""
    return config.run(
        retrievers=[method.get("retriever", "none")],
        k=[method.get("k", 0)],
        reasoners=[method["reasoner"]],
        generators=[method["generator"]],
    )


def p_of_trainings(values: Sequence[float], others: Sequence[float]) -> float | None:
    """The p-value of the t test over trainings, paired by seed; None with one, or where all differ alike."""
    differences = np.subtract(values, others)
    if len(differences) < 2 or np.ptp(differences) < _SAME:
        return None
    return float(ttest_1samp(differences, 0.0).pvalue)


def _ablation_row(
    label: str, family: Sequence[Stored], metric: str, compared: Comparison | None, base: Sequence[float]
) -> list[Any]:
    values = seed_values(family, metric)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    failures = float(np.mean([result.summary.parse_failures.value or 0.0 for result in family]))
    d = compared.difference if compared else None
    gain = [None] * 4 if d is None or compared is None else [d.difference, *d.ends, compared.p_corrected]
    trained = None if compared is None else p_of_trainings(values, base)
    return [label, float(np.mean(values)), spread, len(values), *gain, trained, failures]


def _ablation_findings(first: str, rows: Sequence[Sequence[Any]], sign: int) -> list[str]:
    """Which methods the corrected tests show to be worse, better, or neither, and on how many trainings."""
    worse: list[str] = []
    better: list[str] = []
    neither: list[str] = []
    seeds = min(row[3] for row in rows)
    for label, _mean, _sd, _seeds, difference, _low, _high, p, *_ in rows:
        if label != first:
            (neither if p >= _LEVEL else worse if sign * difference < 0 else better).append(label)
    found = [(f"Shown to be worse than {first}", worse), (f"Shown to be better than {first}", better)]
    found.append((f"Not shown to differ from {first}", neither))
    return [f"{text} {on_trainings(seeds)}: {', '.join(names)}." for text, names in found if names]


def _draw_ablation(axes: Any, rows: Sequence[Sequence[Any]], what: str) -> None:
    compared = [row for row in rows if row[4] is not None]
    draw_intervals(axes, [row[0] for row in compared], [row[4:7] for row in compared], what)
    axes.axvline(0.0, color="tab:gray", linewidth=1)


@study("cross-domain")
def cross_domain(config: StudyConfig, trainer: Mapping[str, Any], runs: Path) -> StudyReport:
    """Train on each task and run the first method of each training on every task.

    The score of a method trained on another task is compared with that of the method trained on the task itself;
    intervals are over users, and over seeds where they differ. Arguments are those of `ablation`, with several tasks.
    """
    methods = {name: next(iter(_train(config.for_task(name), trainer, runs).methods.values())) for name in config.tasks}
    on = on_trainings(len(config.seeds))
    rows: list[list[Any]] = []
    for name in config.tasks:
        here = config.for_task(name)
        metric, labels = here.metric, here.task.labels
        own = tuple(run_method(here, methods[name]))
        rows.append([name, name, fmean(seed_values(own, metric.name)), None, None, None])
        for other in config.tasks:
            if other != name:
                foreign = tuple(run_method(here, methods[other]))
                (found,) = compare([foreign], own, [metric], labels, correction="none")
                d = found.difference
                rows.append([other, name, fmean(seed_values(foreign, metric.name)), d.difference, *d.ends])
    alike = [
        f"{row[0]} on {row[1]}" for row in rows if row[3] is not None and (row[4] is None or row[4] <= 0 <= row[5])
    ]
    return StudyReport(
        "cross-domain",
        f"Trained on one task, run on another ({config.split}), {on}",
        ["trained on", "run on", "score", "minus trained on it", "low", "high"],
        rows,
        [f"Not shown to differ from training on the task itself {on}: {', '.join(alike)}."] if alike else [],
        lambda axes: _draw_cross_domain(axes, config.tasks, rows),
    )


def _draw_cross_domain(axes: Any, tasks: Sequence[str], rows: list[list[Any]]) -> None:
    names = list(tasks)
    grid = [[next(r[2] for r in rows if (r[0], r[1]) == (trained, run)) for run in names] for trained in names]
    image = axes.imshow(np.array(grid, dtype=float), cmap="Blues", vmin=0)  # None becomes nan
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("run on")
    axes.set_ylabel("trained on")
    for y, line in enumerate(grid):
        for x, value in enumerate(line):
            text, dark = ("-", False) if value is None else (f"{value:.3f}", value > 0.5)
            axes.text(x, y, text, ha="center", va="center", color="white" if dark else "black")
    axes.figure.colorbar(image, ax=axes)


@study("strength")
def strength(
    config: StudyConfig, methods: Sequence[str], strengths: Sequence[float] = STRENGTHS, users: int = 40
) -> StudyReport:
    """Run each method on the same users at each strength of the aggregated trait, and compare it with the first.

    Golds always show the user's side, items with the given probability; everything else about the users stays the
    same. Scores are means over seeds; intervals are over users, and over seeds where these differ.

    Args:
        config: one task of mini-LaMP; its data are generated for each strength.
        methods: specs, as for `run --method`.
        strengths: probabilities from 0 to 1.
        users: number of users per split.

    Raises:
        RunError: the task is not of mini-LaMP, or a method cannot run.
    """
    task, metric = config.task, config.metric
    if task.synthetic is None:
        raise RunError(f"{config.task_name} has no planted traits", "--task, one of mini-LaMP")
    names = [method.partition(":")[0] for method in methods]
    labels = names if len(set(names)) == len(names) else methods
    rows: list[list[Any]] = []
    for level in strengths:
        data = synthetic_folder(task, SynthConfig.of(users, level))
        seed_groups = [tuple(config.run(methods=[method], data=data)) for method in methods]
        found = compare(seed_groups[1:], seed_groups[0], [metric], task.labels, correction="none")
        differences = [None, *(each.difference for each in found)]
        for label, family, d in zip(labels, seed_groups, differences, strict=True):
            gain = [None] * 3 if d is None else [d.difference, *d.ends]
            rows.append([level, label, fmean(seed_values(family, metric.name)), *gain])
    return StudyReport(
        "strength",
        f"{config.task_name} {config.split} over the strength of the aggregated trait ({len(config.seeds)} seeds)",
        ["strength", "method", metric.name, "minus the first", "low", "high"],
        rows,
        (),
        lambda axes: _draw_strength(axes, labels, rows, metric.name),
    )


def _draw_strength(axes: Any, labels: Sequence[str], rows: Sequence[Sequence[Any]], metric: str) -> None:
    for label in labels:
        own = [row for row in rows if row[1] == label]
        axes.plot([row[0] for row in own], [row[2] for row in own], "o-", label=label)
    axes.set_xlabel("share of items that show the user's side")
    axes.set_ylabel(metric)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
