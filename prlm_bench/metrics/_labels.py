"""Converts answers and golds to class indices of the label list."""

from __future__ import annotations

import numpy as np

from prlm_bench._util.golds import label_problem
from prlm_bench.errors import DataError

from ._metric import Pairs
from ._ngrams import Ints


def classes(pairs: Pairs) -> tuple[Ints, Ints]:
    """The class of each answer and gold: its index in `pairs.labels`, compared exactly after stripping.

    Returns:
        Two arrays of shape (n,); an answer that is not a label has class -1.

    Raises:
        DataError: the task has no labels, or a gold is not one of them.
    """
    if not pairs.labels:
        raise DataError("accuracy and F1 need a label list, and this task has none", "add `labels:` to the task file")
    place = {label: index for index, label in enumerate(pairs.labels)}
    golds = []
    for gold in pairs.golds:
        wrong = label_problem(gold, pairs.labels)
        if wrong is not None:
            raise DataError(wrong)
        golds.append(place[gold.strip()])
    answers = [place.get(answer.strip(), -1) for answer in pairs.answers]
    return np.array(answers, dtype=np.int64), np.array(golds, dtype=np.int64)
