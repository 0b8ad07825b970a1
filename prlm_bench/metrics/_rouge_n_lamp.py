"""ROUGE-1 and ROUGE-2 of the `lamp` protocol: F1 of clipped n-gram counts over words of `a-z0-9`.

C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 2; values equal those of
rouge_score 0.1.2 with its default tokenizer and no stemming, 0..1, their plain mean over pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from ._f_measure import lamp_f
from ._metric import MeanMetric, Pairs
from ._tokens import lamp_words


def rouge_n(order: int) -> MeanMetric:
    """`rouge1@lamp`, `rouge2@lamp`, ...

    Args:
        order: length of the n-grams, in words.
    """

    def scores(pairs: Pairs) -> list[float]:
        return [_score(answer, gold, order) for answer, gold in pairs.through(lamp_words)]

    return MeanMetric(
        f"rouge{order}@lamp", scores, limits=(0.0, 1.0), summary=f"F1 of {order}-gram counts over words of a-z0-9."
    )


def _score(answer: list[str], gold: list[str], order: int) -> float:
    in_answer, in_gold = _ngrams(answer, order), _ngrams(gold, order)
    return lamp_f(_clipped(in_answer, in_gold), len(in_answer), len(in_gold))


def _ngrams(words: list[str], order: int) -> Sequence[Hashable]:
    return words if order == 1 else list(zip(*[words[at:] for at in range(order)], strict=False))


def _clipped(answer: Sequence[Hashable], gold: Sequence[Hashable]) -> int:
    """The sum over n-grams of min(count in the answer, count in the gold)."""
    distinct_answer, distinct_gold = set(answer), set(gold)
    common = distinct_answer & distinct_gold
    # If one side has no repetitions, each common n-gram matches once.
    if not common or len(distinct_answer) == len(answer) or len(distinct_gold) == len(gold):
        return len(common)
    in_answer, in_gold = Counter(answer), Counter(gold)
    return sum([min(in_answer[gram], in_gold[gram]) for gram in common])


ROUGE_1 = rouge_n(1)
ROUGE_2 = rouge_n(2)
