"""Studies that run nothing: shares of the variance between stored results, and leakage in the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from prlm_bench import Example
from prlm_bench.errors import DataError
from prlm_bench.results import find_results

from ._base import StudyConfig, Values, study
from ._report import StudyReport

#: Parts of a method that the variance is attributed to.
PARTS = ("retriever", "k", "reasoner", "generator")
#: Minimum Jaccard similarity of the sets of words of two texts that count as near-duplicates.
NEAR = 0.8


@study("attribution")
def attribution(config: StudyConfig) -> StudyReport:
    """Attribute the variance of the stored rows of a task to the parts of their methods.

    Each part's share is its Shapley value: the mean, over all orders of the parts, of the variance between rows
    that it explains beyond the parts before it (Lindeman, Merenda and Gold 1980). Explained variance is that of
    the group means. What parts explain only jointly is divided between them.

    Raises:
        DataError: fewer than two rows are stored for the task and split.
    """
    metric = config.metric.name
    stored = [
        r
        for r in find_results(config.results)[0]
        if (r.manifest.task, r.manifest.split) == (config.task_name, config.split)
    ]
    rows = []
    for result in stored:
        method, found = result.manifest.method, result.summary.metrics.get(metric)
        if found is not None and found.value is not None:
            specs = (method.retriever.spec, str(method.k), method.reasoner.spec, method.generator.spec)
            rows.append((specs, found.value))
    if len(rows) < 2:
        raise DataError(
            f"{len(rows)} results of {config.task_name} {config.split} in {config.results}", "run a grid first"
        )
    shares = shapley_shares([specs for specs, _ in rows], np.array([value for _, value in rows]))
    table = [
        [part, len({specs[place] for specs, _ in rows}), share]
        for place, (part, share) in enumerate(zip(PARTS, shares, strict=True))
    ]
    table.append(["all together", len(rows), float(sum(shares))])

    def draw(axes: Any) -> None:
        axes.barh(range(len(PARTS)), shares, color="tab:blue")
        axes.set_yticks(range(len(PARTS)), PARTS)
        axes.invert_yaxis()
        axes.set_xlabel(f"share of the variance of {metric} between {len(rows)} rows")

    title = f"{config.task_name} {config.split}: where differences between methods come from"
    return StudyReport("attribution", title, ["part", "values", "share of variance"], table, [], draw)


def shapley_shares(parts: list[tuple[str, ...]], values: Values) -> list[float]:
    """The Shapley share of each part in the variance of `values`.

    Args:
        parts: for each of n rows, the value of each of p parts.
        values: n numbers.

    Returns:
        p shares; they add up to the share that all parts explain together.
    """
    count = len(parts[0])
    explained = {mask: _explained(parts, values, mask) for mask in range(1 << count)}
    shares = []
    for part in range(count):
        share = 0.0
        for mask in range(1 << count):
            if mask >> part & 1:
                continue
            size = mask.bit_count()
            weight = 1 / (count * np.prod([(count - 1 - i) / (i + 1) for i in range(size)]))
            share += float(weight) * (explained[mask | 1 << part] - explained[mask])
        shares.append(share)
    return shares


def _explained(parts: list[tuple[str, ...]], values: Values, mask: int) -> float:
    total = float(((values - values.mean()) ** 2).sum())
    if not mask or total == 0:
        return 0.0
    groups: dict[tuple[str, ...], list[float]] = {}
    for row, value in zip(parts, values.tolist(), strict=True):
        groups.setdefault(tuple(p for i, p in enumerate(row) if mask >> i & 1), []).append(value)
    between = sum(len(group) * (np.mean(group) - values.mean()) ** 2 for group in groups.values())
    return float(between) / total


@study("leakage")
def leakage(config: StudyConfig) -> StudyReport:
    """Count the questions whose answer a copy could find.

    A gold counts as inside the profile when an item contains its words in the same order, ignoring case and
    punctuation. Labels are left out, since every profile contains them.
    """
    task, dataset = config.task, config.open()
    stop = min(config.limit or len(dataset), len(dataset))
    counts = {"gold inside a profile item": 0, "gold nearly an item's answer": 0, "query nearly an item": 0}
    for batch in dataset.batches(256, 0, stop):
        for example in batch:
            for name, found in _leaks(example, task.answer_field if task.output == "text" else None).items():
                counts[name] += found
    rows: list[list[object]] = [[name, count, count / stop] for name, count in counts.items()]
    train = dataset.sibling("train") if config.split != "train" else None
    if train is not None and "users" in dataset.has:
        shared = set(train.users) & set(dataset.users)
        rows.append([f"users of {config.split} that are in train too", len(shared), len(shared) / dataset.n_users])
    leaking = [str(row[0]) for row in rows[:3] if row[1]]
    findings = [f"Found: {', '.join(leaking)}." if leaking else "No gold was found in its own profile."]
    title = f"{config.task_name} {config.split}: {stop} questions"
    return StudyReport("leakage", title, ["what", "count", "share"], rows, findings)


def _leaks(example: Example, answer_field: str | None) -> dict[str, bool]:
    query = set(_words(example.query))
    leaks = {"query nearly an item": any(_near(query, set(_words(item.text))) for item in example.profile)}
    if answer_field is None or not example.gold:
        return leaks
    gold = _words(example.gold)
    inside = f" {' '.join(gold)} "
    texts = [f" {' '.join(_words(' '.join(item.fields.values())))} " for item in example.profile]
    leaks["gold inside a profile item"] = bool(gold) and any(inside in text for text in texts)
    answers = [set(_words(item.fields[answer_field])) for item in example.profile]
    leaks["gold nearly an item's answer"] = any(_near(set(gold), answer) for answer in answers)
    return leaks


def _words(text: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in text.lower()).split()


def _near(first: set[str], second: set[str]) -> bool:
    union = first | second
    return bool(union) and len(first & second) >= NEAR * len(union)
