"""What the retrieved items say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from prlm_bench import Completion, Prompt
from prlm_bench.interfaces import Context


class Vote:
    """The majority label of the retrieved items (the better-ranked wins a tie), or their mean score."""

    tokenizer = None

    def __init__(self, context: Context) -> None:
        self._field = context.task.answer_field or ""
        self._numbers = context.task.output == "number"

    def fingerprint(self) -> str:
        """Nothing to add."""
        return ""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """One vote for each prompt; blank without items."""
        for index, prompt in enumerate(prompts):
            votes = [item.fields[self._field] for item in prompt.ranking.items]
            yield index, Completion(self._count(votes), is_answer=True)

    def _count(self, votes: list[str]) -> str:
        if not votes:
            return ""
        if self._numbers:
            return str(sum(map(float, votes)) / len(votes))
        return Counter(votes).most_common(1)[0][0]
