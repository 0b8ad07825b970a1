"""Generators without a model: they answer from the question, the retrieved items or the training golds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from prlm_bench import Completion, Prompt
from prlm_bench.interfaces import Context


class Echo:
    """Answers with the query text: the article as its own headline, the tweet as its own paraphrase."""

    tokenizer = None

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """The query of each prompt's example."""
        for index, prompt in enumerate(prompts):
            yield index, Completion(prompt.example.query, is_answer=True)


class Constant:
    """Answers every question with the most frequent gold of the training split.

    Raises:
        ValueError: there is no training split with golds.
    """

    tokenizer = None

    def __init__(self, context: Context) -> None:
        train = context.dataset.sibling("train")
        golds = Counter(gold for gold in train.golds if gold is not None) if train else Counter[str]()
        if not golds:
            raise ValueError("there is no training split with golds")
        self._answer = golds.most_common(1)[0][0]

    def fingerprint(self) -> str:
        """The answer, since it comes from another split than the one that is run."""
        return self._answer

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """The majority answer, once for each prompt."""
        for index in range(len(prompts)):
            yield index, Completion(self._answer, is_answer=True)


class Copy:
    """Answers with the answer field (title, tag, score) of the top-ranked item; blank without items."""

    tokenizer = None

    def __init__(self, context: Context) -> None:
        self._field = context.task.answer_field

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """The answer field of each prompt's first item."""
        for index, prompt in enumerate(prompts):
            items = prompt.ranking.items
            yield index, Completion(items[0].fields[self._field or ""] if items else "", is_answer=True)


class Nearest:
    """Chooses between the candidates that a question names (LaMP_1: two papers) by shared words.

    The candidate with the largest share of its words in the retrieved items wins; the first one wins a tie.
    Words are lower-cased and separated by white space.
    """

    tokenizer = None

    def __init__(self, context: Context) -> None:
        self._task = context.task

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


class Vote:
    """The majority label of the retrieved items (the better-ranked wins a tie), or their mean score."""

    tokenizer = None

    def __init__(self, context: Context) -> None:
        self._field = context.task.answer_field or ""
        self._is_number = context.task.output == "number"

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """One vote for each prompt; blank without items."""
        for index, prompt in enumerate(prompts):
            votes = [item.fields[self._field] for item in prompt.ranking.items]
            yield index, Completion(self._count(votes), is_answer=True)

    def _count(self, votes: list[str]) -> str:
        if not votes:
            return ""
        if self._is_number:
            return str(sum(map(float, votes)) / len(votes))
        return Counter(votes).most_common(1)[0][0]
