"""ROUGE-1 and ROUGE-2 of the `prlm` protocol: F of the sets of distinct n-grams over jieba's words.

C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 2; values equal those of
rouge_chinese 1.0.3 on lower-cased texts cut by jieba 0.42.1, 0..1, their plain mean over pairs. A repeated n-gram
counts once, n-grams cross sentence boundaries, and the score is 0 if either text is blank.
"""

from __future__ import annotations

from collections.abc import Hashable

from ._f_measure import prlm_f
from ._metric import MeanMetric, Pairs
from ._tokens import prlm_words


def rouge_n(order: int) -> MeanMetric:
    """`rouge-1@prlm`, `rouge-2@prlm`, ...

    Args:
        order: length of the n-grams, in words.
    """

    def scores(pairs: Pairs) -> list[float]:
        return [_score(answer, gold, order) for answer, gold in pairs.through(prlm_words)]

    return MeanMetric(
        f"rouge-{order}@prlm", scores, limits=(0.0, 1.0), summary=f"F of distinct {order}-grams over jieba's words."
    )


def _score(answer: list[str], gold: list[str], order: int) -> float:
    in_answer, in_gold = _distinct(answer, order), _distinct(gold, order)
    return prlm_f(len(in_answer & in_gold), len(in_answer), len(in_gold))


def _distinct(words: list[str], order: int) -> set[Hashable]:
    return set(words) if order == 1 else set(zip(*[words[at:] for at in range(order)], strict=False))


ROUGE_1 = rouge_n(1)
ROUGE_2 = rouge_n(2)
