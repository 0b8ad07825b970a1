"""The user's newest items."""

from __future__ import annotations

from collections.abc import Sequence

from prlm_bench import Document, Example, Ranking
from prlm_bench.errors import DataError
from prlm_bench.prompting import by_score


class Recency:
    """Newest items first, by their dates (year-month-day); items of one day in profile order."""

    def fingerprint(self) -> str:
        """Nothing to add."""
        return ""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; the score of an item is its place in time, 0 for the oldest day.

        Raises:
            DataError: an item has no date, or one that is not made of numbers.
        """
        return [self._newest(example, k) for example in examples]

    def _newest(self, example: Example, k: int | None) -> Ranking:
        days = [_day(example, item) for item in example.profile]
        places = {day: place for place, day in enumerate(sorted(set(days)))}
        return by_score(example.profile, [places[day] for day in days], k)


def _day(example: Example, item: Document) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in str(item.date).split("-"))
    except ValueError:
        message = f"question {example.id}: item {item.id} has the date {item.date!r}, which recency cannot order"
        raise DataError(message, "dates are written year-month-day") from None
