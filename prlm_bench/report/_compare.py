"""Paired comparisons of stored results with a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .._util.files import digest
from ..errors import DataError, UnknownNameError
from ..host._host import PluginHost
from ..metrics import Metric, Pairs
from ..results._seed_groups import SeedGroup, seed_groups, seeds_of
from ..results._store import Stored, read_samples
from ..running._execute import load_metrics
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


def describe(stored: Stored) -> str:
    """A method in one line, its seed included where it is not 0."""
    method, seed = stored.manifest.method, stored.manifest.seed
    parts = [method.retriever.spec, f"k={method.k}", method.reasoner.spec, method.generator.spec]
    return " × ".join([*parts, f"seed {seed}"] if seed else parts)


def describe_group(family: SeedGroup) -> str:
    """A method in one line, with its seeds where there are several."""
    if len(family) == 1:
        return describe(family[0])
    name, _, _ = describe(family[0]).partition(" × seed ")
    return f"{name}, seeds {', '.join(map(str, seeds_of(family)))}"


def select_group(stored: Sequence[Stored], words: str) -> SeedGroup:
    """The one method that `words` names, with all of its seeds, unless the words name one.

    Args:
        stored: what can be chosen from.
        words: as `select` takes them.

    Raises:
        UnknownNameError: no result is meant.
        DataError: several methods are; the hint lists them.
    """
    found = seed_groups(_named(stored, words))
    if len(found) > 1:
        several = "; ".join(f"{describe_group(each)} ({each[0].manifest.fingerprint[:8]})" for each in found[:6])
        raise DataError(f"{words!r} names {len(found)} results", f"add a part or use a fingerprint: {several}")
    return found[0]


def select(stored: Sequence[Stored], words: str) -> Stored:
    """The one result that `words` names.

    Args:
        stored: what can be chosen from.
        words: a result folder, the beginning of a fingerprint, or parts of the method joined by `+`, such as
            `bm25+copy` or `bm25+k=4+tiny`.

    Raises:
        UnknownNameError: no result is meant.
        DataError: several are; the hint lists them.
    """
    found = _named(stored, words)
    if len(found) > 1:
        several = "; ".join(f"{describe(result)} ({result.manifest.fingerprint[:8]})" for result in found[:6])
        raise DataError(f"{words!r} names {len(found)} results", f"add a part or use a fingerprint: {several}")
    return found[0]


def _named(stored: Sequence[Stored], words: str) -> list[Stored]:
    wanted = words.split("+")
    found = [
        result
        for result in stored
        if str(result.folder) == words.rstrip("/")
        or (len(words) >= 6 and result.manifest.fingerprint.startswith(words))
        or all(part in _names(result) for part in wanted)
    ]
    if not found:
        names = sorted({describe(result) for result in stored})
        raise UnknownNameError("result", words, [], hint="there are: " + "; ".join(names[:8]))
    return found


def _names(result: Stored) -> set[str]:
    method = result.manifest.method
    specs = [method.retriever.spec, method.reasoner.spec, method.generator.spec]
    short = {spec.partition(":")[0] for spec in specs}
    return {*specs, *short, f"k={method.k}", f"seed={result.manifest.seed}"}


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
    if _questions(method[0]) != _questions(baseline[0]):
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


def _questions(result: Stored) -> str:
    manifest = result.manifest
    return digest([manifest.task, manifest.split, manifest.data.sha256])


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
    others = seed_groups(r for r in stored if r not in base and _questions(r) == _questions(base[0]))
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
    measures = load_metrics(host, names)
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
