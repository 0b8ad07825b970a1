"""Paired comparisons of stored results with a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from ..errors import DataError
from ..host import PluginHost
from ..metrics import Metric, Pairs
from ..results import (
    SeedGroup,
    Stored,
    describe,
    describe_group,
    questions_key,
    read_samples,
    seed_groups,
    select_group,
)
from ..stats import (
    Difference,
    Floats,
    Interval,
    benjamini_hochberg,
    holm,
    paired_difference,
    smallest_detectable,
    user_totals,
)
from ._pooling import over_seeds

Correction = Literal["holm", "bh", "none"]
CORRECTIONS: tuple[Correction, ...] = ("holm", "bh", "none")


@dataclass(frozen=True)
class Comparison:
    """One method against the baseline in one metric."""

    task: str
    split: str
    metric: str
    higher_is_better: bool
    method: str
    baseline: str
    #: Questions that both answered, and the users behind them.
    n: int
    n_users: int
    #: The seeds of the method that are compared; the difference is the mean over them, its interval over users alone.
    seeds: tuple[int, ...]
    #: Standard deviation of the difference between seeds; None with one seed.
    seed_sd: float | None
    #: The kind of its intervals.
    interval: Interval
    difference: Difference
    #: The p-value corrected over all comparisons of the call.
    p_corrected: float
    #: The smallest true difference that so many users would have shown with probability 0.8.
    detectable: float
    #: Whether the methods are equivalent within the margin; None without a margin.
    equivalent: bool | None

    def to_dict(self) -> dict[str, Any]:
        """All fields; those of the difference are below `difference`."""
        return asdict(self)


def compare(
    methods: Sequence[SeedGroup],
    baseline: SeedGroup,
    metrics: Sequence[Metric],
    labels: Sequence[str],
    *,
    correction: Correction = "holm",
    margin: float | None = None,
    interval: Interval = "percentile",
) -> list[Comparison]:
    """Compare methods with a baseline on the questions that both answered.

    Seeds are paired: those that both have, or, where they share none, the first of each, as many as both have. The
    difference is the mean over the pairs; users are what is resampled and flipped, with all of their seeds.

    Args:
        methods: results of the same task, split and data as the baseline.
        metrics: what to compare in; those without golds cannot be.
        labels: the task's label list.
        correction: over all comparisons of this call.
        margin: differences below it count as none, in the metric's unit.
        interval: the kind of the intervals.

    Raises:
        DataError: results of different questions, or without golds.
    """
    read: dict[str, _Answers] = {}
    found = [
        comparison
        for method in methods
        for comparison in _compare_one(method, baseline, read, metrics, labels, margin, interval)
    ]
    p_values = [comparison.difference.p for comparison in found]
    corrected = {"holm": holm(p_values), "bh": benjamini_hochberg(p_values), "none": p_values}[correction]
    return [replace(comparison, p_corrected=p) for comparison, p in zip(found, corrected, strict=True)]


def _compare_one(
    method: SeedGroup,
    baseline: SeedGroup,
    read: dict[str, _Answers],
    metrics: Sequence[Metric],
    labels: Sequence[str],
    margin: float | None,
    interval: Interval,
) -> Iterator[Comparison]:
    manifest = method[0].manifest
    if questions_key(method[0].manifest) != questions_key(baseline[0].manifest):
        raise DataError(f"{describe(method[0])} and {describe(baseline[0])} answered different questions")
    pairs = _paired_seeds(method, baseline)
    answers = [(_read(read, first), _read(read, second)) for first, second in pairs]
    base = answers[0][1].rows
    shared = [i for i in base if all(i in each.rows for pair in answers for each in pair)]
    users = [base[identifier][0] for identifier in shared]
    for metric in metrics:
        firsts, seconds = ([_totals(pair[side], shared, users, metric, labels) for pair in answers] for side in (0, 1))
        sides = np.concatenate(firsts, axis=1), np.concatenate(seconds, axis=1)
        difference = paired_difference(*sides, over_seeds(metric.value, len(pairs)), interval=interval)
        gaps = [_total(metric, one) - _total(metric, other) for one, other in zip(firsts, seconds, strict=True)]
        yield Comparison(
            task=manifest.task,
            split=manifest.split,
            metric=metric.name,
            higher_is_better=metric.higher_is_better,
            method=describe_group(tuple(first for first, _ in pairs)),
            baseline=describe_group(tuple(second for _, second in pairs)),
            n=len(shared),
            n_users=len(set(users)),
            seeds=tuple(first.manifest.seed for first, _ in pairs),
            seed_sd=float(np.std(gaps, ddof=1)) if len(gaps) > 1 else None,
            interval=interval,
            difference=difference,
            p_corrected=difference.p,
            detectable=smallest_detectable(difference.error),
            equivalent=None if margin is None else difference.is_within(margin),
        )


def _total(metric: Metric, totals: Floats) -> float:
    return float(metric.value(totals.sum(axis=0)))


def _paired_seeds(first: SeedGroup, second: SeedGroup) -> list[tuple[Stored, Stored]]:
    known = {result.manifest.seed: result for result in second}
    shared = [(result, known[result.manifest.seed]) for result in first if result.manifest.seed in known]
    return shared or list(zip(first, second, strict=False))


def _read(read: dict[str, _Answers], result: Stored) -> _Answers:
    fingerprint = result.manifest.fingerprint
    if fingerprint not in read:
        read[fingerprint] = _Answers(result)
    return read[fingerprint]


def choose_results(
    stored: Sequence[Stored], words: Sequence[str], baseline: str | None
) -> tuple[list[SeedGroup], SeedGroup]:
    """The methods to compare, and their baseline, each with all of its seeds.

    Args:
        stored: what can be chosen from.
        words: methods as `select` takes them; without a baseline exactly two, the second being the baseline.
        baseline: the baseline; without `words` every other result of its questions is compared with it.

    Raises:
        DataError: too few or too many are named.
    """
    if baseline is None:
        if len(words) != 2:
            raise DataError(f"{len(words)} results are named, two are needed", "or name one with --baseline")
        return [select_group(stored, words[0])], select_group(stored, words[1])
    base = select_group(stored, baseline)
    if words:
        return [select_group(stored, word) for word in words], base
    others = seed_groups(
        r for r in stored if r not in base and questions_key(r.manifest) == questions_key(base[0].manifest)
    )
    if not others:
        raise DataError(f"there is nothing to compare {describe_group(base)} with")
    return others, base


def compare_stored(
    host: PluginHost,
    methods: Sequence[SeedGroup],
    baseline: SeedGroup,
    metrics: Sequence[str],
    *,
    correction: Correction,
    margin: float | None,
    interval: Interval = "percentile",
) -> list[Comparison]:
    """`compare` in metrics by name; by default those that rank the tables of the task."""
    task = host.tasks.get(baseline[0].manifest.task)
    names = metrics or [task.metrics_of(protocol)[0] for protocol in task.protocols]
    measures = host.metrics(names)
    return compare(methods, baseline, measures, task.labels, correction=correction, margin=margin, interval=interval)


class _Answers:
    """User, answer and gold of each question."""

    def __init__(self, result: Stored) -> None:
        self.rows: dict[str, tuple[str, str, str]] = {}
        for sample in read_samples(result.folder):
            if sample.gold is None:
                raise DataError(f"{result.folder} has no golds to compare with")
            self.rows[sample.id] = (sample.user, sample.answer, sample.gold)


def _totals(
    answers: _Answers, shared: Sequence[str], users: Sequence[str], metric: Metric, labels: Sequence[str]
) -> Floats:
    rows = [answers.rows[identifier] for identifier in shared]
    pairs = Pairs([answer for _, answer, _ in rows], [gold for _, _, gold in rows], labels)
    return user_totals(metric.statistics(pairs), users)
