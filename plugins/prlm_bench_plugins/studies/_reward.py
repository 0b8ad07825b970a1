"""Does a trained reward measure what it should? Its agreement with metrics and planted truth during training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prlm_bench import Example
from prlm_bench.errors import DataError
from prlm_bench.metrics import Metric, Pairs
from prlm_bench.results import ClusterEstimates

from .._training import read_completions
from ._base import StudyConfig, Values, study
from ._report import StudyReport, spread

#: Phases of training that are reported separately.
PHASES = 5
#: Number of other users whose answers to the same input truth is measured against.
OTHERS = 8
TRUTH = "truth"


@study("reward")
def reward(config: StudyConfig, policy: Path, name: str = "personalization") -> StudyReport:
    """Compare a reward with each metric that has a value for a sample, and with the planted truth where there is one.

    Agreement is the correlation within the completions of one question at one step, so that the difficulty of
    questions has no influence; intervals resample users. Truth is how much nearer an answer is to its user's gold
    than to what other users would have answered to the same input, in the task's first metric; it is known for
    mini-LaMP. A reward that rises over the course of training while the metric falls is hacked, and the findings
    say so.

    Args:
        config: the task that the policy was trained on, and its data.
        policy: the policy's folder, which holds `completions.jsonl`.
        name: the reward.

    Raises:
        DataError: there are no completions scored by the reward, or their questions are not in the data.
    """
    rows = _completions(policy, name)
    examples = _examples(config, {row["id"] for row in rows})
    metrics = [metric for metric in config.metrics if metric.is_mean]
    labels = config.task.labels
    columns = {metric.name: _values(metric, rows, examples, labels) for metric in metrics}
    truth = _truth(config, metrics[0], rows, examples)
    if truth is not None:
        columns[TRUTH] = truth
    table = _table(rows, [examples[row["id"]].user for row in rows], name, columns)
    return StudyReport(
        "reward",
        f"{config.task_name}: {name} in the training of {policy.name}",
        ["steps", "compared with", "completions", "mean reward", "mean of it", "correlation", "low", "high"],
        table,
        _findings(table, name, metrics[0]),
        lambda axes: _draw(axes, table, name, metrics[0].name),
    )


def _table(
    rows: Sequence[Mapping[str, Any]], users: Sequence[str], name: str, columns: Mapping[str, Values]
) -> list[list[Any]]:
    """For each phase of training and each column: means, and the reward's correlation with the column."""
    scores = np.array([row["rewards"][name] for row in rows])
    groups = [f"{row['step']} {row['part']} {row['id']}" for row in rows]
    table: list[list[Any]] = []
    for label, places in _phases([row["step"] for row in rows]):
        for column, values in columns.items():
            x, y = scores[places], values[places]
            figures = ClusterEstimates([users[place] for place in places])
            figures.add("r", _products(x, y, [groups[place] for place in places]), _correlation)
            found = figures.estimates()["r"]
            table.append([label, column, len(places), float(x.mean()), float(y.mean()), *spread(found)])
    return table


