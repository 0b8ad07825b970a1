"""Does a trained reward measure what it should? Its agreement with metrics and truth while a policy trains on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from prlm_bench import Example
from prlm_bench.data import open_split
from prlm_bench.errors import DataError
from prlm_bench.metrics import Metric, Pairs
from prlm_bench.results import ClusterEstimates

from .report import Report

if TYPE_CHECKING:
    from prlm_bench.host import PluginHost

Values = NDArray[np.float64]

#: Stretches of training that are looked at one by one.
STRETCHES = 5
#: Other users whose answers to the same question truth is measured against.
OTHERS = 8
TRUTH = "truth"


@dataclass(frozen=True)
class RewardAsked:
    """A policy's training and where its questions came from."""

    host: PluginHost
    task: str
    data: Path | None
    #: The policy's folder, which holds `completions.jsonl`.
    policy: Path
    reward: str
    synth_users: int | None


def reward(asked: RewardAsked) -> Report:
    """Compare a reward with each metric that has a value for a sample, and with the planted truth where there is one.

    Agreement is the correlation within the completions of one question at one step, so that easy questions count
    for nothing; intervals resample users. Truth is how much nearer an answer is to its user's gold than to what
    other users would have answered to the same input, in the task's first metric; mini-LaMP knows that. A reward
    that rises over the stretches of training while the metric falls is being hacked, and the findings say so.
    """
    rows = _completions(asked.policy, asked.reward)
    examples = _examples(asked, {row["id"] for row in rows})
    task = asked.host.tasks.get(asked.task)
    metrics = [m for m in asked.host.metrics(task.metrics) if m.is_mean]
    columns = {metric.name: _values(metric, rows, examples, task.labels) for metric in metrics}
    truth = _truth(asked, metrics[0], rows, examples)
    if truth is not None:
        columns[TRUTH] = truth
    scores = np.array([row["rewards"][asked.reward] for row in rows])
    users = [examples[row["id"]].user for row in rows]
    groups = [f"{row['step']} {row['part']} {row['id']}" for row in rows]
    table: list[list[Any]] = []
    for label, places in _stretches([row["step"] for row in rows]):
        for name, values in columns.items():
            x, y = scores[places], values[places]
            figures = ClusterEstimates([users[place] for place in places])
            figures.add("r", _products(x, y, [groups[place] for place in places]), _correlation)
            found = figures.estimates()["r"]
            table.append(
                [label, name, len(places), float(x.mean()), float(y.mean()), found.value, found.low, found.high]
            )
    first = metrics[0]
    return Report(
        "reward",
        f"{asked.task}: {asked.reward} in the training of {asked.policy.name}",
        ["steps", "compared with", "completions", "mean reward", "mean of it", "correlation", "low", "high"],
        table,
        _findings(table, asked.reward, first),
        lambda axes: _draw(axes, table, asked.reward, first.name),
    )


def _completions(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / "completions.jsonl"
    try:
        rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    except OSError:
        raise DataError(f"{folder} has no completions.jsonl", "give a policy's folder, such as RUN/policy") from None
    rows = [row for row in rows if name in row["rewards"]]
    if not rows:
        raise DataError(f"{path}: no completion was scored by {name}", "its training had another reward")
    return rows


def _examples(asked: RewardAsked, wanted: set[str]) -> dict[str, Example]:
    dataset = open_split(asked.host.tasks.get(asked.task), "train", asked.data, synth_users=asked.synth_users)
    found = {example.id: example for batch in dataset.batches(256) for example in batch if example.id in wanted}
    if found.keys() != wanted:
        raise DataError(f"{asked.task} train has other questions than the training had", "give the same --data")
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
    asked: RewardAsked, metric: Metric, rows: Sequence[Mapping[str, Any]], examples: Mapping[str, Example]
) -> Values | None:
    """How much nearer each answer is to its user's gold than to those of other users; None without known truth."""
    from prlm_bench.data.synth import answer, truth

    task = asked.host.tasks.get(asked.task)
    if task.synthetic is None:
        return None
    dataset = open_split(task, "train", asked.data, synth_users=asked.synth_users)
    preferences = truth(dataset.root)
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


def _stretches(steps: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    """Labels and places of about equally many steps each, in order."""
    distinct = sorted(set(steps))
    parts = [part.tolist() for part in np.array_split(np.array(distinct), min(STRETCHES, len(distinct)))]
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
    spread = np.sqrt(xx * yy)
    return np.asarray(np.where(spread > 1e-12, xy / np.where(spread > 1e-12, spread, 1.0), np.nan))


def _findings(table: Sequence[Sequence[Any]], name: str, metric: Metric) -> list[str]:
    found = []
    for what in (TRUTH, metric.name):
        stretches = [row for row in table if row[1] == what]
        if not stretches:
            continue
        first, last = stretches[0], stretches[-1]
        if last[5] is None:
            found.append(f"At the end {name} or {what} does not vary within questions.")
        else:
            shown = "agrees" if last[6] > 0 else "is not shown to agree"
            told = f"{last[5]:+.3f} [{last[6]:+.3f}, {last[7]:+.3f}]"
            found.append(f"At the end {name} {shown} with {what} within questions: correlation {told}.")
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
