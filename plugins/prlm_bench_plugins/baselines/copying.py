"""What the user answered for the most similar item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prlm_bench import Completion, Prompt
from prlm_bench.interfaces import Context


class Copy:
    """Answers with the answer field (title, tag, score) of the top-ranked item; blank without items."""

    tokenizer = None

    def __init__(self, context: Context) -> None:
        self._field = context.task.answer_field

    def fingerprint(self) -> str:
        """Nothing to add."""
        return ""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """The answer field of each prompt's first item."""
        for index, prompt in enumerate(prompts):
            items = prompt.ranking.items
            yield index, Completion(items[0].fields[self._field or ""] if items else "", is_answer=True)
