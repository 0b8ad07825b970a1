"""Solved examples of other users, for prompts that show how a question is answered."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from prlm_bench import Example
from prlm_bench.errors import RunError
from prlm_bench.interfaces import Context, Tokenizer

_HEADING = "Solved examples of other users:"


class Shots:
    """Questions of the train split with their reference answers, without the items of their users.

    Which ones a question gets depends on the run's seed and the question's id alone; none is of the question's own
    user.

    Args:
        context: of the run.
        count: examples for each question, at least 1; fewer where other users have not as many.

    Raises:
        RunError: there is no train split with reference answers.
    """

    def __init__(self, context: Context, count: int) -> None:
        train = context.dataset.sibling("train")
        known = [place for place, gold in enumerate(train.golds) if gold is not None] if train is not None else []
        if train is None or not known:
            message = f"shots={count} shows solved examples of the train split, and {context.task.name} has none here"
            raise RunError(message, "put the questions and outputs of train beside the other splits, or shots=0")
        self._train, self._known, self._count, self._seed = train, known, count, context.seed
        self._users = Counter(train.users[place] for place in known)

    def fingerprint(self) -> str:
        """The train split and the seed."""
        return f"train={self._train.fingerprint()} seed={self._seed}"

    def block(self, example: Example, key: str | None, tokenizer: Tokenizer, room: int) -> str:
        """The examples for a question as a paragraph, the last ones left out where they do not fit; "" for none.

        Args:
            example: the question.
            key: of the answer object that answers are shown in; None for the answer itself.
            tokenizer: counts.
            room: tokens that the paragraph may have.
        """
        solved = [self._solved(place, key) for place in self._places(example)]
        while solved:
            text = "\n\n".join([_HEADING, *solved])
            if tokenizer.count(text) <= room:
                return text
            solved.pop()
        return ""

    def _places(self, example: Example) -> Sequence[int]:
        rng = random.Random(f"shots {self._seed} {example.id}")
        wanted = min(self._count, len(self._known) - self._users[example.user])
        found: dict[int, None] = {}
        while len(found) < wanted:
            place = self._known[rng.randrange(len(self._known))]
            if self._train.users[place] != example.user:
                found[place] = None
        return list(found)

    def _solved(self, place: int, key: str | None) -> str:
        example = self._train.example(place)
        answer = example.gold if key is None else repr({key: example.gold})
        return f"{example.input}\n{answer}"
