"""The `decay` retriever: older items count less."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

import numpy as np

from prlm_bench import Document, Example, Ranking
from prlm_bench.errors import DataError
from prlm_bench.interfaces import Context
from prlm_bench.prompting import by_score

from .inner import Inner, Pool


class Decay:
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
        self._inner = Inner(context, of)

    def fingerprint(self) -> str:
        """That of the inner retriever."""
        return self._inner.fingerprint()

    def cache_bytes(self) -> int | None:
        """Bytes that the inner retriever keeps on disk, if it tells."""
        return self._inner.cache_bytes()

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile.

        Raises:
            DataError: an item has no date, or one that is not a day of the calendar.
        """
        rankings = self._inner.rank(examples)
        return [self._aged(example, ranking, k) for example, ranking in zip(examples, rankings, strict=True)]

    def _aged(self, example: Example, ranking: Ranking, k: int | None) -> Ranking:
        pool = Pool.of(example, [ranking])
        if not pool.items:
            return Ranking()
        days = np.array([_day(example, item) for item in pool.items])
        scores = np.empty(len(pool.items))
        scores[pool.orders[0]] = ranking.scores
        scores -= min(0.0, scores.min())
        return by_score(pool.items, scores * 0.5 ** ((days.max() - days) / self._half_life), k)


def _day(example: Example, item: Document) -> int:
    """The day of an item's date, counted in days; a missing month or day is the first."""
    try:
        year, month, day, *_ = *str(item.date).partition("T")[0][:10].split("-"), "1", "1"
        return date(int(year), int(month), int(day)).toordinal()
    except ValueError:
        message = f"question {example.id}: item {item.id} has the date {item.date!r}, which decay cannot count from"
        raise DataError(message, "dates are written year-month-day") from None
