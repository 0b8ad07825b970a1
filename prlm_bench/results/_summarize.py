"""Computes the figures of a result from its samples, with user-clustered intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..host import Fault, fault_of
from ..identity import json_digest
from ..metrics import KnowsRareValues, Limited, Metric, Pairs
from ..stats import (
    Bounds,
    Floats,
    Interval,
    Resampled,
    Scale,
    Value,
    over_trainings,
    scale_of,
    totals_at,
    user_index,
    user_values,
)
from ._schema import Estimate, Manifest, MetricSummary, RewardSummary, Summary

NO_LIMITS: tuple[float, float] = (-np.inf, np.inf)


def mean_value(totals: Floats) -> Floats:
    """The mean, from summed statistics (value, 1)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(totals[..., 0] / totals[..., 1])


def as_mean(values: Sequence[float]) -> Floats:
    """Statistics (value, 1) of plain numbers, shape (n, 2); nan, an undefined value, is left out."""
    column = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(column)
    return np.stack([np.where(known, column, 0.0), known.astype(np.float64)], axis=1)


@dataclass(frozen=True)
class _Figure:
    """One of the figures: where its statistics are, and how its value and its interval are computed."""

    columns: slice
    value: Value
    scale: Scale
    #: Trainings whose statistics are side by side.
    trainings: int
    #: A reason to give it no interval.
    why: str
    #: The smallest and the largest value that there can be.
    limits: tuple[float, float]


@dataclass
class ClusterEstimates:
    """Collects the statistics of many figures over the same samples; all intervals use the same draws of users.

    Args:
        users: the user of each of the n samples.
    """

    users: Sequence[str]
    _totals: list[Floats] = field(default_factory=list)
    _figures: dict[str, _Figure] = field(default_factory=dict)
    _width: int = 0

    def add(
        self,
        name: str,
        statistics: Floats,
        value: Value = mean_value,
        *,
        errors: bool = False,
        why: str = "",
        limits: tuple[float, float] = NO_LIMITS,
    ) -> None:
        """Add a figure from per-sample statistics, shape (n, s).

        Args:
            errors: whether lower is better.
            why: a reason to give it no interval.
            limits: the smallest and the largest value that there can be.
        """
        scale = scale_of(statistics, errors=errors)
        self.add_totals(name, [self._by_user(statistics)], value, scale, why, limits)

    def add_user_macro(self, name: str, statistics: Floats, value: Value) -> None:
        """Add the mean over users of each user's own value."""
        totals = user_values(self._by_user(statistics), value)
        self.add_totals(name, [totals], mean_value, scale_of(totals))

    def add_totals(
        self,
        name: str,
        totals: Sequence[Floats],
        value: Value,
        scale: Scale = "mean",
        why: str = "",
        limits: tuple[float, float] = NO_LIMITS,
    ) -> None:
        """Add a figure, averaged over trainings, from statistics already summed by user.

        Args:
            totals: of each training, shape (users, s).
        """
        width = sum(each.shape[1] for each in totals)
        self._figures[name] = _Figure(slice(self._width, self._width + width), value, scale, len(totals), why, limits)
        self._totals += totals
        self._width += width

    def estimates(
        self, interval: Interval = "auto", level: float = 0.95, failed: dict[str, Exception] | None = None
    ) -> dict[str, Estimate]:
        """Value and interval by name.

        Args:
            interval: the kind of the intervals.
            level: of the intervals.
            failed: receives the errors of figures that cannot be computed, by name; None raises the first.
        """
        if not self._totals:
            return {}
        drawn = Resampled(np.concatenate(self._totals, axis=1), self.sizes)
        found = {}
        for name, figure in self._figures.items():
            try:
                found[name] = _estimate(drawn, figure, interval, level)
            except Exception as error:
                if failed is None:
                    raise
                failed[name] = error
        return found

    @property
    def sizes(self) -> Floats:
        """Questions of each user, shape (users,)."""
        return self._by_user(np.ones((len(self.users), 1)))[:, 0]

    @cached_property
    def _index(self) -> NDArray[np.int64]:
        return user_index(self.users)

    def _by_user(self, statistics: Floats) -> Floats:
        return totals_at(statistics, self._index)


def _estimate(drawn: Resampled, figure: _Figure, interval: Interval, level: float) -> Estimate:
    value = over_trainings(figure.value, figure.trainings)
    point = float(value(drawn.totals[:, figure.columns].sum(axis=0)))
    if figure.why and interval == "auto":
        ends = Bounds(np.nan, np.nan, figure.why)
    elif figure.trainings > 1 and interval == "auto":
        ends = drawn.over_trainings(figure.columns, figure.value, figure.trainings, figure.scale, level)
    else:
        ends = drawn.bounds(figure.columns, value, figure.scale, interval, level)
    low, high = np.clip([ends.low, ends.high], *figure.limits).tolist()
    return Estimate(value=_number(point), low=_number(low), high=_number(high), why=ends.why)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


