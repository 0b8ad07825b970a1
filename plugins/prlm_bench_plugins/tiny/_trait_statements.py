"""Short statements about the traits of a user of mini-LaMP, each of them true or false."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prlm_bench import Document, Example
from prlm_bench.data.synth import Preferences, answer
from prlm_bench.errors import DataError

#: Statements that are never wrong and never informative.
UNINFORMATIVE = (
    "The request is clear.",
    "The items are of some use.",
    "The user has written before.",
    "The text has several sentences.",
    "The answer is short.",
    "The topic is a common one.",
    "The facts are in the text.",
    "The answer must fit the text.",
)

#: The option of each trait in one text, by trait.
Style = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TraitStatement:
    """States that a user's texts have a trait, on one topic if the trait depends on it."""

    trait: str
    option: str
    topic: str | None = None

    def __str__(self) -> str:
        return "".join(self.parts)

    @property
    def parts(self) -> tuple[str, ...]:
        """Its subject in one or two parts, and what it states of that."""
        if self.topic is None:
            return f"The {self.trait} is", f" {self.option}."
        return f"The {self.trait} on", f" {self.topic} is", f" {self.option}."


class TraitStatements:
    """All statements of a task, made from the traits that are planted in its users and nothing else.

    Args:
        number: the number of the task in mini-LaMP, one whose traits are strings: 4 to 7.
        planted: preferences by user.
    """

    def __init__(self, number: int, planted: Mapping[str, Preferences]) -> None:
        self._number, self._planted = number, planted
        options: dict[str, set[str]] = {}
        #: Topics of the traits that depend on them.
        self._topics: dict[str, list[str]] = {}
        for preferences in planted.values():
            for trait, value in preferences.items():
                match value:
                    case str():
                        options.setdefault(trait, set()).add(value)
                    case Mapping():
                        options.setdefault(trait, set()).update(value.values())
                        self._topics[trait] = sorted(value)
        self._topic_of: dict[str, str | None] = {}
        #: Options by trait.
        self.options = {trait: sorted(known) for trait, known in options.items()}
        self._by_text = {str(statement): statement for statement in self.all()}

    def all(self) -> list[TraitStatement]:
        """Every statement that can be made."""
        return [
            TraitStatement(trait, option, topic)
            for trait, known in self.options.items()
            for topic in self._topics.get(trait, [None])
            for option in known
        ]

    def statement(self, example: Example, trait: str, option: str) -> TraitStatement:
        """States that the user's texts on the question's topic have a trait."""
        return TraitStatement(trait, option, self.topic(example, example.input) if trait in self._topics else None)

    def visible(self, example: Example, items: Iterable[Document]) -> list[TraitStatement]:
        """True statements that items can show: of traits that depend on the topic, those on the items' topics."""
        seen = {self.topic(example, text) for item in items for text in item.fields.values()}
        topics: list[str | None] = [*sorted(filter(None, seen))] or [self.topic(example, example.input)]
        planted = self._planted[example.user]
        return [
            TraitStatement(trait, planted[trait] if topic is None else planted[trait][topic], topic)
            for trait in self.options
            for topic in (topics if trait in self._topics else [None])
        ]

    def is_true(self, example: Example, statement: TraitStatement) -> bool:
        """Whether a statement is true of the question's user."""
        value = self._planted[example.user][statement.trait]
        return bool((value if statement.topic is None else value[statement.topic]) == statement.option)

    def truth(self, example: Example) -> Style:
        """The user's option of each trait, on the topic of the question."""
        planted = self._planted[example.user]
        topic = self.topic(example, example.input)
        return {trait: planted[trait][topic] if trait in self._topics else planted[trait] for trait in self.options}

    def write(self, example: Example, style: Style) -> str:
        """The answer to a question by a user of that style."""
        planted = self._planted[example.user]
        values = {t: dict.fromkeys(self._topics[t], o) if t in self._topics else o for t, o in style.items()}
        return answer(self._number, example.input, {**planted, **values})

    def random_style(self, rng: random.Random) -> Style:
        """Draw a random style."""
        return {trait: rng.choice(known) for trait, known in self.options.items()}

    def parse(self, text: str) -> list[TraitStatement | None]:
        """The statement in each line of a text; None for a line without one."""
        return [self._by_text.get(line.strip()) for line in text.splitlines() if line.strip()]

    def topic(self, example: Example, text: str) -> str | None:
        """The topic of an input or of an item's input text, found by making an answer that shows it.

        None for a text without facts, such as the styled ones.
        """
        if text not in self._topic_of:
            (trait, topics), *_ = self._topics.items()
            marks = {topic: f"@{place}@" for place, topic in enumerate(topics)}
            try:
                shown = answer(self._number, text, {**self._planted[example.user], trait: marks})
            except DataError:
                shown = ""
            found = re.search("@([0-9]+)@", shown)
            self._topic_of[text] = topics[int(found[1])] if found else None
        return self._topic_of[text]


def lines(statements: Iterable[object]) -> str:
    """Statements, one a line."""
    return "".join(f"{statement}\n" for statement in statements)
