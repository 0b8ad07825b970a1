"""What a metric is: sufficient statistics for each sample, and a value computed from their sum.

This one shape serves means (ROUGE), corpus measures (BLEU, macro-F1) and roots (RMSE) alike, and makes
every resampling of users a matrix product: sum the statistics of each user, weigh the users, take the value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Pairs:
    """Answers and golds, side by side, with what several metrics need of them computed once.

    Args:
        answers: n answers; one that could not be parsed is the empty string.
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
        """`(function(answer), function(gold))` for each pair, each distinct text computed once per `Pairs`."""
        memo = self._memo.setdefault(function, {})
        for text in self.answers:
            if text not in memo:
                memo[text] = function(text)
        for text in self.golds:
            if text not in memo:
                memo[text] = function(text)
        return [(memo[answer], memo[gold]) for answer, gold in zip(self.answers, self.golds, strict=True)]


class Metric(Protocol):
    """A measure as a value: its name says what it is and by which protocol, such as `rouge1@lamp`."""

    @property
    def name(self) -> str: ...

    @property
    def higher_is_better(self) -> bool: ...

    @property
    def is_mean(self) -> bool:
        """True where the value is the plain mean of per-sample scores, so that user-macro means exist."""
        ...

    def statistics(self, pairs: Pairs) -> Floats:
        """Sufficient statistics, shape (n, s): one row for each pair."""
        ...

    def value(self, totals: Floats) -> Floats:
        """The metric of summed statistics: shape (..., s) to (...)."""
        ...


class MeanMetric:
    """A metric that is the mean of per-sample scores; statistics are (score, 1).

    Args:
        name: `measure@protocol`.
        score: gives the n scores of `Pairs`.
        higher_is_better: False for errors.
    """

    is_mean = True

    def __init__(
        self, name: str, score: Callable[[Pairs], Sequence[float] | Floats], higher_is_better: bool = True
    ) -> None:
        self.name = name
        self.higher_is_better = higher_is_better
        self._score = score

    def statistics(self, pairs: Pairs) -> Floats:
        scores = np.asarray(self._score(pairs), dtype=np.float64).reshape(-1)
        return np.stack([scores, np.ones_like(scores)], axis=1)

    def value(self, totals: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(totals[..., 0] / totals[..., 1])
