"""BM25 as Lucene 9 computes it, in its own arithmetic: 32-bit floats and lengths kept in one byte.

idf(t) = ln(1 + (N - df + 0.5) / (df + 0.5)), which is never negative; N is the number of texts with a token.
score(q, d) = sum over the query's distinct terms of w - w / (1 + tf / (k1 * (1 - b + b * |d| / avgdl))), with
w = idf * (number of times the query has the term). There is no factor k1 + 1. |d| is rounded down to one of
256 lengths. This is `BM25Similarity` of Lucene 9.9 on the query that Anserini makes of a bag of words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_Single = np.float32


@dataclass(frozen=True)
class Statistics:
    """Statistics of a set of texts and of its terms."""

    #: Number of texts with at least one token.
    n_texts: int
    #: Number of tokens of all texts.
    n_tokens: int
    #: The number of texts that contain a term.
    frequency: Callable[[str], int]


@dataclass(frozen=True)
class TokenCounts:
    """The tokens of n texts, counted."""

    counts: list[Counter[str]]
    #: Number of tokens of each text, shape (n,).
    lengths: NDArray[np.int64]

    @staticmethod
    def of(texts: Sequence[Sequence[str]]) -> TokenCounts:
        """Count the tokens of n texts."""
        return TokenCounts([Counter(tokens) for tokens in texts], np.array([len(tokens) for tokens in texts], np.int64))

    def statistics(self) -> Statistics:
        """These texts as a collection of their own."""
        frequencies = Counter(term for counts in self.counts for term in counts)
        return Statistics(int((self.lengths > 0).sum()), int(self.lengths.sum()), frequencies.__getitem__)


def scores(query: Sequence[str], texts: TokenCounts, collection: Statistics, k1: float, b: float) -> Floats:
    """Lucene's score of each text for a query, shape (n,).

    Args:
        query: the query's tokens, repeats kept.
        texts: n texts.
        collection: the statistics to score by.
        k1, b: as in the formula.
    """
    total = np.zeros(len(texts.counts))
    if collection.n_texts == 0:
        return total
    mean = _Single(collection.n_tokens / collection.n_texts)
    lengths = _LENGTHS[np.searchsorted(_LENGTHS, texts.lengths, side="right") - 1].astype(_Single)
    with np.errstate(divide="ignore"):
        inverse = _Single(1) / (_Single(k1) * ((_Single(1) - _Single(b)) + _Single(b) * lengths / mean))
    for term, times in Counter(query).items():
        df = collection.frequency(term)
        if df == 0:
            continue
        weight = _Single(times) * _Single(math.log(1 + (collection.n_texts - df + 0.5) / (df + 0.5)))
        frequency = np.array([counts.get(term, 0) for counts in texts.counts], dtype=_Single)
        held = np.flatnonzero(frequency)
        total[held] += weight - weight / (_Single(1) + frequency[held] * inverse[held])
    # Lucene sums the terms in 64 bits and returns the sum in 32.
    return np.asarray(total.astype(_Single).astype(np.float64))


def _lengths() -> NDArray[np.int64]:
    """The 256 lengths that a byte can encode: 0 to 23 exactly, larger ones by their first four bits."""
    exact = 24
    table = list(range(exact))
    for code in range(256 - exact):
        bits, shift = code & 7, (code >> 3) - 1
        table.append(exact + (bits if shift < 0 else (bits | 8) << shift))
    return np.array(table, dtype=np.int64)


_LENGTHS = _lengths()
