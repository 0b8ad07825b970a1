"""The prompts of one call of a generator, numbered as it draws them, and those that it has not answered yet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from ..host import WrongResultError
from ..interfaces import Generator
from ..records import Prompt


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt that a cell asks."""

    cell: int
    prompt: Prompt
    retrieval: dict[str, float]


class Feed:
    """An iterator of prompts that remembers what was drawn. Both `generate` and `stream` get their prompts from one.

    Args:
        questions: what to ask; None among them ends this feed, and another one goes on with the rest.
    """

    def __init__(self, questions: Iterator[Question | None]) -> None:
        self._questions = questions
        #: What is unanswered, by number.
        self.unanswered: dict[int, Question] = {}
        #: Prompts that were drawn, and seconds that it took to make them.
        self.drawn, self.seconds = 0, 0.0
        #: Whether this feed has ended, whether all questions have, and what went wrong where they come from.
        self.closed = self.ended = False
        self.broken: Exception | None = None

    def __iter__(self) -> Iterator[Prompt]:
        return self

    def __next__(self) -> Prompt:
        question = None if self.closed else self._next()
        if question is None:
            self.closed = True
            raise StopIteration
        self.unanswered[self.drawn] = question
        self.drawn += 1
        return question.prompt

    def _next(self) -> Question | None:
        began = time.perf_counter()
        try:
            return next(self._questions)
        except StopIteration:
            self.ended = True
        except Exception as error:  # raised after the stream: it would look like the generator's
            self.ended, self.broken = True, error
        finally:
            self.seconds += time.perf_counter() - began
        return None

    def answered(self, number: int, by: Generator) -> Question:
        """The question of a number, which a generator answers now.

        Raises:
            WrongResultError: there is none, or it was answered before.
        """
        question = self.unanswered.pop(number, None)
        if question is None:
            raise _wrong(f"answered prompt {number} twice, or it does not exist", by)
        return question

    def check(self, by: Generator) -> None:
        """Check that every prompt was drawn and answered.

        Raises:
            WrongResultError: some were not.
        """
        if next(self, None) is not None and len(self.unanswered) == 1:
            raise _wrong("ended before it had taken every prompt", by)
        if self.unanswered:
            raise _wrong(f"left {len(self.unanswered)} of {self.drawn} prompts without an answer", by)


def _wrong(what: str, generator: Generator) -> WrongResultError:
    return WrongResultError(what, getattr(generator, "inner", generator), "generate")
