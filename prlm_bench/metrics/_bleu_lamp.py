"""BLEU of the `lamp` protocol: corpus sacreBLEU with its defaults, 0..100.

K. Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002; M. Post, "A Call for
Clarity in Reporting BLEU Scores", 2018. Signature: nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ._metric import Floats, Pairs
from ._ngrams import Ints, clipped_matches, ngram_totals

_DIGIT = re.compile("[0-9]")
_WITHOUT_DIGITS = re.compile(r"[!-&(-,./:-@\[-`{-~]|[^\s!-&(-,./:-@\[-`{-~]+")


class CorpusBleu:
    """Corpus BLEU; statistics are (answer length, gold length, 4 match counts, 4 n-gram counts), in tokens."""

    name = "bleu@lamp"
    summary = "Corpus sacreBLEU with its defaults."
    higher_is_better = True
    is_mean = False
    limits = (0.0, 100.0)

    def statistics(self, pairs: Pairs) -> Floats:
        """Counts for each pair, shape (n, 10), in the order of sacreBLEU."""
        vocabulary: defaultdict[str, int] = defaultdict()
        vocabulary.default_factory = vocabulary.__len__
        texts = [(_symbols(answer, vocabulary), _symbols(gold, vocabulary)) for answer, gold in pairs.through(_tokens)]
        sizes = np.array([(len(answer), len(gold)) for answer, gold in texts], dtype=np.int64).reshape(-1, 2)
        counts = [sizes, clipped_matches(texts), ngram_totals(sizes[:, 0])]
        return np.concatenate(counts, axis=1).astype(np.float64)

    def value(self, totals: Floats) -> Floats:
        """BLEU, 0..100, of summed counts: shape (..., 10) to (...); 0 if nothing matches or an order is empty."""
        answers, golds, matches, grams = totals[..., 0], totals[..., 1], totals[..., 2:6], totals[..., 6:]
        # "exp" smoothing: the first order without a match counts as 1/2 match, the second as 1/4, and so on.
        missing = matches == 0
        smoothed = np.where(missing, 0.5 ** np.cumsum(missing, axis=-1), matches)
        precisions = smoothed / np.maximum(grams, 1)
        brevity = np.exp(np.minimum(1 - golds / np.maximum(answers, 1), 0))
        scores = 100 * brevity * np.exp(np.log(precisions).mean(axis=-1))
        return np.where(missing.all(axis=-1) | (grams == 0).any(axis=-1), 0.0, scores)


def _tokens(text: str) -> list[str]:
    """The tokens of sacreBLEU's `13a`.

    After the first replacements its rules never apply across white space, and in words without digits they only make
    each mark except apostrophe and hyphen a token. Words with a digit are tokenized by sacreBLEU.
    """
    text = text.strip().replace("<skipped>", "").replace("-\n", "")
    for entity, mark in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(entity, mark)
    if not _DIGIT.search(text):
        return _WITHOUT_DIGITS.findall(text)
    tokens: list[str] = []
    for word in text.split():
        tokens += _rules()(f" {word} ").split() if _DIGIT.search(word) else _WITHOUT_DIGITS.findall(word)
    return tokens


def _symbols(tokens: list[str], vocabulary: defaultdict[str, int]) -> Ints:
    return np.fromiter(map(vocabulary.__getitem__, tokens), dtype=np.int64, count=len(tokens))


@cache
def _rules() -> Callable[[str], Any]:
    from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp

    # It caches the last 65,536 words.
    make: Callable[[], Callable[[str], Any]] = TokenizerRegexp
    return make()


BLEU = CorpusBleu()
