"""No profile at all."""

from __future__ import annotations

from collections.abc import Sequence

from prlm_bench import Example, Ranking


class NoItems:
    """No profile items: the question alone."""

    def fingerprint(self) -> str:
        """Nothing to add."""
        return ""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """An empty ranking for each example."""
        return [Ranking()] * len(examples)
