"""What each of the seven tasks provides: preferences, profile items, questions, and the truth about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ._config import SynthConfig
from ._dice import Dice

#: A user's planted preferences, as they stand in mini_lamp.json: JSON values under readable names.
Preferences = Mapping[str, Any]

#: What a text says, apart from how: a phrase by role, such as actor or place.
Facts = Mapping[str, str]

#: The value of each trait that one text shows.
Style = Mapping[str, str]

#: In how many topics a user of tasks 2 to 7 is active; a third of a profile bears on a question.
THEMES_PER_USER = 3


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its gold answer.

    Args:
        themes: a profile item with one of these themes bears on the question.
        input: the text as LaMP words it.
        gold: the answer of this user.
    """

    themes: tuple[str, ...]
    input: str
    gold: str


class Family(Protocol):
    """A task of mini-LaMP. Everything random comes from the dice that it is given."""

    #: 1 to 7.
    number: int

    def preferences(self, rng: Dice) -> Preferences:
        """The planted preferences of one user."""
        ...

    def themes(self, preferences: Preferences, rng: Dice, config: SynthConfig) -> Iterator[str]:
        """What the user's items are about, oldest first, without end; the first three hold all own themes."""
        ...

    def item(self, preferences: Preferences, theme: str, rng: Dice, config: SynthConfig) -> dict[str, str]:
        """The fields of one profile item, noise included."""
        ...

    def question(self, preferences: Preferences, rng: Dice) -> Question:
        """One question on a theme of the user's, without noise."""
        ...

    def answer(self, text: str, preferences: Preferences) -> str:
        """What a user with these preferences answers to the input `text`."""
        ...


def endless(themes: list[str], rng: Dice) -> Iterator[str]:
    """`themes` again and again, each round in a new order."""
    while True:
        yield from rng.shuffled(themes)
