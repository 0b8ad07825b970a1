"""The `shuffled` retriever: the right items in a random order."""

from __future__ import annotations

import random
from collections.abc import Sequence

from prlm_bench import Example, Ranking
from prlm_bench.interfaces import Context

from .inner import Inner


class Shuffled:
    """The first k items of a retriever in random order, then the rest as it was: does the order matter?

    Args:
        of: the retriever.
        k: how many items change places.
    """

    def __init__(self, context: Context, of: str = "bm25", k: int = 4) -> None:
        if k < 1:
            raise ValueError("k is at least 1")
        self._seed, self._k = context.seed, k
        self._inner = Inner(context, of)

    def fingerprint(self) -> str:
        """That of the inner retriever; the seed is part of every run's identity already."""
        return self._inner.fingerprint()

    def cache_bytes(self) -> int | None:
        """Bytes that the inner retriever keeps on disk, if it tells."""
        return self._inner.cache_bytes()

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile, seeded for each question; scores count down from the number of items."""
        rankings = self._inner.rank(examples)
        return [self._shuffle(example, ranking, k) for example, ranking in zip(examples, rankings, strict=True)]

    def _shuffle(self, example: Example, ranking: Ranking, k: int | None) -> Ranking:
        items = list(ranking.items)
        first = items[: self._k]
        random.Random(f"{self._seed}:{example.id}").shuffle(first)
        items[: self._k] = first
        scores = tuple(float(len(items) - place) for place in range(len(items)))
        return Ranking(tuple(items[:k]), scores[:k])
