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
    have_same_samples,
    questions_key,
    read_samples,
    seed_groups,
    seeds_of,
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
    #: Questions that both answered, and their users.
    n: int
    n_users: int
    #: The trainings of each side; the difference is that of their means.
    seeds: tuple[int, ...]
    baseline_seeds: tuple[int, ...]
    #: Standard deviation of the metric between the trainings of each side; None with one.
    seed_sd: float | None
    baseline_seed_sd: float | None
    #: The kind of its intervals.
    interval: Interval
    difference: Difference
    #: The p-value corrected over all comparisons of the call.
    p_corrected: float
    #: The smallest true difference that is found with probability 0.8 with these users and this correction; None if
    #: there are too few users to find any.
    detectable: float | None
    #: Whether the methods are equivalent within the margin; None without a margin.
    equivalent: bool | None

    @property
    def better(self) -> bool:
        """Whether the method's value is the better one."""
        return (self.difference.difference > 0) == self.higher_is_better

    @property
    def trainings(self) -> int:
        """How many trainings the comparison rests on: of the side with the fewest, if it has several; else 1."""
        several = [len(side) for side in (self.seeds, self.baseline_seeds) if len(side) > 1]
        return min(several) if self.difference.basis == "users and trainings" else 1

    def to_dict(self) -> dict[str, Any]:
        """All fields; those of the difference are nested under `difference`."""
        return asdict(self)


def compare(
    methods: Sequence[SeedGroup],
    baseline: SeedGroup,
    metrics: Sequence[Metric],
    labels: Sequence[str],
    *,
    correction: Correction = "holm",
    margin: float | None = None,
    interval: Interval = "auto",
) -> list[Comparison]:
    """Compare methods with a baseline on the questions that both answered.

    Each side is the mean of all of its trainings (seeds). Where these differ, the test and the interval are over users
    and trainings; else, and with one training a side, over users.

    Args:
        methods: results of the same task, split and data as the baseline.
        metrics: the metrics to compare.
        labels: the task's label list.
        correction: of the p-values over all comparisons of this call.
        margin: of equivalence, in the metric's unit; smaller differences count as zero.
        interval: the kind of the intervals.

    Raises:
        DataError: the results answered different questions or have no golds.
    """
    read: dict[str, _Answers] = {}
    found = [
        comparison
        for method in methods
        for comparison in _compare_one(method, baseline, read, metrics, labels, margin, interval)
    ]
    p_values = [comparison.difference.p for comparison in found]
    corrected = {"holm": holm(p_values), "bh": benjamini_hochberg(p_values), "none": p_values}[correction]
    family = 1 if correction == "none" else len(found)
    return [
        replace(comparison, p_corrected=p, detectable=_finite(smallest_detectable(comparison.difference, family)))
        for comparison, p in zip(found, corrected, strict=True)
    ]


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


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
    sides = [_trainings(group) for group in (method, baseline)]
    answers = [[_read(read, result) for result in side] for side in sides]
    base = answers[1][0].rows
    shared = [i for i in base if all(i in each.rows for side in answers for each in side)]
    if not shared:
        raise DataError(f"{describe(method[0])} and {describe(baseline[0])} share no question")
    users = [base[identifier][0] for identifier in shared]
    sizes = user_totals(np.ones((len(users), 1)), users)[:, 0]
    for metric in metrics:
        first, second = ([_totals(each, shared, users, metric, labels) for each in side] for side in answers)
        corpus = not metric.is_mean and first[0].shape[1] != 2
        difference = paired_difference(first, second, metric.value, sizes, corpus=corpus, interval=interval)
        yield Comparison(
            task=manifest.task,
            split=manifest.split,
            metric=metric.name,
            higher_is_better=metric.higher_is_better,
            method=describe_group(method),
            baseline=describe_group(baseline),
            n=len(shared),
            n_users=len(sizes),
            seeds=seeds_of(method),
            baseline_seeds=seeds_of(baseline),
            seed_sd=_seed_sd(metric, first),
            baseline_seed_sd=_seed_sd(metric, second),
            interval=interval,
            difference=difference,
            p_corrected=difference.p,
            detectable=None,
            equivalent=None if margin is None else difference.is_within(margin),
        )


def _trainings(group: SeedGroup) -> SeedGroup:
    """The results that differ: one where all seeds gave the same samples."""
    return group[:1] if have_same_samples(group) else group


def _seed_sd(metric: Metric, totals: Sequence[Floats]) -> float | None:
    values = [float(metric.value(each.sum(axis=0))) for each in totals]
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


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
        stored: the candidates.
        words: methods, as for `select`; without a baseline exactly two, the second being the baseline.
        baseline: the baseline, as for `select`; without `words` all results on its questions are compared with it.

    Raises:
        DataError: the wrong number of results is given.
    """
    if baseline is None:
        if len(words) != 2:
            raise DataError(f"{len(words)} results are given, two are needed", "or give one as --baseline")
        return [select_group(stored, words[0])], select_group(stored, words[1])
    base = select_group(stored, baseline)
    if words:
        return [select_group(stored, word) for word in words], base
    others = seed_groups(
        r for r in stored if r not in base and questions_key(r.manifest) == questions_key(base[0].manifest)
    )
    if not others:
        raise DataError(f"no results to compare {describe_group(base)} with")
    return others, base


def compare_stored(
    host: PluginHost,
    methods: Sequence[SeedGroup],
    baseline: SeedGroup,
    metrics: Sequence[str],
    *,
    correction: Correction,
    margin: float | None,
    interval: Interval = "auto",
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
