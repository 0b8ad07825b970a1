"""MAE of the `lamp` protocol: the mean absolute error, in the unit of the labels; lower is better.

An answer that is not a number counts as the worse of the lowest and the highest label.
A. Salemi et al., "LaMP: When Large Language Models Meet Personalization", 2024 (LaMP-3).
"""

from __future__ import annotations

import math

from ._metric import MeanMetric
from ._numbers import errors

MAE = MeanMetric(
    "mae@lamp",
    errors,
    higher_is_better=False,
    reads_labels=True,
    limits=(0.0, math.inf),
    summary="The mean absolute error, in the unit of the labels.",
)
