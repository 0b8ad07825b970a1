"""Agreement of metrics and rewards with the preferences of annotators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from ..results import Estimate, SampleRecord, Stored, read_samples
from ..stats import Floats, Spread
from ._estimates import ALIKE, Crossed, plain, share, unknown, without

#: Users are left out in at most so many groups, since tau is computed anew for each.
_GROUPS = 50
Kept = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Preferred:
    """One judgement of one pair."""

    pair: str
    question: str
    user: str
    annotator: str
    first: int
    second: int
    #: 1 if the first answer is preferred, -1 if the second is, 0 for neither.
    choice: int


@dataclass(frozen=True)
class MetricAgreement:
    """The agreement of one metric with annotators."""

    metric: str
    #: Judgements that prefer an answer, and those of them whose pair is tied in the metric.
    n: int
    tied: int
    #: Share of these judgements with which the metric agrees; its ties count half.
    accuracy: Estimate
    #: Kendall's tau-b of the metric's difference and the mean judgement, over all pairs.
    tau: Estimate


def metric_agreements(judged: Sequence[Preferred], results: Sequence[Stored]) -> list[MetricAgreement]:
    """The agreement of all metrics and rewards with values for single answers.

    Args:
        judged: the judgements.
        results: one per method, indexed by `first` and `second` of the judgements.
    """
    wanted = {each.question for each in judged}
    samples = [{s.id: s for s in read_samples(result.folder) if s.id in wanted} for result in results]
    values = [{question: _values(sample, results[0]) for question, sample in method.items()} for method in samples]
    names = dict.fromkeys(name for method in values for found in method.values() for name in found)
    return [_agreement(name, judged, values) for name in names]


def _values(sample: SampleRecord, result: Stored) -> dict[str, float]:
    """Metrics and rewards of a sample by name, signed so that higher is better, without missing values."""
    found = {}
    for name, value in sample.metrics.items():
        summary = result.summary.metrics.get(name)
        if value is not None:
            found[name] = value if summary is None or summary.higher_is_better else -value
    return found | {f"reward {name}": value for name, value in sample.rewards.items() if value is not None}


def _agreement(
    name: str, judged: Sequence[Preferred], values: Sequence[Mapping[str, Mapping[str, float]]]
) -> MetricAgreement:
    known, differences = [], []
    for each in judged:
        both = [values[method].get(each.question, {}).get(name) for method in (each.first, each.second)]
        if both[0] is not None and both[1] is not None:
            known.append(each)
            differences.append(both[0] - both[1])
    decided = [(each, gap) for each, gap in zip(known, differences, strict=True) if each.choice]
    return MetricAgreement(
        metric=name,
        n=len(decided),
        tied=sum(gap == 0 for _, gap in decided),
        accuracy=share(
            [0.5 + 0.5 * float(np.sign(gap)) * each.choice for each, gap in decided],
            [each.user for each, _ in decided],
            [each.annotator for each, _ in decided],
            why="no judgement prefers an answer",
        ),
        tau=tau_estimate(known, np.asarray(differences)),
    )


def tau_estimate(judged: Sequence[Preferred], differences: Floats) -> Estimate:
    """Tau with its 95 % interval over users and annotators, by the jackknife, on the scale of Fisher's z.

    Args:
        differences: of the metric, first answer minus second, by judgement.
    """
    if not judged:
        return unknown("no judgement")
    tau = _tau_of(judged, differences)
    value = tau(np.ones(len(judged), dtype=bool))
    if value is None:
        return unknown("no difference" if not differences.any() else "no pair is preferred on the whole")
    spread = "all pairs agree" if abs(value) == 1 else _spread_of(tau, judged)
    if isinstance(spread, str):
        return without(value, spread)
    half = float(student.ppf(0.975, spread.freedom) * np.sqrt(spread.variance)) / (1 - value**2)
    return plain(value, float(np.tanh(np.arctanh(value) - half)), float(np.tanh(np.arctanh(value) + half)))


def _tau_of(judged: Sequence[Preferred], differences: Floats) -> Callable[[Kept], float | None]:
    """Tau of the judgements that are kept."""
    places = {pair: place for place, pair in enumerate(dict.fromkeys(each.pair for each in judged))}
    pairs = np.array([places[each.pair] for each in judged])
    choices = np.array([float(each.choice) for each in judged])
    gaps = np.zeros(len(places))
    gaps[pairs] = differences

    def tau(kept: Kept) -> float | None:
        count = np.bincount(pairs[kept], minlength=len(places))
        people = np.bincount(pairs[kept], choices[kept], len(places))[count > 0] / count[count > 0]
        return kendall_tau(people, gaps[count > 0])

    return tau


def _spread_of(tau: Callable[[Kept], float | None], judged: Sequence[Preferred]) -> Spread | str:
    """The variance of tau over users and annotators, or why it is not known."""
    users, annotators = [each.user for each in judged], [each.annotator for each in judged]
    crossed = Crossed(users, annotators)
    if crossed.why:
        return crossed.why
    grouped = Crossed([str(number % _GROUPS) for number in crossed.users.index], annotators)
    variances = []
    for factor in (grouped.users, grouped.annotators):
        left_out = [tau(factor.index != number) for number in range(len(factor.sizes))]
        if None in left_out:
            return "undefined without some judgements"
        variances.append(float(factor.variance(np.array(left_out, dtype=np.float64))))
    spread = grouped.together(*variances)
    return spread if spread.variance > 0 else ALIKE


def kendall_tau(first: Sequence[float] | Floats, second: Sequence[float] | Floats) -> float | None:
    """Kendall's tau-b (Kendall 1945) of two differences, with each pair of answers counted in both directions.

    The order of answers is random; (-x, -y) is counted with (x, y), so that it has no effect.

    Returns:
        A number between -1 and 1; None if one of the two is constant.
    """
    from scipy.stats import kendalltau

    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not one.any() or not other.any():
        return None
    both = kendalltau(np.concatenate([one, -one]), np.concatenate([other, -other]))
    return float(both.statistic)
