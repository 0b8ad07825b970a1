"""ROUGE-L of the `prlm` protocol: F of the longest common subsequence over jieba's words.

C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 3; values equal those of
rouge_chinese 1.0.3 (its "summary level" joins the sentences into one) on lower-cased texts cut by jieba 0.42.1,
0..1, their plain mean over pairs. The score is 0 if either text is blank.
"""

from __future__ import annotations

from ._f_measure import prlm_f
from ._lcs import lcs_length
from ._metric import MeanMetric, Pairs
from ._tokens import prlm_words


def _scores(pairs: Pairs) -> list[float]:
    return [prlm_f(lcs_length(answer, gold), len(answer), len(gold)) for answer, gold in pairs.through(prlm_words)]


ROUGE_L = MeanMetric(
    "rouge-l@prlm",
    _scores,
    limits=(0.0, 1.0),
    summary="F of the longest common subsequence over jieba's words.",
)
