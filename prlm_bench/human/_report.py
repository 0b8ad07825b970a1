"""The figures computed from judgements, in one record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import DataError
from ..results import Estimate, Stored
from ._agreement import alpha_estimate
from ._metrics import MetricAgreement, Preferred, metric_agreements
from ._preference import Comparison, WinRate, strengths, win_rates
from ._schema import Judgement, Key


@dataclass(frozen=True)
class Annotator:
    """The judgements of one annotator."""

    name: str
    judgements: int
    #: Count of each choice without attention checks; shows a preference for one side.
    first: int
    second: int
    neither: int
    #: Judged attention checks, and those of them answered wrongly.
    checks: int
    failed: int
    #: True if excluded from all figures.
    dropped: bool


@dataclass(frozen=True)
class Report:
    """The figures of one evaluation."""

    task: str
    split: str
    methods: list[str]
    #: Pairs with at least one counted judgement, all pairs, and the number of counted judgements.
    pairs: int
    pairs_total: int
    judgements: int
    #: Pairs of equal answers, which were not shown, and pairs of different answers.
    identical: int
    different: int
    annotators: list[Annotator]
    #: Krippendorff's alpha over the choices 1, 2 and 0 as the annotators saw them.
    alpha: Estimate
    #: Pairs with two or more judgements, used for alpha.
    alpha_pairs: int
    win_rates: list[WinRate]
    strengths: list[Estimate]
    #: None if no results with metrics were given.
    metrics: list[MetricAgreement] | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        fields = asdict(self) | {
            "alpha": self.alpha.model_dump(),
            "strengths": [strength.model_dump() for strength in self.strengths],
        }
        for name in ("win_rates", "metrics"):
            for row, each in zip(fields[name] or (), getattr(self, name) or (), strict=True):
                row.update(
                    {key: value.model_dump() for key, value in vars(each).items() if isinstance(value, Estimate)}
                )
        return fields


def make_report(
    judgements: Sequence[Judgement], key: Key, results: Sequence[Stored] | None = None, *, drop_failed: bool = False
) -> Report:
    """Compute all figures for the judgements of one export.

    Args:
        judgements: from `read_judgements`.
        key: the key of the export.
        results: contain those of the key's methods, for their metrics.
        drop_failed: exclude annotators who failed an attention check.

    Raises:
        DataError: the result of a method is not in `results`, or no judgement is left.
    """
    annotators = _annotators(judgements, key, drop_failed)
    out = {annotator.name for annotator in annotators if annotator.dropped}
    counted = _counted(judgements, key, out)
    by_pair: dict[str, list[int]] = {}
    for judgement in counted:
        by_pair.setdefault(judgement.pair, []).append(judgement.choice)
    comparisons = [_comparison(judgement, key) for judgement in counted]
    several = {pair: choices for pair, choices in by_pair.items() if len(choices) > 1}
    return Report(
        task=key.task,
        split=key.split,
        methods=[method.name for method in key.methods],
        pairs=len(by_pair),
        pairs_total=sum(place.right is None for place in key.pairs.values()),
        judgements=len(counted),
        identical=key.identical,
        different=key.different,
        annotators=annotators,
        alpha=alpha_estimate(several, {pair: place.user for pair, place in key.pairs.items()}),
        alpha_pairs=len(several),
        win_rates=win_rates(comparisons, len(key.methods)),
        strengths=strengths(comparisons, len(key.methods)),
        metrics=None if results is None else _metrics(by_pair, key, results),
    )


def _counted(judgements: Sequence[Judgement], key: Key, out: set[str]) -> list[Judgement]:
    found = [j for j in judgements if j.annotator not in out and key.pairs[j.pair].right is None]
    if not found:
        raise DataError(
            "no judgement of two methods is left", "all annotators failed an attention check" if out else ""
        )
    return found


def _annotators(judgements: Sequence[Judgement], key: Key, drop_failed: bool) -> list[Annotator]:
    found = []
    for name in dict.fromkeys(judgement.annotator for judgement in judgements):
        mine = [judgement for judgement in judgements if judgement.annotator == name]
        rights = [(key.pairs[j.pair].right, j.choice) for j in mine if key.pairs[j.pair].right is not None]
        choices = Counter(judgement.choice for judgement in mine if key.pairs[judgement.pair].right is None)
        failed = sum(right != choice for right, choice in rights)
        dropped = drop_failed and failed > 0
        found.append(Annotator(name, len(mine), choices[1], choices[2], choices[0], len(rights), failed, dropped))
    return found


def _comparison(judgement: Judgement, key: Key) -> Comparison:
    place = key.pairs[judgement.pair]
    assert place.first is not None and place.second is not None
    return Comparison(place.user, place.first, place.second, {1: 1.0, 2: 0.0, 0: 0.5}[judgement.choice])


def _metrics(by_pair: dict[str, list[int]], key: Key, results: Sequence[Stored]) -> list[MetricAgreement]:
    known = {result.manifest.fingerprint: result for result in results}
    for method in key.methods:
        if method.fingerprint not in known:
            name = f"{method.name} ({method.fingerprint[:8]})"
            raise DataError(f"no result of {name}", "use --results with the folder that was exported")
    pairs = []
    for pair, choices in by_pair.items():
        place = key.pairs[pair]
        assert place.first is not None and place.second is not None
        people = sum({1: 1, 2: -1, 0: 0}[choice] for choice in choices) / len(choices)
        pairs.append(Preferred(place.question, place.user, place.first, place.second, people))
    return metric_agreements(pairs, [known[method.fingerprint] for method in key.methods])
