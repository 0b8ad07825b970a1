"""The `mmr` retriever: relevant items that are not all alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prlm_bench import Example, Ranking
from prlm_bench.interfaces import Context

from .inner import Floats, Inner, Pool, min_max


class MMR:
    """Maximal marginal relevance: picks items one by one, each relevant and unlike those before it.

    The next item has the largest lambda * relevance - (1 - lambda) * (largest similarity to an item picked
    before), which is also its score (J. Carbonell and J. Goldstein, SIGIR 1998). Relevance is the inner score,
    min-max normalized over the profile; the similarity of two items, which needs no model, is the cosine of
    their sets of lower-cased, blank-separated words: |A and B| / sqrt(|A| |B|).

    Args:
        of: the retriever that says what is relevant.
        lambda: 1 keeps the inner order, 0 looks at diversity alone.
        depth: items of the inner ranking to choose from; the rest follows in its own order, scored as if
            each were the copy of an item before it.
    """

    def __init__(self, context: Context, of: str = "bm25", lambda_: float = 0.7, depth: int = 100) -> None:
        if not 0 <= lambda_ <= 1:
            raise ValueError("lambda lies between 0 and 1")
        if depth < 1:
            raise ValueError("depth is at least 1")
        self._lambda, self._depth = lambda_, depth
        self._inner = Inner(context, of)

    def fingerprint(self) -> str:
        """That of the inner retriever."""
        return self._inner.fingerprint()

    def cache_bytes(self) -> int | None:
        """Bytes that the inner retriever keeps on disk, if it tells."""
        return self._inner.cache_bytes()

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; equal scores go by profile order."""
        rankings = self._inner.rank(examples)
        return [self._pick(example, ranking, k) for example, ranking in zip(examples, rankings, strict=True)]

    def _pick(self, example: Example, ranking: Ranking, k: int | None) -> Ranking:
        pool = Pool.of(example, [ranking])
        order = pool.orders[0]
        # In profile order, so that the first of equal candidates is the first of the profile.
        candidates = np.sort(order[: self._depth])
        relevance = np.empty(len(order))
        relevance[order] = self._lambda * min_max(np.array(ranking.scores))
        words = _WordSets([pool.items[i].text for i in candidates.tolist()])
        value, nearest = relevance[candidates], np.zeros(len(candidates))
        places: list[int] = []
        scores: list[float] = []
        for _ in range(min(len(candidates), len(order) if k is None else k)):
            marginal = value - (1 - self._lambda) * nearest
            best = int(np.argmax(marginal))
            places.append(int(candidates[best]))
            scores.append(float(marginal[best]))
            np.maximum(nearest, words.cosines(best), out=nearest)
            value[best] = -np.inf
        rest = order[self._depth :]
        places += rest.tolist()
        scores += (relevance[rest] - (1 - self._lambda)).tolist()
        return Ranking(tuple(pool.items[i] for i in places[:k]), tuple(scores[:k]))


class _WordSets:
    """The word sets of n texts, ready for their cosines."""

    def __init__(self, texts: Sequence[str]) -> None:
        numbers: dict[str, int] = {}
        sets = [sorted({numbers.setdefault(w, len(numbers)) for w in text.lower().split()}) for text in texts]
        self._sizes = np.array([len(words) for words in sets], dtype=np.int64)
        self._owner = np.repeat(np.arange(len(sets)), self._sizes)
        self._words = np.array([word for words in sets for word in words], dtype=np.int64)
        self._known = len(numbers)

    def cosines(self, index: int) -> Floats:
        """The similarity of one text to each, shape (n,); 0 where one of the two has no words."""
        mine: NDArray[np.bool_] = np.zeros(self._known, dtype=bool)
        mine[self._words[self._owner == index]] = True
        shared = np.bincount(self._owner[mine[self._words]], minlength=len(self._sizes))
        return np.asarray(shared / np.sqrt(np.maximum(self._sizes * self._sizes[index], 1)))
