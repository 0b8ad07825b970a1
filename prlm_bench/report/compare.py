"""Paired comparisons of stored results with a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .._files import digest
from .._plugins import PluginHost
from ..errors import DataError, UnknownNameError
from ..metrics import Metric, Pairs
from ..results.store import Stored, read_samples
from ..running.execute import load_metrics
from ..stats import Difference, benjamini_hochberg, holm, paired_difference, smallest_detectable, user_totals
from ..stats.bootstrap import Floats

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
    if len(found) > 1:
        several = "; ".join(f"{describe(result)} ({result.manifest.fingerprint[:8]})" for result in found[:6])
        raise DataError(f"{words!r} names {len(found)} results", f"add a part or use a fingerprint: {several}")
    return found[0]


def _names(result: Stored) -> set[str]:
    method = result.manifest.method
    specs = [method.retriever.spec, method.reasoner.spec, method.generator.spec]
    short = {spec.partition(":")[0] for spec in specs}
    return {*specs, *short, f"k={method.k}", f"seed={result.manifest.seed}"}


def compare(
    methods: Sequence[Stored],
    baseline: Stored,
    metrics: Sequence[Metric],
    labels: Sequence[str],
    *,
    correction: Correction = "holm",
    margin: float | None = None,
) -> list[Comparison]:
    """Compare methods with a baseline on the questions that both answered.

    Args:
        methods: results of the same task, split and data as the baseline.
        metrics: what to compare in; those without golds cannot be.
        labels: the task's label list.
        correction: over all comparisons of this call.
        margin: differences below it count as none, in the metric's unit.

    Raises:
        DataError: results of different questions, or without golds.
    """
    base = _Answers(baseline)
    rows = []
    for method in methods:
        if _questions(method) != _questions(baseline):
            raise DataError(f"{describe(method)} and {describe(baseline)} answered different questions")
        other = _Answers(method)
        shared = [identifier for identifier in base.rows if identifier in other.rows]
        users = [base.rows[identifier][0] for identifier in shared]
        for metric in metrics:
            first, second = (_totals(answers, shared, users, metric, labels) for answers in (other, base))
            difference = paired_difference(first, second, metric.value)
            rows.append((method, metric, len(shared), len(set(users)), difference))
    p_values = [row[-1].p for row in rows]
    corrected = {"holm": holm(p_values), "bh": benjamini_hochberg(p_values), "none": p_values}[correction]
    return [
        Comparison(
            task=method.manifest.task,
            split=method.manifest.split,
            metric=metric.name,
            higher_is_better=metric.higher_is_better,
            method=describe(method),
            baseline=describe(baseline),
            n=n,
            n_users=n_users,
            difference=difference,
            p_corrected=p,
            detectable=smallest_detectable(difference.error),
            equivalent=None if margin is None else difference.is_within(margin),
        )
        for (method, metric, n, n_users, difference), p in zip(rows, corrected, strict=True)
    ]


def _questions(result: Stored) -> str:
    manifest = result.manifest
    return digest([manifest.task, manifest.split, manifest.data.sha256])


def choose_results(stored: Sequence[Stored], words: Sequence[str], baseline: str | None) -> tuple[list[Stored], Stored]:
    """The methods to compare, and their baseline.

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
        return [select(stored, words[0])], select(stored, words[1])
    base = select(stored, baseline)
    if words:
        return [select(stored, word) for word in words], base
    others = [r for r in stored if r is not base and _questions(r) == _questions(base)]
    if not others:
        raise DataError(f"there is nothing to compare {describe(base)} with")
    return others, base


def compare_stored(
    host: PluginHost,
    methods: Sequence[Stored],
    baseline: Stored,
    metrics: Sequence[str],
    *,
    correction: Correction,
    margin: float | None,
) -> list[Comparison]:
    """`compare` in metrics by name; by default those that rank the tables of the task."""
    task = host.tasks.get(baseline.manifest.task)
    names = metrics or [task.metrics_of(protocol)[0] for protocol in task.protocols]
    return compare(methods, baseline, load_metrics(host, names), task.labels, correction=correction, margin=margin)


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
