"""Contracts of what scores answers: rewards, metrics and judges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from ..host import CheckedMetric, PluginHost, parse_spec
from ..interfaces import Context
from ..metrics import Pairs
from ..records import Answer, Completion, Example, Prompt, Ranking, Sample
from ._contracts import ODD_TEXTS, Contract


def odd_samples(examples: Sequence[Example]) -> list[Sample]:
    """Samples of each example: without an answer, with the gold, and with text that is not ASCII."""
    found = []
    for example in examples:
        for text, parsed in (("", None), (example.gold or "", "whole"), (ODD_TEXTS[5], "whole")):
            prompt = Prompt(example, Ranking(), example.input)
            found.append(Sample(prompt, Completion(text), Answer(text, parsed)))
    return found


class RewardContract(Contract):
    """A reward gives every sample a finite number."""

    kind = "reward"

    def test_gives_each_sample_a_finite_number(self, component: Any, examples: list[Example]) -> None:
        """In order, for any answer."""
        samples = odd_samples(examples)
        scores = [float(score) for score in component.score(samples)]
        assert len(scores) == len(samples)
        assert all(abs(score) < float("inf") for score in scores)
        assert [float(s) for s in component.score(samples[:1])] == pytest.approx(scores[:1])


class MetricContract(Contract):
    """A metric gives statistics that can be added up, and keeps to what it declares.

    `spec` is its name, with options if it has some: `same-length@mine:slack=1`.
    """

    kind = "metric"
    spec: ClassVar[str]
    #: Whether no answer is better than the gold; False for a metric that does not compare answers with golds.
    gold_is_best: ClassVar[bool] = True

    @pytest.fixture
    def golds(self, examples: list[Example]) -> list[str]:
        """The golds of all examples."""
        return [example.gold for example in examples if example.gold is not None]

    @pytest.fixture
    def labels(self, context: Context) -> Sequence[str]:
        """The labels of the task; none if its answers are free text."""
        return context.task.labels

    def test_declares_what_tables_need(self, component: Any) -> None:
        """Name, direction, whether it is a mean, range, and one line that says what it measures."""
        checked = _checked(component)
        assert "@" in checked.name, "write measure@protocol: the metrics of one protocol share a table"
        low, high = checked.limits
        assert low < high
        declared = PluginHost(self.plugins).registry.get("metric", parse_spec(self.spec).name).declared()
        assert checked.summary or declared["summary"], "give it an attribute `summary`, one line"

    def test_gives_a_row_of_statistics_for_each_pair(
        self, component: Any, golds: list[str], labels: Sequence[str]
    ) -> None:
        """In order, of finite numbers, for any answer; the row of a pair does not depend on the others."""
        for answers in (golds, golds[1:] + golds[:1], [""] * len(golds), _odd(len(golds))):
            pairs = Pairs(answers, golds, labels)
            rows = _checked(component).statistics(pairs)
            assert np.isfinite(rows).all()
            for answer, gold, row in zip(answers[:4], golds, rows, strict=False):
                alone = _checked(component).statistics(Pairs([answer], [gold], labels))
                assert alone[0] == pytest.approx(row)

    def test_values_are_computed_for_many_totals_at_once(
        self, component: Any, golds: list[str], labels: Sequence[str]
    ) -> None:
        """Of any leading shape, each as it would be alone, and within the declared range."""
        rows = _checked(component).statistics(Pairs(golds[1:] + golds[:1], golds, labels))
        totals = np.stack([rows[: len(rows) // 2].sum(axis=0), rows[len(rows) // 2 :].sum(axis=0), rows.sum(axis=0)])
        together = _checked(component).value(totals)
        assert together == pytest.approx([float(_checked(component).value(each)) for each in totals])
        assert _checked(component).value(np.stack([totals, totals])).shape == (2, 3)
        low, high = _checked(component).limits
        assert ((together >= low - 1e-9) & (together <= high + 1e-9)).all(), f"{together}, not in {low} to {high}"

    def test_a_mean_is_the_mean_of_its_samples(self, component: Any, golds: list[str], labels: Sequence[str]) -> None:
        """A metric with `is_mean` has a value for each sample, and their mean for all."""
        rows = _checked(component).statistics(Pairs(golds[1:] + golds[:1], golds, labels))
        if component.is_mean:
            singles = _checked(component).value(rows)
            assert float(_checked(component).value(rows.sum(axis=0))) == pytest.approx(float(singles.mean()))

    def test_the_direction_is_the_declared_one(self, component: Any, golds: list[str], labels: Sequence[str]) -> None:
        """Golds as answers are at least as good as no answers and as other questions' golds."""
        if not self.gold_is_best:
            pytest.skip("gold_is_best is False")
        best, *others = (
            float(_checked(component).value(_checked(component).statistics(Pairs(answers, golds, labels)).sum(axis=0)))
            for answers in (golds, golds[1:] + golds[:1], [""] * len(golds))
        )
        for other in others:
            assert best >= other if component.higher_is_better else best <= other


class JudgeContract(Contract):
    """A judge gives each sample values by name."""

    kind = "judge"

    def test_gives_each_sample_values_by_name(self, component: Any, examples: list[Example]) -> None:
        """In order, the same names for all, each a finite number or None."""
        samples = odd_samples(examples)
        verdicts = list(component.judge(samples))
        assert len(verdicts) == len(samples)
        for verdict in verdicts:
            assert isinstance(verdict, Mapping)
            assert verdict.keys() == verdicts[0].keys() and verdict
            assert all(isinstance(name, str) and name for name in verdict)
            assert all(value is None or math.isfinite(float(value)) for value in verdict.values())

    def test_is_the_same_alone_and_in_a_batch(self, component: Any, examples: list[Example]) -> None:
        """What it says of a sample does not depend on the others."""
        samples = odd_samples(examples)[:6]
        together = list(component.judge(samples))
        assert [dict(next(iter(component.judge([sample])))) for sample in samples] == [dict(v) for v in together]

    def test_no_samples_give_no_values(self, component: Any) -> None:
        """An empty batch is valid."""
        assert list(component.judge([])) == []


def _checked(component: Any) -> CheckedMetric:
    """The metric, checked as a run checks it; a bare one is checked too."""
    if isinstance(component, CheckedMetric):
        return component
    return CheckedMetric(component, getattr(component, "name", ""), "metric")


def _odd(count: int) -> list[str]:
    return [ODD_TEXTS[place % len(ODD_TEXTS)][:200] for place in range(count)]
