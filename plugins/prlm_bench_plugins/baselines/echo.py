"""The question itself as the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prlm_bench import Completion, Prompt


class Echo:
    """Answers with the query text: the article as its own headline, the tweet as its own paraphrase."""

    tokenizer = None

    def fingerprint(self) -> str:
        """Nothing to add."""
        return ""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """The query of each prompt's example."""
        for index, prompt in enumerate(prompts):
            yield index, Completion(prompt.example.query, is_answer=True)
