"""The figures of a method over its seeds: means over seeds, with intervals over users and the spread between seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import DataError
from ..host import PluginHost, fault_of
from ..metrics import Pairs
from ..results import (
    NO_LIMITS,
    ClusterEstimates,
    Estimate,
    MetricSummary,
    RewardSummary,
    SeedGroup,
    Stored,
    as_mean,
    have_same_samples,
    limits_of,
    mean_value,
    seed_groups,
    too_rare,
)
from ..stats import Floats, Interval, Value, scale_of, user_totals, user_values, variance_components
from ._columns import SampleColumns, names_in, numbers


@dataclass(frozen=True)
class SeedSpread:
    """The variation of a metric between seeds, separated from that between users."""

    #: The metric of each seed, in the order of the seeds.
    values: tuple[float | None, ...]
    #: Their standard deviation (n - 1), the users being the same.
    sd: float | None
    #: Standard deviations of users' values by source, see `stats.variance_components`; None for a metric that is not
    #: a mean.
    between_users: float | None
    between_seeds: float | None
    rest: float | None


@dataclass(frozen=True)
class Speed:
    """Tokens and seconds of a row, means over its seeds."""

    #: Tokens of all prompts and of all completions, where known.
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    #: Completions that were generated for the row, not taken from the cache, and the seconds that they took.
    timed_answers: float | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, group: SeedGroup) -> Speed:
        """That of stored results."""
        timings = [timing for timing in (result.timing for result in group) if timing is not None]
        return cls(
            prompt_tokens=_mean_of([result.summary.prompt_tokens for result in group]),
            completion_tokens=_mean_of([result.summary.completion_tokens for result in group]),
            timed_answers=_mean_of([timing.answers for timing in timings]),
            seconds=_mean_of([timing.seconds for timing in timings]),
        )

    @property
    def known(self) -> bool:
        """Whether anything is known."""
        return any(value is not None for value in (self.prompt_tokens, self.completion_tokens, self.seconds))


@dataclass(frozen=True)
class MethodFigures:
    """The figures of a method in a table."""

    metrics: dict[str, MetricSummary]
    rewards: dict[str, RewardSummary]
    retrieval: dict[str, Estimate]
    parse_failures: Estimate
    truncated_prompts: Estimate
    truncated_completions: float | None
    refused: float | None
    items_shown: float
    #: Why a reward has no value, by spec.
    reward_failures: dict[str, str] = field(default_factory=dict)
    #: Why a metric has no value, by name.
    metric_failures: dict[str, str] = field(default_factory=dict)
    #: By metric; empty with one seed.
    spread: dict[str, SeedSpread] = field(default_factory=dict)
    #: Several seeds gave byte-identical samples.
    deterministic: bool = False
    speed: Speed = Speed()

    @classmethod
    def of(cls, group: SeedGroup, *, deterministic: bool = False) -> MethodFigures:
        """The figures of one stored result, the first of a group with the same samples."""
        summary = group[0].summary
        failures = ("reward_failures", "metric_failures")
        names = ("metrics", "rewards", "retrieval", "parse_failures", "truncated_prompts", "truncated_completions")
        return cls(
            **{name: getattr(summary, name) for name in (*names, "refused", *failures, "items_shown")},
            speed=Speed.of(group),
            deterministic=deterministic,
        )

    def of_metrics(self, names: Sequence[str]) -> MethodFigures:
        """A copy with only these metrics."""
        metrics = {name: self.metrics[name] for name in names if name in self.metrics}
        return replace(self, metrics=metrics, spread={n: s for n, s in self.spread.items() if n in metrics})


@dataclass(frozen=True)
class SeedAggregation:
    """How results are combined into rows.

    Args:
        host: provides tasks and metrics; without it, metrics that are not means have no interval over several seeds.
        interval: the kind of all intervals; one other than the stored kind is computed from the samples.
        by_seed: one row per seed.
    """

    host: PluginHost | None = None
    interval: Interval = "auto"
    by_seed: bool = False

    def pool(self, group: SeedGroup) -> MethodFigures:
        """The figures of one group; samples are read only if the summaries are not enough.

        Raises:
            DataError: its results answered different questions.
        """
        deterministic = len(group) > 1 and have_same_samples(group)
        if (len(group) == 1 or deterministic) and self._is_stored(group[0]):
            return MethodFigures.of(group, deterministic=deterministic)
        if deterministic:
            return replace(_Pool(group[:1], self).pooled(), deterministic=True)
        return _Pool(group, self).pooled()

    def _is_stored(self, result: Stored) -> bool:
        """Whether the summary has these intervals, or, without samples, the only ones that there are."""
        return result.summary.interval == self.interval or not result.has_samples

    def groups(self, stored: Sequence[Stored]) -> list[SeedGroup]:
        """Group results into rows: the seeds of a method, or single results if samples for averaging are missing."""
        found: list[SeedGroup] = []
        for group in seed_groups(stored):
            whole = all(result.has_samples for result in group) or have_same_samples(group)
            found += [group] if whole else [(result,) for result in group]
        return found


class _Pool:
    """One group with its samples."""

    def __init__(self, group: SeedGroup, pooling: SeedAggregation) -> None:
        self._group, self._pooling = group, pooling
        self._columns = [SampleColumns.of(result) for result in group]
        first = self._columns[0]
        if any(columns.ids != first.ids or columns.users != first.users for columns in self._columns):
            raise DataError(f"{group[0].folder} and its other seeds answered different questions")
        self._figures = ClusterEstimates(first.users)
        summaries = [result.summary for result in group]
        self._failures = {name: why for s in summaries for name, why in s.metric_failures.items()}

    def pooled(self) -> MethodFigures:
        of_all = set.intersection(*(set(result.summary.metrics) for result in self._group))
        names = [name for name in self._group[0].summary.metrics if name in of_all - self._failures.keys()]
        means = {name: self._add_metric(name) for name in names}
        groups = {
            group: self._add_records(group, [getattr(columns, group) for columns in self._columns])
            for group in ("rewards", "retrieval")
        }
        self._add("parse failures", [as_mean([not parsed for parsed in c.parsed]) for c in self._columns])
        self._add("cut prompts", [as_mean(list(map(float, c.cut))) for c in self._columns])
        failed: dict[str, Exception] = {}
        found = self._figures.estimates(self._pooling.interval, failed=failed)
        self._failures |= {name.removeprefix("metric "): fault_of(error).stored for name, error in failed.items()}
        means = {name: values for name, values in means.items() if name not in self._failures}
        summaries = [result.summary for result in self._group]
        return MethodFigures(
            metrics={name: self._metric(name, found) for name in means},
            rewards={name: self._reward(name, found[f"rewards {name}"]) for name in groups["rewards"]},
            retrieval={name: found[f"retrieval {name}"] for name in groups["retrieval"]},
            parse_failures=found["parse failures"],
            truncated_prompts=found["cut prompts"],
            truncated_completions=_mean_of([s.truncated_completions for s in summaries]),
            refused=_mean_of([s.refused for s in summaries]),
            reward_failures={name: why for s in summaries for name, why in s.reward_failures.items()},
            metric_failures=self._failures,
            items_shown=sum(s.items_shown for s in summaries) / len(summaries),
            speed=Speed.of(self._group),
            spread={name: self._spread(name, values) for name, values in means.items()} if len(summaries) > 1 else {},
        )

    def _add(
        self,
        name: str,
        statistics: Sequence[Floats],
        value: Value = mean_value,
        *,
        errors: bool = False,
        why: str = "",
        limits: tuple[float, float] = NO_LIMITS,
    ) -> None:
        totals = [user_totals(each, self._figures.users) for each in statistics]
        scale = scale_of(np.concatenate(statistics), errors=errors)
        self._figures.add_totals(name, totals, value, scale, why, limits)

    def _add_records(self, group: str, records: Sequence[list[dict[str, float | None]]]) -> list[str]:
        names = list(dict.fromkeys(name for of_seed in records for name in names_in(of_seed)))
        for name in names:
            self._add(f"{group} {name}", [as_mean(numbers(of_seed, name).tolist()) for of_seed in records])
        return names

    def _reward(self, name: str, found: Estimate) -> RewardSummary:
        """A reward over all seeds, of the fewest questions that any of them has."""
        counts = [int(np.isfinite(numbers(columns.rewards, name)).sum()) for columns in self._columns]
        return RewardSummary(**found.model_dump(), n=min(counts))

    def _add_metric(self, name: str) -> list[Floats]:
        """Add a metric and its mean over users, if it has one; returns each seed's values by user."""
        if self._group[0].summary.metrics[name].user_macro is None:
            self._add_corpus_metric(name)
            return []
        statistics = [as_mean(numbers(columns.metrics, name).tolist()) for columns in self._columns]
        self._add(f"metric {name}", statistics, errors=not self._higher(name))
        own = [user_values(user_totals(each, self._figures.users), mean_value) for each in statistics]
        self._figures.add_totals(f"macro {name}", own, mean_value, scale_of(np.concatenate(own)))
        return [each[:, 0] for each in own]

    def _add_corpus_metric(self, name: str) -> None:
        host, task = self._pooling.host, self._group[0].manifest.task
        if host is None or task not in host.tasks.names:
            return
        metric, labels = host.metrics([name])[0], host.tasks.named(task).labels
        pairs = [Pairs(c.answers, [gold or "" for gold in c.golds], labels) for c in self._columns]
        try:
            statistics = [metric.statistics(each) for each in pairs]
            rare = [why for why in (too_rare(metric, each) for each in statistics) if why]
        except Exception as error:  # metrics are plugins
            self._failures[name] = fault_of(error).stored
            return
        self._add(
            f"metric {name}",
            statistics,
            metric.value,
            errors=not metric.higher_is_better,
            why=rare[0] if rare else "",
            limits=limits_of(metric),
        )

    def _metric(self, name: str, found: dict[str, Estimate]) -> MetricSummary:
        estimate = found.get(f"metric {name}")
        if estimate is None:
            known = [value for value in self._values(name) if value is not None]
            whole = len(known) == len(self._group)
            estimate = Estimate(value=sum(known) / len(known) if whole else None, low=None, high=None)
        macro = found.get(f"macro {name}")
        return MetricSummary(**estimate.model_dump(), higher_is_better=self._higher(name), user_macro=macro)

    def _higher(self, name: str) -> bool:
        return self._group[0].summary.metrics[name].higher_is_better

    def _values(self, name: str) -> tuple[float | None, ...]:
        return tuple(_value(result, name) for result in self._group)

    def _spread(self, name: str, own: Sequence[Floats]) -> SeedSpread:
        values = self._values(name)
        known = [value for value in values if value is not None]
        sd = float(np.std(known, ddof=1)) if len(known) == len(values) else None
        if not own:
            return SeedSpread(values, sd, None, None, None)
        parts = variance_components(np.stack(own))
        return SeedSpread(values, sd, _or_none(parts.users), _or_none(parts.seeds), _or_none(parts.rest))


def _value(result: Stored, name: str) -> float | None:
    found = result.summary.metrics.get(name)
    return found.value if found else None


def _mean_of(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known else None


def _or_none(number: float) -> float | None:
    return number if np.isfinite(number) else None
