"""Retrievers that score no text: no items, random, newest, relevant, and another user's items."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from prlm_bench import Example, Ranking
from prlm_bench.interfaces import Context, Retriever
from prlm_bench.prompting import by_score

from ._dates import date_parts, read_dates


class NoItems:
    """No profile items: the question alone."""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """An empty ranking for each example."""
        return [Ranking()] * len(examples)


class RandomItems:
    """The user's own items in random order, seeded for each question, without replacement.

    The published code bases draw with replacement and without a seed. Here a run can be repeated, and the items
    of a small k are the first items of a larger one.
    """

    def __init__(self, context: Context) -> None:
        self._seed = context.seed

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """A random permutation of each profile, cut to k; scores count down from the profile's length."""
        return [self._shuffle(example, k) for example in examples]

    def _shuffle(self, example: Example, k: int | None) -> Ranking:
        items = list(example.profile)
        random.Random(f"{self._seed}:{example.id}").shuffle(items)
        scores = tuple(float(len(items) - place) for place in range(len(items)))
        return Ranking(tuple(items[:k]), scores[:k])


class Recency:
    """Newest items first, by their dates (year-month-day).

    Args:
        ties: the order of items of one day: `reversed`, the last of the profile first, as LaMP's `rank_profiles.py` has
            them (it sorts by date, which is stable, and reverses); or `profile`, the order of the profile.
    """

    def __init__(self, ties: Literal["reversed", "profile"] = "reversed") -> None:
        self._step = 1 if ties == "profile" else -1

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; the score of an item is the rank of its date, 0 for the oldest.

        Raises:
            DataError: an item has no date, or one that is not made of numbers.
        """
        return [self._newest(example, k) for example in examples]

    def _newest(self, example: Example, k: int | None) -> Ranking:
        profile = example.profile[:: self._step]
        dates = read_dates(example, profile, date_parts, "which recency cannot order")
        order = {date: place for place, date in enumerate(sorted(set(dates)))}
        return by_score(profile, [order[date] for date in dates], k)


class Oracle:
    """The recorded relevant items first, then the rest, both in profile order."""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; relevant items score 1, others 0."""
        return [
            by_score(example.profile, [float(item.id in (example.relevant or ())) for item in example.profile], k)
            for example in examples
        ]


class OtherUser:
    """Items of another user, chosen for each question by the seed, ranked by any retriever.

    This control separates what the user's own items bring from what more text of the same kind brings.

    Args:
        by: the retriever that ranks the other user's items for the question, as a spec.
    """

    def __init__(self, context: Context, by: str = "random") -> None:
        self._dataset = context.dataset
        self._seed = context.seed
        self._inner: Retriever = context.build("retriever", by)

    def rank(self, examples: Sequence[Example], k: int | None = None) -> Sequence[Ranking]:
        """Rank the other user's profile for each example's own query.

        Raises:
            ValueError: the data set has a single user.
        """
        swapped = [replace(example, profile=self._other(example).profile) for example in examples]
        return self._inner.rank(swapped, k)

    def _other(self, example: Example) -> Example:
        users = self._dataset.users
        start = random.Random(f"{self._seed}:{example.id}").randrange(len(users))
        for step in range(len(users)):
            index = (start + step) % len(users)
            if users[index] != example.user:
                return self._dataset.example(index)
        raise ValueError("there is only one user")
