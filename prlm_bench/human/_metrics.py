"""Do metrics and rewards prefer the answer that people prefer?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..results import Estimate, SampleRecord, Stored, as_mean, mean_value, read_samples
from ._estimates import clustered


@dataclass(frozen=True, slots=True)
class Preferred:
    """What people made of one pair."""

    question: str
    user: str
    first: int
    second: int
    #: The mean of the judgements: 1 where all prefer the first answer, -1 where all prefer the second.
    people: float


@dataclass(frozen=True)
class MetricAgreement:
    """How one metric agrees with people."""

    metric: str
    #: Pairs that people decided, and of these the ones that the metric left tied.
    n: int
    tied: int
    #: The share of these pairs in which the metric prefers the same answer; a tie of the metric counts half.
    accuracy: Estimate
    #: Kendall's tau-b of the metric's difference and people's mean, over all pairs.
    tau: float | None


def metric_agreements(pairs: Sequence[Preferred], results: Sequence[Stored]) -> list[MetricAgreement]:
    """Agreement of every metric and reward that has a value for single answers.

    Args:
        pairs: what people judged.
        results: of the methods, in the order in which `pairs` counts them.
    """
    wanted = {pair.question for pair in pairs}
    samples = [{s.id: s for s in read_samples(result.folder) if s.id in wanted} for result in results]
    values = [{question: _values(sample, results[0]) for question, sample in method.items()} for method in samples]
    names = dict.fromkeys(name for method in values for found in method.values() for name in found)
    return [_agreement(name, pairs, values) for name in names]


def _values(sample: SampleRecord, result: Stored) -> dict[str, float]:
    """What a sample was given, by name, turned so that higher is better; without what is no number."""
    found = {}
    for name, value in sample.metrics.items():
        summary = result.summary.metrics.get(name)
        if value is not None:
            found[name] = value if summary is None or summary.higher_is_better else -value
    return found | {f"reward {name}": value for name, value in sample.rewards.items() if value is not None}


def _agreement(
    name: str, pairs: Sequence[Preferred], values: Sequence[Mapping[str, Mapping[str, float]]]
) -> MetricAgreement:
    people, differences, users = [], [], []
    for pair in pairs:
        both = [values[method].get(pair.question, {}).get(name) for method in (pair.first, pair.second)]
        if both[0] is not None and both[1] is not None:
            people.append(pair.people)
            differences.append(both[0] - both[1])
            users.append(pair.user)
    decided = [place for place, mean in enumerate(people) if mean != 0]
    scores = [0.5 + 0.5 * np.sign(differences[place]) * np.sign(people[place]) for place in decided]
    return MetricAgreement(
        metric=name,
        n=len(decided),
        tied=sum(differences[place] == 0 for place in decided),
        accuracy=clustered(as_mean(scores), [users[place] for place in decided], mean_value),
        tau=kendall_tau(people, differences),
    )


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b (Kendall 1945) of two differences, each pair of answers counted in both directions.

    Which answer stands first is chance; with (x, y) counts (-x, -y), so that it does not matter.

    Returns:
        A number between -1 and 1; None where one of the two never varies.
    """
    from scipy.stats import kendalltau

    if not any(first) or not any(second):
        return None
    both = kendalltau([*first, *(-value for value in first)], [*second, *(-value for value in second)])
    return float(both.statistic)
