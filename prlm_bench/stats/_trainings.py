"""Inference over users and trainings: both are samples, and both add to the uncertainty of a figure.

The variance of a figure averaged over trainings is the sum of two parts: that of the users (jackknife of the average)
and that of the trainings (the variance between their figures, over their number), with degrees of freedom by
Satterthwaite's formula. This is the usual approximation for two crossed random factors (Searle, Casella and McCulloch
1992, chapter 5). What users and trainings share is counted in both parts, so intervals are slightly too wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import t as student

from ._users import Floats, Value

#: What a figure is: the mean of values; the mean of values that are 0 or 1; a mean of errors, which are positive and
#: skewed, or its root; or a function of counts over all samples, such as BLEU and macro-F1.
Scale = Literal["mean", "share", "errors", "corpus"]


@dataclass(frozen=True, slots=True)
class Spread:
    """A variance and its degrees of freedom."""

    variance: float
    freedom: float


def between(values: Sequence[float]) -> Spread:
    """The variance of the mean of a figure over its trainings; 0 where there is one training, or all agree."""
    if len(values) < 2:
        return Spread(0.0, np.inf)
    variance = float(np.var(values, ddof=1)) / len(values)
    return Spread(variance, float(len(values) - 1) if variance > 0 else np.inf)


def combined(parts: Sequence[Spread]) -> Spread:
    """The sum of independent variances (Satterthwaite 1946)."""
    total = sum(part.variance for part in parts)
    below = sum(part.variance**2 / part.freedom for part in parts)
    return Spread(total, total**2 / below if below > 0 else np.inf)


def over_trainings(value: Value, trainings: int) -> Value:
    """The mean of a figure over trainings, from the concatenated statistics of all, shape (..., trainings * s)."""
    if trainings == 1:
        return value

    def mean(totals: Floats) -> Floats:
        return np.asarray(np.mean([value(part) for part in np.split(totals, trainings, axis=-1)], axis=0))

    return mean


def t_ends(value: float, spread: Spread, scale: Scale = "mean", level: float = 0.95) -> tuple[float, float]:
    """The t interval of a figure; of its logit for a share, of its logarithm for errors."""
    half = float(student.ppf((1 + level) / 2, spread.freedom)) * float(np.sqrt(spread.variance))
    if scale == "share" and 0 < value < 1:
        logit, half = np.log(value / (1 - value)), half / (value * (1 - value))
        return float(1 / (1 + np.exp(half - logit))), float(1 / (1 + np.exp(-half - logit)))
    if scale == "errors" and value > 0:
        return value * float(np.exp(-half / value)), value * float(np.exp(half / value))
    return value - half, value + half
