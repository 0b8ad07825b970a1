"""Rewards that need no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prlm_bench import Sample
from prlm_bench.interfaces import Context


class Overlap:
    """The mean of chosen metrics of each answer against its gold, such as ROUGE; errors count negatively.

    Args:
        metrics: names of metrics that are means over samples; by default the task's first.

    Raises:
        ValueError: a metric has no value for a single sample.
    """

    def __init__(self, context: Context, metrics: list[str] | None = None) -> None:
        names = metrics or [context.task.metrics[0]]
        self._metrics = [context.build("metric", name) for name in names]
        self._labels = context.task.labels
        for metric in self._metrics:
            if not metric.is_mean:
                raise ValueError(f"{metric.name} has no value for a single sample")

    def fingerprint(self) -> str:
        """The metrics' names."""
        return "+".join(metric.name for metric in self._metrics)

    def score(self, samples: Sequence[Sample]) -> list[float]:
        """The mean over the metrics, one number for each sample.

        Raises:
            ValueError: a sample has no gold.
        """
        from prlm_bench.metrics import Pairs

        golds = [sample.prompt.example.gold for sample in samples]
        if any(gold is None for gold in golds):
            raise ValueError("overlap needs golds")
        pairs = Pairs([sample.answer.text for sample in samples], [gold or "" for gold in golds], self._labels)
        signs = [1.0 if metric.higher_is_better else -1.0 for metric in self._metrics]
        values = [s * metric.value(metric.statistics(pairs)) for s, metric in zip(signs, self._metrics, strict=True)]
        return [float(value) for value in np.mean(values, axis=0)]


class Format:
    """1 where the answer could be parsed, else 0."""

    def score(self, samples: Sequence[Sample]) -> list[float]:
        """One number for each sample."""
        return [float(sample.answer.parsed is not None) for sample in samples]
