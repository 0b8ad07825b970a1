"""ROUGE-L of the `lamp` protocol: F1 of the longest common subsequence over words of `a-z0-9`.

C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 3.1; values equal those of
rouge_score 0.1.2 (`rougeL`, the whole text as one sentence), 0..1, their plain mean over pairs.
"""

from __future__ import annotations

from ._f_measure import lamp_f
from ._lcs import lcs_length
from ._metric import MeanMetric, Pairs
from ._tokens import lamp_words


def _scores(pairs: Pairs) -> list[float]:
    return [lamp_f(lcs_length(answer, gold), len(answer), len(gold)) for answer, gold in pairs.through(lamp_words)]


ROUGE_L = MeanMetric(
    "rougeL@lamp",
    _scores,
    limits=(0.0, 1.0),
    summary="F1 of the longest common subsequence over words of a-z0-9.",
)
