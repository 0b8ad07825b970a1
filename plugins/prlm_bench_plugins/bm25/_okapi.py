"""BM25 Okapi in numpy, bit-equal to `rank_bm25.BM25Okapi` 0.2.2, as an index of precomputed weights.

Formula (Robertson and Zaragoza 2009, with the floor of rank_bm25 for negative idf):
idf(t) = log(N - df + 0.5) - log(df + 0.5), and epsilon * (mean idf) where that is negative;
score(q, d) = sum over the query's terms of idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * |d| / avgdl)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain, count
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class _Logs:
    """log(i + 0.5) by i, from `math.log`: `numpy.log` differs in the last bit for some i."""

    def __init__(self) -> None:
        self._table = np.empty(0)

    def up_to(self, count: int) -> Floats:
        if len(self._table) <= count:
            size = max(count + 1, 2 * len(self._table), 1024)
            self._table = np.array([math.log(i + 0.5) for i in range(size)])
        return self._table


LOGS = _Logs()


class OkapiIndex:
    """An index over n texts. Tokens are separated by white space; case is kept.

    Args:
        texts: n texts.
        k1, b, epsilon: as in the formula.
    """

    __slots__ = ("_documents", "_numbers", "_size", "_terms", "_weights")

    def __init__(self, texts: Sequence[str], k1: float = 1.5, b: float = 0.75, epsilon: float = 0.25) -> None:
        self._size = len(texts)
        tokens = [text.split() for text in texts]
        flat = list(chain.from_iterable(tokens))
        #: Each term's number: the place of its first occurrence among all tokens.
        self._terms: dict[str, int] = {}
        # Sorting is stable, so postings stay in the order of the texts; 16-bit numbers are sorted in linear time.
        narrow = np.uint16 if len(flat) <= 1 << 16 else np.int64
        numbers = np.fromiter(map(self._terms.setdefault, flat, count()), narrow, len(flat))
        order = numbers.argsort(kind="stable")
        lengths = np.array([len(document) for document in tokens], np.int64)
        term = numbers[order]
        document = np.arange(self._size).repeat(lengths)[order]
        starts, frequency = _runs(term, document)
        #: Postings: a term's number, a text's place and the weight of the one in the other; sorted by both.
        self._numbers, self._documents = term[starts], document[starts]
        _, document_frequency = _runs(self._numbers)
        if not flat:  # the reference divides by zero here
            self._weights = np.empty(0)
            return
        idf = self._idf(document_frequency, epsilon)
        # From here on the operations stand in rank_bm25's order: the bits depend on it.
        norm = k1 * (1 - b + b * lengths / (len(flat) / self._size))
        saturation = frequency * (k1 + 1) / (frequency + norm[self._documents])
        self._weights = idf.repeat(document_frequency) * saturation

    def _idf(self, document_frequency: Ints, epsilon: float) -> Floats:
        logs = LOGS.up_to(self._size)
        idf = logs[self._size - document_frequency] - logs[document_frequency]
        # A running sum from left to right, over terms as they first occur, as rank_bm25 adds;
        # numpy.sum adds pairwise and gives other last bits.
        mean = np.add.accumulate(idf)[-1] / len(idf)
        idf[idf < 0] = epsilon * mean
        return np.asarray(idf)

    def scores(self, query: str) -> Floats:
        """The score of every text for `query`, shape (n,); a repeated query term counts again."""
        found = [number for token in query.split() if (number := self._terms.get(token)) is not None]
        if not found:
            return np.zeros(self._size)
        numbers = np.array(found, self._numbers.dtype)
        firsts = self._numbers.searchsorted(numbers).tolist()
        ends = self._numbers.searchsorted(numbers, "right").tolist()
        postings = [slice(first, end) for first, end in zip(firsts, ends, strict=True)]
        # bincount adds in the order given, hence term by term as the query has them: again rank_bm25's bits.
        documents = np.concatenate([self._documents[part] for part in postings])
        weights = np.concatenate([self._weights[part] for part in postings])
        return np.asarray(np.bincount(documents, weights, self._size), np.float64)


def _runs(*columns: NDArray[Any]) -> tuple[Ints, Ints]:
    """Where a new combination of values begins in columns sorted alike, and how long each run is."""
    changes = np.ones(len(columns[0]) + 1, np.bool_)
    inner = changes[1:-1]
    inner[:] = False
    for column in columns:
        inner |= column[1:] != column[:-1]
    bounds = changes.nonzero()[0]
    return bounds[:-1], bounds[1:] - bounds[:-1]
