"""The metric interface: sufficient statistics for each sample, and a value computed from their sum.

This form covers means (ROUGE), corpus measures (BLEU, macro-F1) and roots (RMSE), and makes resampling of users a
matrix product: sum the statistics of each user, weight the users, compute the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..host import WrongResultError

Floats = NDArray[np.float64]


class Pairs:
    """Paired answers and golds, with a cache for preprocessing shared by metrics.

    Args:
        answers: n answers; the empty string for parse failures.
        golds: n reference answers.
        labels: the task's label list, empty for free text.
    """

    def __init__(self, answers: Sequence[str], golds: Sequence[str], labels: Sequence[str] = ()) -> None:
        if len(answers) != len(golds):
            raise ValueError(f"{len(answers)} answers for {len(golds)} golds")
        self.answers = list(answers)
        self.golds = list(golds)
        self.labels = tuple(labels)
        self._memo: dict[Any, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self.answers)

    def through(self, function: Callable[[str], Any]) -> list[tuple[Any, Any]]:
        """`(function(answer), function(gold))` for each pair, computed once per distinct text."""
        memo = self._memo.setdefault(function, {})
        for text in self.answers:
            if text not in memo:
                memo[text] = function(text)
        for text in self.golds:
            if text not in memo:
                memo[text] = function(text)
        return [(memo[answer], memo[gold]) for answer, gold in zip(self.answers, self.golds, strict=True)]


class Metric(Protocol):
    """A metric; its name gives measure and protocol, such as `rouge1@lamp`.

    One that refuses golds has an attribute `reads_labels = True`; a run then tries its golds before it generates. One
    that has `summary`, a line of text, and `limits` (see `Limited`) is listed with them. What `PluginHost.metrics` and
    `Context.build` make of it checks what it gives, and is named by its spec, options included.
    """

    @property
    def name(self) -> str: ...

    @property
    def higher_is_better(self) -> bool: ...

    @property
    def is_mean(self) -> bool:
        """True if the value is the mean of per-sample scores, so that user-macro means exist."""
        ...

    def statistics(self, pairs: Pairs) -> Floats:
        """Sufficient statistics, shape (n, s), one row per pair."""
        ...

    def value(self, totals: Floats) -> Floats:
        """The value for summed statistics: shape (..., s) to (...)."""
        ...


@runtime_checkable
class KnowsRareValues(Protocol):
    """A metric that is unreliable where something occurs rarely, such as a label of macro-F1."""

    def too_rare(self, totals: Floats) -> str:
        """What occurs too rarely for an interval, for summed statistics of shape (s,); empty if nothing does."""
        ...


@runtime_checkable
class Limited(Protocol):
    """A metric that says between which values it lies, so that no interval goes beyond."""

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest value that there can be."""
        ...


class MeanMetric:
    """A metric that is the mean of per-sample scores; statistics are (score, 1).

    Args:
        name: `measure@protocol`.
        score: returns the n scores of `Pairs`.
        higher_is_better: False for error measures.
        reads_labels: whether it refuses golds that do not fit the task's labels.
        limits: the smallest and the largest value that there can be.
        summary: what it measures, in one line.
    """

    is_mean = True

    def __init__(
        self,
        name: str,
        score: Callable[[Pairs], Sequence[float] | Floats],
        higher_is_better: bool = True,
        reads_labels: bool = False,
        limits: tuple[float, float] = (-math.inf, math.inf),
        summary: str = "",
    ) -> None:
        self.name = name
        self.higher_is_better = higher_is_better
        self.reads_labels = reads_labels
        self.limits = limits
        self.summary = summary
        self._score = score

    def statistics(self, pairs: Pairs) -> Floats:
        given = self._score(pairs)
        try:
            scores = np.asarray(given, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError):
            raise WrongResultError("gave scores that are no numbers", self, "_score") from None
        if len(scores) != len(pairs):
            raise WrongResultError(f"gave {len(scores)} scores for {len(pairs)} pairs", self, "_score")
        return np.stack([scores, np.ones_like(scores)], axis=1)

    def value(self, totals: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(totals[..., 0] / totals[..., 1])