@dataclass(frozen=True)
class Scored:
    """Metric figures, and the metrics of single samples, aligned with the answers."""

    summaries: dict[str, MetricSummary]
    samples: list[dict[str, float]]
    #: The errors of metrics that have no value, by name.
    failures: dict[str, Fault] = field(default_factory=dict)
    #: What a metric says of golds that it cannot score, where one does.
    refused: DataError | None = None

    def refuse_golds(self) -> None:
        """Raise what a metric says of golds that it cannot score: where nothing was generated, the user can mend them.

        Raises:
            DataError: as the metric raised it.
        """
        if self.refused is not None:
            raise self.refused


@dataclass(frozen=True)
class Scores:
    """Metrics of a set of answers, with 95 % intervals over users."""

    task: str
    n: int
    n_users: int
    metrics: dict[str, MetricSummary]
    #: What the reader should know, such as golds that were left out; a sentence each.
    notes: tuple[str, ...] = ()
    #: Why a metric has no value, by name: it raised an error, or gave something else than figures.
    failures: Mapping[str, Fault] = field(default_factory=dict)

    def __getitem__(self, name: str) -> MetricSummary:
        return self.metrics[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        figures = {name: summary.model_dump() for name, summary in self.metrics.items()}
        head = {"task": self.task, "n": self.n, "n_users": self.n_users}
        failures = {name: str(fault) for name, fault in self.failures.items()}
        return {**head, "metrics": figures, "failures": failures, "notes": list(self.notes)}

    def __repr__(self) -> str:
        lines = [f"{self.task}: {self.n} questions, {self.n_users} users; [ ] 95 % interval over users"]
        width = max(map(len, self.metrics), default=0)
        for name, found in self.metrics.items():
            value = "-" if found.value is None else f"{found.value:.4f}"
            ends = f"[{found.low:.4f}, {found.high:.4f}]" if found.low is not None else f"(no interval: {found.why})"
            lines.append(f"{name:{width}}  {value}  {ends}")
        lines += [f"{name:{width}}  failed: {fault}" for name, fault in self.failures.items()]
        return "\n".join([*lines, *self.notes])


def limits_of(metric: Metric) -> tuple[float, float]:
    """The smallest and the largest value of a metric, as far as it says."""
    return metric.limits if isinstance(metric, Limited) else NO_LIMITS


def too_rare(metric: Metric, statistics: Floats) -> str:
    """What occurs too rarely for an interval of the metric, by its own rule; empty if nothing does."""
    return metric.too_rare(statistics.sum(axis=0)) if isinstance(metric, KnowsRareValues) else ""


def score_answers(
    answers: Sequence[str],
    golds: Sequence[str | None],
    users: Sequence[str],
    labels: Sequence[str],
    metrics: Sequence[Metric],
) -> Scored:
    """Score answers against golds.

    Args:
        answers, golds, users: n each.
        labels: the task's label list.
        metrics: the metrics to compute; none is computed if golds are withheld. One that raises an error, or gives
            something else than figures, has no value; see `Scored.failures`.

    Raises:
        DataError: only some golds are present, or there are no answers.
    """
    if not answers:
        raise DataError("there are no answers to score")
    known = [gold for gold in golds if gold is not None]
    if not known:
        return Scored({}, [{} for _ in answers])
    if len(known) < len(answers):
        raise DataError(f"{len(answers) - len(known)} of {len(answers)} golds are missing")
    pairs = Pairs(answers, known, labels)
    figures = ClusterEstimates(users)
    singles: dict[str, list[float]] = {}
    failed: dict[str, Exception] = {}
    for metric in metrics:
        try:
            _add_metric(figures, metric, pairs, singles)
        except Exception as error:  # metrics are plugins
            failed[metric.name] = error
    estimates = figures.estimates(failed=failed)
    summaries = {}
    for metric in metrics:
        by_user = f"{metric.name} by user"
        if by_user in failed:
            failed.setdefault(metric.name, failed.pop(by_user))
        if metric.name not in failed:
            summaries[metric.name] = MetricSummary(
                **estimates[metric.name].model_dump(),
                higher_is_better=metric.higher_is_better,
                user_macro=estimates.get(by_user),
            )
    kept = {name: values for name, values in singles.items() if name in summaries}
    rows = [dict(zip(kept, row, strict=True)) for row in zip(*kept.values(), strict=True)]
    failures = {name: fault_of(error) for name, error in failed.items()}
    refused = next((error for error in failed.values() if isinstance(error, DataError)), None)
    return Scored(summaries, rows or [{} for _ in answers], failures, refused)


def _add_metric(figures: ClusterEstimates, metric: Metric, pairs: Pairs, singles: dict[str, list[float]]) -> None:
    """Add a metric and its mean over users, if it has one, and its values of single samples."""
    statistics = metric.statistics(pairs)
    figures.add(
        metric.name,
        statistics,
        metric.value,
        errors=not metric.higher_is_better,
        why=too_rare(metric, statistics),
        limits=limits_of(metric),
    )
    if metric.is_mean:
        figures.add_user_macro(f"{metric.name} by user", statistics, metric.value)
        singles[metric.name] = metric.value(statistics).tolist()


def describe_samples(records: Sequence[Mapping[str, Any]], users: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """Rewards, retrieval measures, and the shares of parse failures and cut prompts.

    Args:
        records: n sample records, as stored in the journal.
        users: the user of each.
    """
    figures = ClusterEstimates(users)
    names: dict[str, list[str]] = {"rewards": [], "retrieval": []}
    for group, found in names.items():
        # Some questions may have none: only some may have relevance labels.
        for name in dict.fromkeys(name for record in records for name in record[group]):
            found.append(name)
            figures.add(f"{group} {name}", as_mean([record[group].get(name, np.nan) for record in records]))
    figures.add("parse_failures", as_mean([record["parsed"] is None for record in records]))
    figures.add("truncated_prompts", as_mean([record["cut"] + record["dropped"] > 0 for record in records]))
    estimates = figures.estimates()
    return {group: {name: estimates[f"{group} {name}"] for name in found} for group, found in names.items()} | {
        "shares": {name: estimates[name] for name in ("parse_failures", "truncated_prompts")}
    }


#: The fields of a sample record that a summary depends on.
SUMMARIZED = (
    *("user", "gold", "answer", "parsed", "shown", "cut", "dropped", "finish", "rewards", "retrieval"),
    *("completion_tokens", "generator_prompt_tokens"),
)


def summarized_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a sample record that a summary depends on."""
    drafts = [
        {name: draft[name] for name in _COUNTED} | {"key": json_digest([draft["prompt"], draft["completion"]])}
        for draft in record.get("drafts") or ()
    ]
    return {**{name: record.get(name) for name in SUMMARIZED}, "drafts": drafts}


_COUNTED = ("completion_tokens", "generator_prompt_tokens")


def _known_sum(records: Sequence[Mapping[str, Any]], name: str) -> int | None:
    """The sum of a count over samples and their drafts, one that several samples share counted once."""
    drafts = {draft["key"]: draft for record in records for draft in record.get("drafts") or ()}
    known = [each[name] for each in (*records, *drafts.values()) if each.get(name) is not None]
    return sum(known) if known else None


@dataclass(frozen=True)
class Summarized:
    """The figures of a result, without its identity."""

    figures: dict[str, Any]
    #: Metrics of each single sample, aligned with the records.
    samples: list[dict[str, float]]
    #: The errors of metrics that have no value, by name.
    failures: dict[str, Fault] = field(default_factory=dict)

    def summary(
        self, manifest: Manifest, samples_sha256: str, reward_failures: Mapping[str, str] | None = None
    ) -> Summary:
        """The summary of the result that `manifest` describes."""
        summary = Summary(
            fingerprint=manifest.fingerprint,
            n_total=manifest.data.n_total,
            samples_sha256=samples_sha256,
            reward_failures=dict(reward_failures or {}),
            metric_failures={name: fault.stored for name, fault in sorted(self.failures.items())},
            **self.figures,
        )
        return summary.model_copy(update={"digest": summary.digest_with(manifest)})


def _reward(name: str, estimate: Estimate, records: Sequence[Mapping[str, Any]]) -> RewardSummary:
    n = sum(record["rewards"].get(name) is not None for record in records)
    return RewardSummary(**estimate.model_dump(), n=n)


def summarize(records: Sequence[Mapping[str, Any]], labels: Sequence[str], metrics: Sequence[Metric]) -> Summarized:
    """All figures of n sample records.

    Args:
        records: each with at least the fields `SUMMARIZED`.
        labels: the task's label list.
        metrics: the metrics to compute.
    """
    users = [record["user"] for record in records]
    answers = [record["answer"] for record in records]
    scored = score_answers(answers, [record["gold"] for record in records], users, labels, metrics)
    described = describe_samples(records, users)
    finishes = [record["finish"] for record in records if record["finish"] is not None]
    figures = {
        "n": len(records),
        "n_users": len(set(users)),
        "interval": "auto",
        "metrics": scored.summaries,
        "rewards": {name: _reward(name, estimate, records) for name, estimate in described["rewards"].items()},
        "retrieval": described["retrieval"],
        **described["shares"],
        "truncated_completions": finishes.count("length") / len(finishes) if finishes else None,
        "refused": finishes.count("refused") / len(finishes) if finishes else None,
        "prompt_tokens": _known_sum(records, "generator_prompt_tokens"),
        "completion_tokens": _known_sum(records, "completion_tokens"),
        "items_shown": sum(record["shown"] for record in records) / len(records),
    }
    return Summarized(figures, scored.samples, scored.failures)
