"""BM25 Okapi, bit-equal to `rank_bm25.BM25Okapi` 0.2.2, as an index of ready-made weights.

Formula (Robertson and Zaragoza 2009, with the floor of rank_bm25 for negative idf):
idf(t) = log(N - df + 0.5) - log(df + 0.5), and epsilon * (mean idf) where that is negative;
score(q, d) = sum over the query's terms of idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * |d| / avgdl)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class _Logs:
    """log(i + 0.5) by i. From `math.log`, whose last bit differs from `numpy.log` here and there."""

    def __init__(self) -> None:
        self._table = np.empty(0)

    def up_to(self, count: int) -> Floats:
        if len(self._table) <= count:
            size = max(count + 1, 2 * len(self._table), 1024)
            self._table = np.array([math.log(i + 0.5) for i in range(size)])
        return self._table


_LOGS = _Logs()


class OkapiIndex:
    """An index over n texts, tokens separated by white space, case kept.

    Args:
        texts: n texts.
        k1, b, epsilon: as in the formula.
    """

    __slots__ = ("_documents", "_size", "_starts", "_terms", "_weights")

    def __init__(self, texts: Sequence[str], k1: float = 1.5, b: float = 0.75, epsilon: float = 0.25) -> None:
        self._size = len(texts)
        tokens = [text.split() for text in texts]
        flat = [token for document in tokens for token in document]
        # dict.fromkeys keeps the order of first occurrence, in which rank_bm25 sums the idf values.
        self._terms = {term: number for number, term in enumerate(dict.fromkeys(flat))}
        if not flat:  # the reference divides by zero here
            self._starts, self._documents, self._weights = [0], np.empty(0, np.int64), np.empty(0)
            return
        lengths = np.array([len(document) for document in tokens])
        numbers = np.fromiter(map(self._terms.__getitem__, flat), np.int64, len(flat))
        keys = numbers * self._size + np.repeat(np.arange(self._size), lengths)
        keys, frequency = np.unique(keys, return_counts=True)
        term, self._documents = np.divmod(keys, self._size)
        document_frequency = np.bincount(term, minlength=len(self._terms))
        idf = self._idf(document_frequency, epsilon)
        # From here on the operations stand in rank_bm25's order: the bits depend on it.
        norm = k1 * (1 - b + b * lengths / (int(lengths.sum()) / self._size))
        self._weights = idf[term] * (frequency * (k1 + 1) / (frequency + norm[self._documents]))
        self._starts = np.concatenate(([0], np.cumsum(document_frequency))).tolist()

    def _idf(self, document_frequency: NDArray[np.int64], epsilon: float) -> Floats:
        logs = _LOGS.up_to(self._size)
        idf = logs[self._size - document_frequency] - logs[document_frequency]
        # A running sum from left to right; numpy.sum adds pairwise and gives other last bits.
        mean = np.add.accumulate(idf)[-1] / len(idf)
        idf[idf < 0] = epsilon * mean
        return np.asarray(idf)

    def scores(self, query: str) -> Floats:
        """The score of every text for `query`, shape (n,); a repeated query term counts again."""
        scores = np.zeros(self._size)
        for token in query.split():
            term = self._terms.get(token)
            if term is not None:
                postings = slice(self._starts[term], self._starts[term + 1])
                scores[self._documents[postings]] += self._weights[postings]
        return scores
