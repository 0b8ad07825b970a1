"""Accuracy of the `lamp` protocol: the share of answers that are exactly the gold label, 0..1.

An answer is stripped and compared with the task's label list; any other answer is wrong.
A. Salemi et al., "LaMP: When Large Language Models Meet Personalization", 2024 (LaMP-1 and LaMP-2).
"""

from __future__ import annotations

import numpy as np

from ._labels import classes
from ._metric import Floats, MeanMetric, Pairs


def _scores(pairs: Pairs) -> Floats:
    answers, golds = classes(pairs)
    return np.asarray(answers == golds, dtype=np.float64)


ACCURACY = MeanMetric(
    "accuracy@lamp",
    _scores,
    reads_labels=True,
    limits=(0.0, 1.0),
    summary="The share of answers that are exactly the gold label.",
)
