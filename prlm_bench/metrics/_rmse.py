"""RMSE of the `lamp` protocol: the root of the mean squared error, in the unit of the labels; lower is better.

An answer that is not a number counts as the worse of the lowest and the highest label.
A. Salemi et al., "LaMP: When Large Language Models Meet Personalization", 2024 (LaMP-3).
"""

from __future__ import annotations

import math

import numpy as np

from ._metric import Floats, MeanMetric, Pairs
from ._numbers import errors


class RootMean(MeanMetric):
    """The square root of a mean; statistics are (score, 1)."""

    is_mean = False

    def value(self, totals: Floats) -> Floats:
        """The root of the mean: shape (..., 2) to (...)."""
        return np.asarray(np.sqrt(super().value(totals)))


def _squares(pairs: Pairs) -> Floats:
    # The square of an answer with hundreds of digits may overflow.
    with np.errstate(over="ignore"):
        return np.asarray(np.square(errors(pairs)))


RMSE = RootMean(
    "rmse@lamp",
    _squares,
    higher_is_better=False,
    reads_labels=True,
    limits=(0.0, math.inf),
    summary="The root of the mean squared error, in the unit of the labels.",
)
