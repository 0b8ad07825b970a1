"""Random items of the user's own profile."""

from __future__ import annotations

import random
from collections.abc import Sequence

from prlm_bench import Example, Ranking
from prlm_bench.interfaces import Context


class RandomItems:
    """The user's own items in random order, seeded for each question, without replacement.

    The published code bases draw with replacement and without a seed; here a run can be repeated, and the
    items for a small k are the first of those for a large one.
    """

    def __init__(self, context: Context) -> None:
        self._seed = context.seed

    def fingerprint(self) -> str:
        """The seed is part of every run's identity already."""
        return ""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """A random permutation of each profile, cut to k; scores count down from its length."""
        return [self._shuffle(example, k) for example in examples]

    def _shuffle(self, example: Example, k: int | None) -> Ranking:
        items = list(example.profile)
        random.Random(f"{self._seed}:{example.id}").shuffle(items)
        scores = tuple(float(len(items) - place) for place in range(len(items)))
        return Ranking(tuple(items[:k]), scores[:k])
