"""The truly relevant items, where they are known."""

from __future__ import annotations

from collections.abc import Sequence

from prlm_bench import Example, Ranking
from prlm_bench.prompting import by_score


class Oracle:
    """The recorded relevant items first, then the rest, both in profile order."""

    def fingerprint(self) -> str:
        """Nothing to add."""
        return ""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; relevant items score 1, others 0."""
        return [
            by_score(example.profile, [float(item.id in (example.relevant or ())) for item in example.profile], k)
            for example in examples
        ]
