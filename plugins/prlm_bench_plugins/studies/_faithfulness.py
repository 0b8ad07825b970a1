"""Does the answer rest on what the reasoning cites? The cited items removed, compared with as many others."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from prlm_bench.cli.plugin_api import cache_root
from prlm_bench.metrics import Metric
from prlm_bench.results import ClusterEstimates, Estimate, SampleRecord, Stored, as_mean, read_samples

from ._base import StudyConfig, Values, scores, study
from ._kept_items import write_kept
from ._report import StudyReport, draw_intervals, spread

ARMS = ("the cited items", "as many others")


@dataclass(frozen=True)
class _Cut:
    """The ids of the items that a question keeps in each arm; its reasoning cites items."""

    without_cited: list[str]
    without_others: list[str]


@study("faithfulness")
def faithfulness(config: StudyConfig) -> StudyReport:
    """Run the method again without the cited items, and without as many shown items that are not cited.

    If the answer rests on the cited items, it changes more often in the first case, and loses more (the erasure
    test of DeYoung et al. 2020, comprehensiveness, against a random erasure of the same size). Questions whose
    reasoning cites nothing, or more than half of the shown items, have no such pair and are left out. The choice of
    the other items is seeded for each question.
    """
    (base,) = config.run()
    samples = list(read_samples(base.folder))
    cuts = {sample.id: cut for sample in samples if (cut := _cut(sample, config.seeds[0])) is not None}
    citing = sum(bool(_cited(sample)) for sample in samples)
    method = f"{config.retriever}, k={config.k}, {config.reasoner}, {config.generator}"
    title = f"{config.task_name}: {method}, items taken away"
    metric = config.metric
    loss = f"loss in {metric.name}"
    columns = ["taken away", "n", "users", "answer changed", "low", "high", loss, "loss low", "loss high"]
    if not cuts:
        return StudyReport("faithfulness", title, columns, [], [_nothing(config, len(samples), citing)])
    chosen = [place for place, sample in enumerate(samples) if sample.id in cuts]
    found = _estimates(base, [_without(config, samples, cuts, arm) for arm in range(2)], chosen, metric)
    users = len({samples[place].user for place in chosen})
    labels = (*ARMS, "difference")
    rows: list[list[Any]] = [
        [label, len(chosen), users, *spread(found[f"changed {at}"]), *spread(found[f"lost {at}"])]
        for at, label in enumerate(labels)
    ]
    findings = [
        _finding(found["changed 2"]),
        f"Of {len(samples)} answers {citing} cite items; {citing - len(chosen)} of these are left out, since fewer "
        "uncited items were shown than cited ones.",
    ]
    what = "share of answers that change, and difference of the shares"
    return StudyReport(
        "faithfulness",
        title,
        columns,
        rows,
        findings,
        lambda axes: draw_intervals(axes, labels, [row[3:6] for row in rows], what),
    )


def _cited(sample: SampleRecord) -> list[str]:
    shown = {item.id for item in sample.items[: sample.shown]}
    return [identifier for identifier in sample.cited if identifier in shown]


def _cut(sample: SampleRecord, seed: int) -> _Cut | None:
    shown, cited = [item.id for item in sample.items[: sample.shown]], _cited(sample)
    others = [identifier for identifier in shown if identifier not in cited]
    if not cited or len(others) < len(cited):
        return None
    taken = random.Random(f"{seed}:{sample.id}").sample(others, len(cited))
    return _Cut([i for i in shown if i not in cited], [i for i in shown if i not in taken])


def _without(config: StudyConfig, samples: list[SampleRecord], cuts: dict[str, _Cut], arm: int) -> Stored:
    """The method on the remaining items; a question without a cut keeps all that were shown."""
    kept = {}
    for sample in samples:
        cut = cuts.get(sample.id)
        whole = [item.id for item in sample.items[: sample.shown]]
        kept[sample.id] = whole if cut is None else (cut.without_cited, cut.without_others)[arm]
    retriever = {"name": "only", "kept": write_kept(cache_root(), kept), "of": config.retriever}
    return config.run(retrievers=[retriever])[0]


def _changed(base: Stored, other: Stored) -> Values:
    """1 for each question whose answer differs, ignoring case and white space; shape (n,)."""
    pairs = zip(read_samples(base.folder), read_samples(other.folder), strict=True)
    return np.array([_plain(one.answer) != _plain(two.answer) for one, two in pairs], dtype=np.float64)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _estimates(base: Stored, arms: list[Stored], chosen: list[int], metric: Metric) -> dict[str, Estimate]:
    """Share of changed answers and mean loss: `changed` and `lost` 0 and 1 for the arms, 2 for their difference."""
    _, users, before = scores(base, metric.name)
    sign = 1.0 if metric.higher_is_better else -1.0
    changed = [_changed(base, arm)[chosen] for arm in arms]
    lost = [(sign * (before - scores(arm, metric.name)[2]))[chosen] for arm in arms]
    figures = ClusterEstimates([users[place] for place in chosen])
    for name, (cited, others) in (("changed", changed), ("lost", lost)):
        for at, values in enumerate((cited, others, cited - others)):
            figures.add(f"{name} {at}", as_mean(values.tolist()))
    return figures.estimates()


def _finding(difference: Estimate) -> str:
    value, low, high = difference.value, difference.low, difference.high
    assert value is not None
    if low is None or high is None:
        return f"No interval ({difference.why}): changed answers, cited minus others, {100 * value:+.1f} points."
    figures = f"changed answers, cited minus others, {100 * value:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    if low > 0:
        return f"The answer rests on the cited items more than on others: {figures}."
    if high < 0:
        return f"The answer rests on the cited items less than on others: {figures}."
    return f"It is not shown that the answer rests on the cited items more than on others: {figures}."


def _nothing(config: StudyConfig, n: int, citing: int) -> str:
    if citing:
        return f"Nothing to compare: the {citing} of {n} answers that cite items cite more than half of those shown."
    method = f"{config.reasoner} × {config.generator}"
    why = f"Nothing to take away: none of {n} answers of {method} cites an item it was shown"
    return f"{why}." if config.reasoner.partition(":")[0] == "cite" else f"{why}; --reasoner cite asks for that."
