"""F1 of the `lamp` protocol: macro-averaged over the whole label list, from counts over the whole set, 0..1.

An answer is stripped and compared with the label list; any other answer is a false negative of the gold label and a
false positive of none. Equal to scikit-learn's `f1_score(average="macro", labels=all, zero_division=0)`.
A. Salemi et al., "LaMP: When Large Language Models Meet Personalization", 2024 (LaMP-1 and LaMP-2).
"""

from __future__ import annotations

import numpy as np

from ._labels import classes
from ._metric import Floats, Pairs

#: Golds that each label needs for an interval: macro-F1 gives a rare label the weight of any other.
FEWEST = 2


class MacroF1:
    """Macro-F1; statistics are, label after label, (true positives, false positives, false negatives)."""

    name = "f1@lamp"
    summary = "F1 of each label, averaged over the whole label list."
    higher_is_better = True
    is_mean = False
    limits = (0.0, 1.0)
    reads_labels = True

    def statistics(self, pairs: Pairs) -> Floats:
        """Counts for each pair, shape (n, 3 * number of labels)."""
        answers, golds = classes(pairs)
        counts = np.zeros((len(pairs), len(pairs.labels), 3))
        correct, wrong = np.flatnonzero(answers == golds), np.flatnonzero(answers != golds)
        mislabeled = wrong[answers[wrong] >= 0]
        counts[correct, golds[correct], 0] = 1
        counts[mislabeled, answers[mislabeled], 1] = 1
        counts[wrong, golds[wrong], 2] = 1
        return counts.reshape(len(pairs), 3 * len(pairs.labels))

    def value(self, totals: Floats) -> Floats:
        """Macro-F1 of summed counts: shape (..., 3 * labels) to (...); a label that never occurs counts as 0."""
        hits, false_positives, false_negatives = (totals[..., column::3] for column in range(3))
        seen = 2 * hits + false_positives + false_negatives
        return np.asarray((2 * hits / np.where(seen == 0, 1, seen)).mean(axis=-1))

    def too_rare(self, totals: Floats) -> str:
        """Labels that fewer than `FEWEST` answers or golds have, for summed counts of shape (3 * labels,)."""
        rare = int(np.sum(totals[0::3] + totals[2::3] < FEWEST))
        return f"{rare} of {len(totals) // 3} labels in fewer than {FEWEST} golds" if rare else ""


F1 = MacroF1()
