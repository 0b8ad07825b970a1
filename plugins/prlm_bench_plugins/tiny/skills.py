"""What the tiny reasoner learns from: single skills, and the use of all of them in one prompt."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, islice
from types import SimpleNamespace
from typing import Any

from prlm_bench import Document, Example, Ranking
from prlm_bench.interfaces import Context, Reasoner
from prlm_bench.prompting import WordTokenizer, chat_prompt

from .books import Book
from .claims import IDLE, Claims, Style, lines
from .lessons import Lesson, choose, written
from .reasoner_recipe import ReasonerRecipe

#: What the lesson of habits asks for, in place of the answer.
_HABITS = "Say how this user would write the answer, one habit a line."
#: What all prompts of lessons have room for.
_ROOM = 1 << 20
_WORDS = WordTokenizer()
_READER: Any = SimpleNamespace(tokenizer=_WORDS)


class Skills:
    """Makes lessons of one task.

    Args:
        book: the questions.
        claims: what can be said of their users.
        context: builds the reasoners whose prompts the lessons have.
        recipe: how often which lesson comes.
    """

    def __init__(self, book: Book, claims: Claims, context: Context, recipe: ReasonerRecipe) -> None:
        self.book, self.claims, self.recipe = book, claims, recipe
        self._chat = book.task.prompts.chat
        self._direct: Reasoner = context.build("reasoner", "direct:protocol=chat")
        self._explicit: Reasoner = context.build("reasoner", "prlm")
        self.truth: Callable[[int], Style] = cache(lambda index: claims.truth(book.examples[index]))
        self.kinds: Mapping[str, Callable[[int, random.Random], Lesson]] = {
            "notes": self.notes,
            "habits": self.habits,
            "answer": self.answer,
            "direct": self.direct,
            "trace": self.trace,
        }

    def lessons(self, shares: Mapping[str, float]) -> Iterator[Lesson]:
        """Lessons without end, of the kinds that are named, in shares of such weights."""
        rng = random.Random(f"lessons {self.recipe.seed} {sorted(shares)}")
        for kind in iter(lambda: rng.choices(list(shares), list(shares.values()))[0], ""):
            yield self.kinds[kind](rng.randrange(len(self.book.examples)), rng)

    def prompt(self, reasoner: str, example: Example, items: Sequence[Document]) -> str:
        """A prompt of `direct` or `prlm`, as those reasoners make it."""
        ranking = Ranking(tuple(items), (0.0,) * len(items))
        asked = {"direct": self._direct, "prlm": self._explicit}[reasoner]
        return asked.prompts([example], [ranking], _READER)[0].text

    def items(self, example: Example, counts: Sequence[tuple[int, float]], rng: random.Random) -> Sequence[Document]:
        """Items of the user, mostly those that bear on the question; which and how many, by weight."""
        chosen = self.recipe.chosen
        (choice,) = rng.choices(list(chosen), list(chosen.values()))
        numbers, weights = zip(*counts, strict=True)
        (count,) = rng.choices(numbers, weights)
        return choose(example, choice, count, rng)

    def notes(self, index: int, rng: random.Random) -> Lesson:
        """The answer in a style that the prompt states, whoever asks."""
        example, style = self.book.examples[index], self.claims.guess(rng)
        notes = [self.claims.claim(example, *pair) for pair in style.items()]
        block = lines(rng.sample(notes, len(notes))).rstrip("\n")
        prompt = chat_prompt(self._chat, example, Ranking(), _WORDS, _ROOM, block=block).text
        return self._lesson(prompt, self._object(self.claims.write(example, style)))

    def habits(self, index: int, rng: random.Random) -> Lesson:
        """All claims that are true of the user, from the items."""
        example = self.book.examples[index]
        items = self.items(example, self.recipe.read, rng)
        ranking = Ranking(tuple(items), (0.0,) * len(items))
        asked = self._chat.model_copy(update={"ask": _HABITS})
        prompt = chat_prompt(asked, example, ranking, _WORDS, _ROOM).text
        habits = self.claims.habits(example, items)
        return self._lesson(prompt, lines(rng.sample(habits, len(habits))), items)

    def answer(self, index: int, rng: random.Random) -> Lesson:
        """The answer without items."""
        example = self.book.examples[index]
        return self._lesson(self.prompt("direct", example, ()), self._object(example.gold or ""))

    def direct(self, index: int, rng: random.Random) -> Lesson:
        """The answer from the items at once."""
        example = self.book.examples[index]
        items = self.items(example, self.recipe.items, rng)
        return self._lesson(self.prompt("direct", example, items), self._object(example.gold or ""), items)

    def trace(self, index: int, rng: random.Random) -> Lesson:
        """Reasoning, mostly idle, and the answer that follows from what it states."""
        example, recipe = self.book.examples[index], self.recipe
        said: Style = {}
        statements: list[object] = [*rng.sample(IDLE, rng.randint(*recipe.statements))]
        traits = rng.sample(list(self.claims.options), len(self.claims.options))
        for place in range(len(statements)):
            if traits and rng.random() < recipe.useful:
                trait = traits.pop()
                option = self.truth(index)[trait]
                if rng.random() < recipe.wrong:
                    option = rng.choice(self.claims.options[trait])
                statements[place] = self.claims.claim(example, trait, option)
                said = {**said, trait: option}
        text = self.claims.write(example, {**self.claims.guess(rng), **said})
        items = self.items(example, recipe.items, rng)
        prompt = self.prompt("prlm", example, items)
        return self._lesson(prompt, f"{lines(statements)}</think>\n{self._object(text)}", items)

    def frames(self) -> Iterator[str]:
        """Fixed strings of prompts and completions, and all statements."""
        yield from (lines([statement]) for statement in IDLE)
        # In parts, so that the model says what it looks for before it has to have found it.
        for *subject, option in (claim.parts for claim in self.claims.all()):
            yield from (*subject, f"{option}\n")
        yield from (_HABITS, f"</think>\n{{'{self._chat.key}': '")
        one, other = self.book.examples[0], self.book.examples[-1]
        for reasoner in ("direct", "prlm"):
            shared = self.prompt(reasoner, one, ()).split("\n")
            yield from set(shared) & set(self.prompt(reasoner, other, ()).split("\n"))

    def _object(self, text: str) -> str:
        return repr({self._chat.key: text})

    def _lesson(self, prompt: str, answer: str, items: Sequence[Document] = ()) -> Lesson:
        field = self.book.task.answer_field or self._chat.long
        return Lesson(prompt, answer, written(prompt, items, field), False)


def course(tasks: Sequence[Skills]) -> Iterator[Lesson]:
    """Lessons without end, of all tasks in turn: single skills first, then everything."""
    recipe = tasks[0].recipe
    first, second = round(recipe.writing_until * recipe.steps), round(recipe.reading_until * recipe.steps)

    def in_turn(shares: Mapping[str, float]) -> Iterator[Lesson]:
        return chain.from_iterable(zip(*(skills.lessons(shares) for skills in tasks), strict=True))

    yield from islice(in_turn(recipe.writing), first * recipe.batch)
    yield from islice(in_turn(recipe.reading), (second - first) * recipe.batch)
    yield from in_turn(recipe.mix)
