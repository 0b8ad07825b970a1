"""Writing style as planted traits, and the tasks whose gold is content said in the user's style (4 to 7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ._config import SynthConfig
from ._family import THEMES_PER_USER, Facts, Preferences, Question, Rng, Style, endless


@dataclass(frozen=True, slots=True)
class Traits:
    """The traits of one task.

    Args:
        topics: all topics; a user writes about three of them.
        signatures: as many words as topics; a user has one of them for each topic.
        habits: options by trait; a user has one option of each, in all texts.
        leaning: name and two sides of the aggregated trait, which an item shows with the set strength only.
    """

    topics: Sequence[str]
    signatures: Sequence[str]
    habits: Mapping[str, Sequence[str]]
    leaning: tuple[str, tuple[str, str]]

    def plant(self, rng: Rng) -> Preferences:
        """The preferences of one user; signature words are there for every topic."""
        name, sides = self.leaning
        return {
            "topics": rng.shuffled(self.topics)[:THEMES_PER_USER],
            "signature": dict(zip(self.topics, rng.shuffled(self.signatures), strict=True)),
            **{habit: rng.pick(options) for habit, options in self.habits.items()},
            name: rng.pick(sides),
        }

    def own(self, preferences: Preferences, topic: str) -> Style:
        """The user's style on `topic`, without noise."""
        return {**preferences, "signature": preferences["signature"][topic]}

    def shown(self, preferences: Preferences, topic: str, rng: Rng, config: SynthConfig) -> Style:
        """The style of one profile item: now and then a trait is random, and the leaning fails at times."""
        style = dict(self.own(preferences, topic))
        for trait, options in {"signature": self.signatures, **self.habits}.items():
            if rng.chance(config.noise):
                style[trait] = rng.pick(options)
        name, sides = self.leaning
        if not rng.chance(config.strength):
            style[name] = sides[1] if style[name] == sides[0] else sides[0]
        return style


class Genre(Protocol):
    """A kind of text: what it says, how it is told in the input, and how it reads in a style."""

    @property
    def instruction(self) -> str:
        """What the input says before the text."""
        ...

    @property
    def fields(self) -> tuple[str | None, str]:
        """Item fields that hold the told text and the styled one; None where the told text is not kept."""
        ...

    @property
    def traits(self) -> Traits:
        """The traits that the styled text shows."""
        ...

    def facts(self, topic: str, rng: Rng) -> Facts:
        """Something to tell about `topic`; holds the topic itself."""
        ...

    def tell(self, facts: Facts, rng: Rng) -> str:
        """The text of the input: says all facts and shows nothing of the user."""
        ...

    def read(self, text: str) -> Facts:
        """The facts that `tell` put into a text."""
        ...

    def render(self, facts: Facts, style: Style) -> str:
        """The answer: the facts in a style."""
        ...


class StyledTask:
    """The task (see `Family`) of writing a genre's texts in the user's style."""

    def __init__(self, number: int, genre: Genre) -> None:
        self.number = number
        self._genre = genre

    def preferences(self, rng: Rng) -> Preferences:
        """Topics, signature words, habits and the leaning."""
        return self._genre.traits.plant(rng)

    def themes(self, preferences: Preferences, rng: Rng, config: SynthConfig) -> Iterator[str]:
        """The user's topics in rounds."""
        return endless(preferences["topics"], rng)

    def item(self, preferences: Preferences, theme: str, rng: Rng, config: SynthConfig) -> dict[str, str]:
        """A told text and its styled version, or the styled one alone."""
        facts = self._genre.facts(theme, rng)
        style = self._genre.traits.shown(preferences, theme, rng, config)
        told, styled = self._genre.fields
        fields = {} if told is None else {told: self._genre.tell(facts, rng)}
        return {**fields, styled: self._genre.render(facts, style)}

    def question(self, preferences: Preferences, rng: Rng) -> Question:
        """A told text on one of the user's topics."""
        topic = rng.pick(preferences["topics"])
        facts = self._genre.facts(topic, rng)
        text = f"{self._genre.instruction} {self._genre.tell(facts, rng)}"
        return Question((topic,), text, self._genre.render(facts, self._genre.traits.own(preferences, topic)))

    def answer(self, text: str, preferences: Preferences) -> str:
        """The text's facts in the style of `preferences`."""
        facts = self._genre.read(text.removeprefix(self._genre.instruction))
        return self._genre.render(facts, self._genre.traits.own(preferences, facts["topic"]))
