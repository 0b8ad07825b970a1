"""What can be said of a user of mini-LaMP in a short statement that is true or false."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prlm_bench import Document, Example
from prlm_bench.data.synth import Preferences, answer
from prlm_bench.errors import DataError

#: Statements that are never wrong and never of use.
IDLE = (
    "The request is clear.",
    "The items are of some use.",
    "The user has written before.",
    "The text has several sentences.",
    "The answer is short.",
    "The topic is a common one.",
    "The facts are in the text.",
    "The answer must fit the text.",
)

#: The option of each trait, in one text: (trait, option) pairs.
Style = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Claim:
    """That a user's texts, on a topic where the trait depends on it, have a trait."""

    trait: str
    option: str
    topic: str | None = None

    def __str__(self) -> str:
        return "".join(self.parts)

    @property
    def parts(self) -> tuple[str, ...]:
        """What it is about, and what it says of that."""
        if self.topic is None:
            return f"The {self.trait} is", f" {self.option}."
        return f"The {self.trait} on", f" {self.topic} is", f" {self.option}."


class Claims:
    """All claims of a task: built of the traits that are planted in its users, and of nothing else.

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
        self._by_text = {str(claim): claim for claim in self.all()}

    def all(self) -> list[Claim]:
        """Every claim that can be made."""
        return [
            Claim(trait, option, topic)
            for trait, known in self.options.items()
            for topic in self._topics.get(trait, [None])
            for option in known
        ]

    def claim(self, example: Example, trait: str, option: str) -> Claim:
        """The claim that the user's texts on the question's topic have a trait."""
        return Claim(trait, option, self.topic(example, example.input) if trait in self._topics else None)

    def habits(self, example: Example, items: Iterable[Document]) -> list[Claim]:
        """What is true of the user and can show in the items: a trait by topic on the topics that they are about."""
        seen = {self.topic(example, text) for item in items for text in item.fields.values()}
        topics: list[str | None] = [*sorted(filter(None, seen))] or [self.topic(example, example.input)]
        planted = self._planted[example.user]
        return [
            Claim(trait, planted[trait] if topic is None else planted[trait][topic], topic)
            for trait in self.options
            for topic in (topics if trait in self._topics else [None])
        ]

    def holds(self, example: Example, claim: Claim) -> bool:
        """Whether a claim is true of the user who asks."""
        value = self._planted[example.user][claim.trait]
        return bool((value if claim.topic is None else value[claim.topic]) == claim.option)

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

    def guess(self, rng: random.Random) -> Style:
        """A style as it falls."""
        return {trait: rng.choice(known) for trait, known in self.options.items()}

    def read(self, text: str) -> list[Claim | None]:
        """The claim that each line of a text makes; None for a line that makes none."""
        return [self._by_text.get(line.strip()) for line in text.splitlines() if line.strip()]

    def topic(self, example: Example, text: str) -> str | None:
        """The topic of an input or of the told text of an item, found by asking for an answer that shows it.

        None for a text that tells no facts, as the styled ones.
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
