"""The `mmr`, `decay` and `shuffled` retrievers: another order of what one retriever ranks."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from prlm_bench import Document, Example, Ranking
from prlm_bench.errors import DataError
from prlm_bench.interfaces import Context
from prlm_bench.ranking import by_score

from ._composed import Floats, Pool, ReorderingRetriever, min_max


class MMR(ReorderingRetriever):
    """Maximal marginal relevance: picks items one by one, each relevant and unlike those before it.

    The next item has the largest lambda * relevance - (1 - lambda) * (largest similarity to an item picked
    before), which is also its score (J. Carbonell and J. Goldstein, SIGIR 1998). Relevance is the inner score,
    min-max normalized over the profile; the similarity of two items, which needs no model, is the cosine of
    their sets of lower-cased, blank-separated words: |A and B| / sqrt(|A| |B|).

    Args:
        of: the retriever whose scores are the relevance.
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
        super().__init__(context, of)

    def _reorder(self, example: Example, ranking: Ranking, k: int | None) -> Ranking:
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
        self._n_words = len(numbers)

    def cosines(self, index: int) -> Floats:
        """The similarity of one text to each, shape (n,); 0 where one of the two has no words."""
        mine: NDArray[np.bool_] = np.zeros(self._n_words, dtype=bool)
        mine[self._words[self._owner == index]] = True
        shared = np.bincount(self._owner[mine[self._words]], minlength=len(self._sizes))
        return np.asarray(shared / np.sqrt(np.maximum(self._sizes * self._sizes[index], 1)))


class Decay(ReorderingRetriever):
    """Halves the score of an item with every half-life that it is older than the newest one.

    score = (inner score, moved up so that none is negative) * 0.5 ** (age / half_life), with the age in days
    before the newest item of the profile: the exponential prior of X. Li and W. B. Croft, "Time-based language
    models", CIKM 2003, on the scores of any retriever. Items that score 0 stay at 0, whatever their age.

    Args:
        of: the retriever whose scores decay.
        half_life: days.
    """

    def __init__(self, context: Context, of: str = "bm25", half_life: float = 90.0) -> None:
        if not 0 < half_life < math.inf:
            raise ValueError("half_life is a number of days above 0")
        self._half_life = half_life
        super().__init__(context, of)

    def _reorder(self, example: Example, ranking: Ranking, k: int | None) -> Ranking:
        pool = Pool.of(example, [ranking])
        if not pool.items:
            return Ranking()
        days = np.array([_day(example, item) for item in pool.items])
        scores = np.empty(len(pool.items))
        scores[pool.orders[0]] = ranking.scores
        scores -= min(0.0, scores.min())
        return by_score(pool.items, scores * 0.5 ** ((days.max() - days) / self._half_life), k)


def _day(example: Example, item: Document) -> int:
    """The ordinal of an item's date in days; a missing month or day is the first.

    Raises:
        DataError: the item has no date, or one that is not a day of the calendar.
    """
    try:
        year, month, day, *_ = *str(item.date).partition("T")[0][:10].split("-"), "1", "1"
        return date(int(year), int(month), int(day)).toordinal()
    except ValueError:
        message = f"question {example.id}: item {item.id} has the date {item.date!r}, which decay cannot count from"
        raise DataError(message, "dates are written year-month-day") from None


class Shuffled(ReorderingRetriever):
    """The first k items of a retriever in random order, then the rest as it was: does the order matter?

    The order depends on the seed and the question; scores count down from the number of items.

    Args:
        of: the retriever.
        k: how many items change places.
    """

    def __init__(self, context: Context, of: str = "bm25", k: int = 4) -> None:
        if k < 1:
            raise ValueError("k is at least 1")
        self._seed, self._k = context.seed, k
        super().__init__(context, of)

    def _reorder(self, example: Example, ranking: Ranking, k: int | None) -> Ranking:
        items = list(ranking.items)
        first = items[: self._k]
        random.Random(f"{self._seed}:{example.id}").shuffle(first)
        items[: self._k] = first
        scores = tuple(float(len(items) - place) for place in range(len(items)))
        return Ranking(tuple(items[:k]), scores[:k])
