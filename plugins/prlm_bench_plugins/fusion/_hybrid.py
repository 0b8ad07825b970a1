"""The `hybrid` retriever: several rankings fused into one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from prlm_bench import Example, Ranking
from prlm_bench.interfaces import Context
from prlm_bench.ranking import by_score

from ._composed import ComposedRetriever, Floats, Pool, min_max


class Hybrid(ComposedRetriever):
    """Fuses retrievers by reciprocal ranks, or by a weighted sum of their normalized scores.

    rrf (G. Cormack, C. Clarke and S. Buettcher, SIGIR 2009): an item scores the sum of
    weight / (constant + rank), ranks from 1; a retriever that does not return it adds nothing.
    sum (CombSUM of E. Fox and J. Shaw, TREC-2 1994): the sum of weight * normalized score; an item that a
    retriever does not return counts as that retriever's lowest.

    Args:
        of: the retrievers, as specs joined by `+`.
        method: rrf or sum.
        weights: one for each retriever, 0 or more; all 1 by default.
        constant: the constant of rrf; the larger it is, the less the first ranks stand out.
        norm: for sum, over the ranking of each question: min-max brings the scores to [0, 1]; z subtracts their
            mean and divides by their standard deviation. Equal scores become 0 in both.
    """

    def __init__(
        self,
        context: Context,
        of: list[str],
        method: Literal["rrf", "sum"] = "rrf",
        weights: list[float] | None = None,
        constant: float = 60.0,
        norm: Literal["min-max", "z"] = "min-max",
    ) -> None:
        if len(of) < 2:
            raise ValueError("it fuses at least two retrievers, such as hybrid:bm25+recency")
        self._weights = weights if weights is not None else [1.0] * len(of)
        if len(self._weights) != len(of):
            raise ValueError(f"{len(self._weights)} weights for {len(of)} retrievers")
        if not all(0 <= weight < math.inf for weight in self._weights) or not any(self._weights):
            raise ValueError("weights are 0 or more, and not all 0")
        if not 0 <= constant < math.inf:
            raise ValueError("constant is 0 or more")
        self._rrf, self._constant = method == "rrf", constant
        self._normalize = min_max if norm == "min-max" else _z
        super().__init__(context, of)

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; every retriever ranks all of it, so that no place depends on k."""
        columns = self._rankings(examples)
        return [self._fuse(example, rankings, k) for example, *rankings in zip(examples, *columns, strict=True)]

    def _fuse(self, example: Example, rankings: Sequence[Ranking], k: int | None) -> Ranking:
        pool = Pool.of(example, rankings)
        terms = np.zeros((len(rankings), len(pool.items)))
        for row, weight, order, ranking in zip(terms, self._weights, pool.orders, rankings, strict=True):
            if self._rrf:
                row[order] = weight / (self._constant + 1 + np.arange(len(order)))
            elif len(order):
                values = self._normalize(np.array(ranking.scores))
                row[:] = weight * values.min()
                row[order] = weight * values
        # fsum does not depend on the order of its terms: ranks (1, 2, 3) and (3, 1, 2) are a tie.
        return by_score(pool.items, [math.fsum(column) for column in terms.T.tolist()], k)


def _z(scores: Floats) -> Floats:
    """Scores as multiples of their standard deviation above their mean; shape (n,)."""
    deviation = scores.std() if len(scores) else 0.0
    # Equal scores have a deviation of some last bits, not always of 0.
    if deviation <= 1e-12 * np.abs(scores).max(initial=0.0):
        return np.zeros_like(scores)
    return np.asarray((scores - scores.mean()) / deviation)