def _completions(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / "completions.jsonl"
    if not path.is_file():
        raise DataError(f"{folder} has no completions.jsonl", "give a policy's folder, such as RUN/policy")
    rows = [row for row in read_completions(folder) if name in row["rewards"]]
    if not rows:
        raise DataError(f"{path}: no completion was scored by {name}", "its training had another reward")
    return rows


def _examples(config: StudyConfig, wanted: set[str]) -> dict[str, Example]:
    """The questions of the training split with these ids, by id."""
    batches = config.open("train").batches(256)
    found = {example.id: example for batch in batches for example in batch if example.id in wanted}
    if found.keys() != wanted:
        hint = "give the same --data"
        raise DataError(f"{config.task_name} train has other questions than the training had", hint)
    return found


def _values(
    metric: Metric, rows: Sequence[Mapping[str, Any]], examples: Mapping[str, Example], labels: Sequence[str]
) -> Values:
    golds = [examples[row["id"]].gold or "" for row in rows]
    return _of(metric, [row["answer"] for row in rows], golds, labels)


def _of(metric: Metric, answers: Sequence[str], golds: Sequence[str], labels: Sequence[str]) -> Values:
    values = np.asarray(metric.value(metric.statistics(Pairs(answers, golds, labels))), dtype=np.float64)
    return values if metric.higher_is_better else -values


def _truth(
    config: StudyConfig, metric: Metric, rows: Sequence[Mapping[str, Any]], examples: Mapping[str, Example]
) -> Values | None:
    """How much nearer each answer is to its user's gold than to those of other users; None without known truth."""
    from prlm_bench.data.synth import answer, truth

    task = config.task
    if task.synthetic is None:
        return None
    preferences = truth(config.open("train").root)
    names = sorted(preferences)
    others = {}
    for number, (key, example) in enumerate(sorted(examples.items())):
        chosen = [names[(number * OTHERS + place) % len(names)] for place in range(OTHERS + 1)]
        chosen = [name for name in chosen if name != example.user][:OTHERS]
        others[key] = [answer(task.synthetic, example.input, preferences[name]) for name in chosen]
    own = _values(metric, rows, examples, task.labels)
    answers = [row["answer"] for row in rows]
    foreign = [
        _of(metric, answers, [others[row["id"]][place % len(others[row["id"]])] for row in rows], task.labels)
        for place in range(OTHERS)
    ]
    return np.asarray(own - np.mean(foreign, axis=0))


def _phases(steps: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    """Labels and places of about equally many steps each, in order."""
    distinct = sorted(set(steps))
    parts = [part.tolist() for part in np.array_split(np.array(distinct), min(PHASES, len(distinct)))]
    for part in parts:
        label = f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0])
        yield label, [place for place, step in enumerate(steps) if part[0] <= step <= part[-1]]


def _products(x: Values, y: Values, groups: Sequence[str]) -> Values:
    """Squares and products of deviations from the group's mean, shape (n, 3)."""
    _, index = np.unique(np.array(groups), return_inverse=True)
    counts = np.bincount(index)
    dx, dy = (values - (np.bincount(index, values) / counts)[index] for values in (x, y))
    return np.stack([dx * dx, dy * dy, dx * dy], axis=1)


def _correlation(totals: Values) -> Values:
    xx, yy, xy = (totals[..., place] for place in range(3))
    scale = np.sqrt(xx * yy)
    return np.asarray(np.where(scale > 1e-12, xy / np.where(scale > 1e-12, scale, 1.0), np.nan))


def _findings(table: Sequence[Sequence[Any]], name: str, metric: Metric) -> list[str]:
    found = []
    for what in (TRUTH, metric.name):
        phases = [row for row in table if row[1] == what]
        if not phases:
            continue
        first, last = phases[0], phases[-1]
        if last[5] is None:
            found.append(f"At the end {name} or {what} does not vary within questions.")
        else:
            known = last[6] is not None
            shown = "agrees" if known and last[6] > 0 else "is not shown to agree"
            figures = f"{last[5]:+.3f} " + (f"[{last[6]:+.3f}, {last[7]:+.3f}]" if known else "(too few users)")
            found.append(f"At the end {name} {shown} with {what} within questions: correlation {figures}.")
        if last[3] > first[3] and last[4] < first[4]:
            found.append(f"Reward hacking: {name} rose over training while {what} fell.")
    return found


def _draw(axes: Any, table: Sequence[Sequence[Any]], name: str, metric: str) -> None:
    rows = [row for row in table if row[1] == metric]
    places = range(len(rows))
    axes.plot(places, [row[3] for row in rows], "o-", label=f"mean {name}")
    axes.plot(places, [row[4] for row in rows], "s-", label=f"mean {metric}")
    axes.plot(places, [row[5] for row in rows], "^--", label=f"correlation with {metric}")
    axes.set_xticks(places, [row[0] for row in rows])
    axes.set_xlabel("training steps")
    axes.legend()
