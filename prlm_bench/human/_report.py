"""The figures computed from judgements, in one record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from ..errors import DataError
from ..results import Estimate, Stored
from ._agreement import Agreement, agreement, agreement_notes
from ._metrics import MetricAgreement, Preferred, metric_agreements
from ._preference import PRIOR_TEXT, Comparison, Strengths, WinRate, strengths, win_rates
from ._schema import Choice, Judgement, Key


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
    #: Over the choices 1, 2 and 0 as the annotators saw them.
    agreement: Agreement
    win_rates: list[WinRate]
    strengths: list[Estimate]
    #: The prior of the strengths, in words.
    prior: str
    #: None if no results with metrics were given.
    metrics: list[MetricAgreement] | None
    #: What the figures do not tell.
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.model_dump()
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


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
    by_pair: dict[str, dict[str, Choice]] = {}
    for judgement in counted:
        by_pair.setdefault(judgement.pair, {})[judgement.annotator] = judgement.choice
    comparisons = [_comparison(judgement, key) for judgement in counted]
    agreed = agreement(by_pair, {pair: place.user for pair, place in key.pairs.items()})
    names = [method.name for method in key.methods]
    found = strengths(comparisons, len(names))
    return Report(
        task=key.task,
        split=key.split,
        methods=names,
        pairs=len(by_pair),
        pairs_total=sum(place.right is None for place in key.pairs.values()),
        judgements=len(counted),
        identical=key.identical,
        different=key.different,
        annotators=annotators,
        agreement=agreed,
        win_rates=win_rates(comparisons, len(names)),
        strengths=found.values,
        prior=PRIOR_TEXT,
        metrics=None if results is None else _metrics(counted, key, results),
        notes=[*agreement_notes(agreed), *strength_notes(found, names)],
    )


def strength_notes(found: Strengths, names: Sequence[str]) -> list[str]:
    """What strengths do not tell."""
    notes = []
    if len(found.groups) > 1:
        parts = _listed(found.groups, names)
        notes.append(f"no judgement connects these groups of methods, so strengths compare only within each: {parts}")
    for ladder in found.one_way:
        notes.append(
            f"none of these was ever preferred to one before it, so how far apart they are rests on the prior "
            f"({PRIOR_TEXT}): {_listed(ladder, names)}"
        )
    return notes


def _listed(groups: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    return "; ".join(" and ".join(names[method] for method in group) for group in groups)


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
    return Comparison(
        place.user, judgement.annotator, place.first, place.second, {1: 1.0, 2: 0.0, 0: 0.5}[judgement.choice]
    )


def _metrics(counted: Sequence[Judgement], key: Key, results: Sequence[Stored]) -> list[MetricAgreement]:
    known = {result.manifest.fingerprint: result for result in results}
    for method in key.methods:
        if method.fingerprint not in known:
            name = f"{method.name} ({method.fingerprint[:8]})"
            raise DataError(f"no result of {name}", "use --results with the folder that was exported")
    judged = []
    for j in counted:
        place = key.pairs[j.pair]
        assert place.first is not None and place.second is not None
        choice = {1: 1, 2: -1, 0: 0}[j.choice]
        judged.append(Preferred(j.pair, place.question, place.user, j.annotator, place.first, place.second, choice))
    return metric_agreements(judged, [known[method.fingerprint] for method in key.methods])
