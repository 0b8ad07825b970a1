"""Another user's profile: the control that separates personal text from more text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from prlm_bench import Example, Ranking
from prlm_bench.interfaces import Context, Retriever


class OtherUser:
    """Items of another user, chosen for each question by the seed, ranked by any retriever.

    Args:
        by: the retriever that ranks the other user's items for the question, as a spec.
    """

    def __init__(self, context: Context, by: str = "random") -> None:
        self._dataset = context.dataset
        self._seed = context.seed
        self._inner: Retriever = context.build("retriever", by)

    def fingerprint(self) -> str:
        """That of the inner retriever."""
        return self._inner.fingerprint()

    def rank(self, examples: Sequence[Example], k: int | None = None) -> Sequence[Ranking]:
        """Rank the other user's profile for each example's own query."""
        strangers = [replace(example, profile=self._stranger(example).profile) for example in examples]
        return self._inner.rank(strangers, k)

    def _stranger(self, example: Example) -> Example:
        users = self._dataset.users
        start = random.Random(f"{self._seed}:{example.id}").randrange(len(users))
        for step in range(len(users)):
            index = (start + step) % len(users)
            if users[index] != example.user:
                return self._dataset.example(index)
        raise ValueError("there is only one user")
