"""Errors of numeric answers, by the rules of the LaMP-3 task."""

from __future__ import annotations

import numpy as np

from prlm_bench._util.golds import finite_number
from prlm_bench.errors import DataError

from ._metric import Floats, Pairs


def errors(pairs: Pairs) -> Floats:
    """|answer - gold| for each pair, in the unit of the labels, shape (n,).

    An answer that is not a finite number counts as the lowest or the highest label, whichever is further from the
    gold, and as the highest in a tie: `1.0 if abs(1 - y) > abs(5 - y) else 5.0` in LaMP's own code.

    Raises:
        DataError: a gold or a label is not a finite number, or the task has no labels.
    """
    labels = [_required(label, "label") for label in pairs.labels]
    if not labels:
        raise DataError("MAE and RMSE need a label list, and this task has none", "add `labels:` to the task file")
    lowest, highest = min(labels), max(labels)
    found = []
    for answer, gold in zip(pairs.answers, pairs.golds, strict=True):
        target, number = _required(gold, "gold"), finite_number(answer)
        if number is None:
            number = lowest if abs(lowest - target) > abs(highest - target) else highest
        found.append(abs(number - target))
    return np.array(found, dtype=np.float64)


def _required(text: str, what: str) -> float:
    number = finite_number(text)
    if number is None:
        raise DataError(f"the {what} {text!r} is not a number", "MAE and RMSE require a task with `output: number`")
    return number
