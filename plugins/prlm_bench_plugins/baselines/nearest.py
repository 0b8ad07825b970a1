"""The candidate that is most like the user's items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prlm_bench import Completion, Prompt
from prlm_bench.interfaces import Context


class Nearest:
    """Chooses between the candidates that a question names (LaMP_1: two papers) by shared words.

    The candidate whose words are covered most by the retrieved items wins; the first one wins a tie.
    Words are lower-cased and separated by blanks.
    """

    tokenizer = None

    def __init__(self, context: Context) -> None:
        self._task = context.task

    def fingerprint(self) -> str:
        """Nothing to add."""
        return ""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """One label for each prompt."""
        for index, prompt in enumerate(prompts):
            known = {word for item in prompt.ranking.items for word in item.text.lower().split()}
            covered = [self._share(part, known) for part in self._task.query.parts(prompt.example.input)]
            yield index, Completion(self._task.labels[covered.index(max(covered))], is_answer=True)

    @staticmethod
    def _share(candidate: str, known: set[str]) -> float:
        words = set(candidate.lower().split())
        return len(words & known) / len(words) if words else 0.0
