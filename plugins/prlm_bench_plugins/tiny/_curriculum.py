"""Training examples of the tiny reasoner: of single skills first, then of all of them in one prompt."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, islice
from types import SimpleNamespace
from typing import Any

from prlm_bench import Document, Example, Ranking
from prlm_bench.interfaces import Context, Reasoner
from prlm_bench.prompting import chat_prompt

from ._recipe import TinyReasonerRecipe
from ._training_examples import BUDGET, WORDS, TaskData, TrainingExample, choose_items, written_spans
from ._trait_statements import UNINFORMATIVE, Style, TraitStatements, lines

#: What examples of habits ask for in place of the answer.
_HABITS = "Say how this user would write the answer, one habit a line."
#: Stands for the generator when reasoners make prompts.
_GENERATOR: Any = SimpleNamespace(tokenizer=WORDS)


class Curriculum:
    """Makes training examples of one task.

    Args:
        data: the questions.
        statements: about their users.
        context: builds the reasoners whose prompts are used.
        recipe: has the shares of the kinds of examples.
    """

    def __init__(
        self, data: TaskData, statements: TraitStatements, context: Context, recipe: TinyReasonerRecipe
    ) -> None:
        self.data, self.statements, self.recipe = data, statements, recipe
        self._chat = data.task.prompts.chat
        self._direct: Reasoner = context.build("reasoner", "direct:protocol=chat")
        self._explicit: Reasoner = context.build("reasoner", "prlm")
        self.truth: Callable[[int], Style] = cache(lambda index: statements.truth(data.examples[index]))
        self.kinds: Mapping[str, Callable[[int, random.Random], TrainingExample]] = {
            "notes": self.notes,
            "habits": self.habits,
            "answer": self.answer,
            "direct": self.direct,
            "trace": self.trace,
        }

    def examples(self, shares: Mapping[str, float]) -> Iterator[TrainingExample]:
        """Endless training examples, their kinds drawn by weight."""
        rng = random.Random(f"lessons {self.recipe.seed} {sorted(shares)}")
        for kind in iter(lambda: rng.choices(list(shares), list(shares.values()))[0], ""):
            yield self.kinds[kind](rng.randrange(len(self.data.examples)), rng)

    def prompt(self, reasoner: str, example: Example, items: Sequence[Document]) -> str:
        """A prompt of `direct` or `prlm`, as those reasoners make it."""
        ranking = Ranking(tuple(items), (0.0,) * len(items))
        made = {"direct": self._direct, "prlm": self._explicit}[reasoner]
        return made.prompts([example], [ranking], _GENERATOR)[0].text

    def items(self, example: Example, counts: Sequence[tuple[int, float]], rng: random.Random) -> Sequence[Document]:
        """Items of the user, mostly relevant ones; the choice and the number are drawn by weight."""
        chosen = self.recipe.chosen
        (choice,) = rng.choices(list(chosen), list(chosen.values()))
        numbers, weights = zip(*counts, strict=True)
        (count,) = rng.choices(numbers, weights)
        return choose_items(example, choice, count, rng)

    def notes(self, index: int, rng: random.Random) -> TrainingExample:
        """The answer in a style that the prompt states, whoever asks."""
        example, style = self.data.examples[index], self.statements.random_style(rng)
        notes = [self.statements.statement(example, *pair) for pair in style.items()]
        block = lines(rng.sample(notes, len(notes))).rstrip("\n")
        prompt = chat_prompt(self._chat, example, Ranking(), WORDS, BUDGET, block=block).text
        return self._example(prompt, self._object(self.statements.write(example, style)))

    def habits(self, index: int, rng: random.Random) -> TrainingExample:
        """All true statements about the user that the items can show."""
        example = self.data.examples[index]
        items = self.items(example, self.recipe.read, rng)
        ranking = Ranking(tuple(items), (0.0,) * len(items))
        chat = self._chat.model_copy(update={"ask": _HABITS})
        prompt = chat_prompt(chat, example, ranking, WORDS, BUDGET).text
        habits = self.statements.visible(example, items)
        return self._example(prompt, lines(rng.sample(habits, len(habits))), items)

    def answer(self, index: int, rng: random.Random) -> TrainingExample:
        """The answer without items."""
        example = self.data.examples[index]
        return self._example(self.prompt("direct", example, ()), self._object(example.gold or ""))

    def direct(self, index: int, rng: random.Random) -> TrainingExample:
        """The answer from the items at once."""
        example = self.data.examples[index]
        items = self.items(example, self.recipe.items, rng)
        return self._example(self.prompt("direct", example, items), self._object(example.gold or ""), items)

    def trace(self, index: int, rng: random.Random) -> TrainingExample:
        """Reasoning, mostly uninformative, and the answer that follows from its statements."""
        example, recipe = self.data.examples[index], self.recipe
        stated: Style = {}
        statements: list[object] = [*rng.sample(UNINFORMATIVE, rng.randint(*recipe.statements))]
        traits = rng.sample(list(self.statements.options), len(self.statements.options))
        for place in range(len(statements)):
            if traits and rng.random() < recipe.useful:
                trait = traits.pop()
                option = self.truth(index)[trait]
                if rng.random() < recipe.wrong:
                    option = rng.choice(self.statements.options[trait])
                statements[place] = self.statements.statement(example, trait, option)
                stated = {**stated, trait: option}
        text = self.statements.write(example, {**self.statements.random_style(rng), **stated})
        items = self.items(example, recipe.items, rng)
        prompt = self.prompt("prlm", example, items)
        return self._example(prompt, f"{lines(statements)}</think>\n{self._object(text)}", items)

    def frames(self) -> Iterator[str]:
        """Fixed strings of prompts and completions, and all statements."""
        yield from (lines([statement]) for statement in UNINFORMATIVE)
        # In parts, so that the model writes the subject before it has to know the option.
        for *subject, option in (statement.parts for statement in self.statements.all()):
            yield from (*subject, f"{option}\n")
        yield from (_HABITS, f"</think>\n{{'{self._chat.key}': '")
        one, other = self.data.examples[0], self.data.examples[-1]
        for reasoner in ("direct", "prlm"):
            shared = self.prompt(reasoner, one, ()).split("\n")
            yield from set(shared) & set(self.prompt(reasoner, other, ()).split("\n"))

    def _object(self, text: str) -> str:
        return repr({self._chat.key: text})

    def _example(self, prompt: str, answer: str, items: Sequence[Document] = ()) -> TrainingExample:
        field = self.data.task.answer_field or self._chat.long
        return TrainingExample(prompt, answer, written_spans(prompt, items, field), False)


def staged_examples(tasks: Sequence[Curriculum]) -> Iterator[TrainingExample]:
    """Endless training examples of all tasks in turn: writing first, then reading, then the mix."""
    recipe = tasks[0].recipe
    first, second = round(recipe.writing_until * recipe.steps), round(recipe.reading_until * recipe.steps)

    def in_turn(shares: Mapping[str, float]) -> Iterator[TrainingExample]:
        return chain.from_iterable(zip(*(task.examples(shares) for task in tasks), strict=True))

    yield from islice(in_turn(recipe.writing), first * recipe.batch)
    yield from islice(in_turn(recipe.reading), (second - first) * recipe.batch)
    yield from in_turn(recipe.mix)
