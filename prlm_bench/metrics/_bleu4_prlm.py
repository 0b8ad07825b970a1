"""BLEU-4 of the `prlm` protocol: smoothed sentence BLEU over the characters of the lower-cased texts.

K. Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002, with the smoothing of
mteval-v13a (method 3 in B. Chen and C. Cherry, "A Systematic Comparison of Smoothing Techniques for
Sentence-Level BLEU", 2014); values equal those of NLTK's `sentence_bleu([list(gold)], list(answer))` with
`SmoothingFunction().method3`, 0..1, their plain mean over pairs. Blanks are characters like any other.
"""

from __future__ import annotations

import numpy as np

from ._metric import Floats, MeanMetric, Pairs
from ._ngrams import Ints, clipped_matches, ngram_totals


def _code_points(text: str) -> Ints:
    encoded = text.lower().encode("utf-32-le", "surrogatepass")
    return np.frombuffer(encoded, dtype="<u4").astype(np.int64)


def _scores(pairs: Pairs) -> Floats:
    texts = pairs.through(_code_points)
    sizes = np.array([(len(answer), len(gold)) for answer, gold in texts], dtype=np.int64).reshape(-1, 2)
    answers, golds = sizes[:, 0], sizes[:, 1]
    matches = clipped_matches(texts)
    # Orders without a match count as 1/2, 1/4, ... match, orders without n-grams as one n-gram.
    missing = matches == 0
    smoothed = np.where(missing, 0.5 ** np.cumsum(missing, axis=1), matches)
    precisions = smoothed / np.maximum(ngram_totals(answers), 1)
    brevity = np.exp(np.minimum(1 - golds / np.maximum(answers, 1), 0))
    scores = brevity * np.exp(np.log(precisions).mean(axis=1))
    return np.where(missing[:, 0], 0.0, scores)


BLEU_4 = MeanMetric(
    "bleu-4@prlm", _scores, limits=(0.0, 1.0), summary="Smoothed sentence BLEU over characters, the mean over pairs."
)
