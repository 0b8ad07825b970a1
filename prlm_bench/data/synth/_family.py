"""What the seven tasks are made of: seeded draws, the vocabulary, and the protocol that each of them follows."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..._util.yaml_text import read_yaml
from ...errors import DataError
from ._config import SynthConfig

T = TypeVar("T")

#: A user's planted preferences, as they stand in mini_lamp.json: JSON values under readable names.
Preferences = Mapping[str, Any]

#: What a text says, apart from how: a phrase by role, such as actor or place.
Facts = Mapping[str, str]

#: The value of each trait that one text shows.
Style = Mapping[str, str]

#: In how many topics a user of tasks 2 to 7 is active; a third of a profile bears on a question.
THEMES_PER_USER = 3

_FOLDER = Path(__file__).with_name("vocabulary")
_SMALL = frozenset(("a", "an", "and", "as", "at", "by", "for", "from", "in", "of", "on", "the", "to", "with"))


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
    """A task of mini-LaMP. Everything random is drawn from the `rng` that a method is given."""

    #: 1 to 7.
    number: int

    def preferences(self, rng: Rng) -> Preferences:
        """The planted preferences of one user."""
        ...

    def themes(self, preferences: Preferences, rng: Rng, config: SynthConfig) -> Iterator[str]:
        """What the user's items are about, oldest first, without end; the first three hold all own themes."""
        ...

    def item(self, preferences: Preferences, theme: str, rng: Rng, config: SynthConfig) -> dict[str, str]:
        """The fields of one profile item, noise included."""
        ...

    def question(self, preferences: Preferences, rng: Rng) -> Question:
        """One question on a theme of the user's, without noise."""
        ...

    def answer(self, text: str, preferences: Preferences) -> str:
        """What a user with these preferences answers to the input `text`."""
        ...


def endless(themes: list[str], rng: Rng) -> Iterator[str]:
    """`themes` again and again, each round in a new order."""
    while True:
        yield from rng.shuffled(themes)


class Rng:
    """Draws from a seed made of any parts, such as (seed, task, user, "preferences").

    Only `Random.random` and string seeds are used: Python promises that both keep giving the same numbers,
    and promises it of no other method.
    """

    def __init__(self, *key: object) -> None:
        self._draw = random.Random("/".join(map(str, key))).random

    def below(self, limit: int) -> int:
        """A whole number from 0 to `limit` - 1."""
        return int(self._draw() * limit)

    def chance(self, share: float) -> bool:
        """True with probability `share`."""
        return self._draw() < share

    def pick(self, options: Sequence[T]) -> T:
        """One of `options`."""
        return options[self.below(len(options))]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """`options` in a random order."""
        rest = list(options)
        return [rest.pop(self.below(len(rest))) for _ in options]


@cache
def vocabulary(name: str) -> Any:
    """The content of `vocabulary/<name>.yaml`: nested lists and mappings of strings."""
    return read_yaml(_FOLDER / f"{name}.yaml").content


def prose(template: str, facts: Mapping[str, str]) -> str:
    """`template` filled with `facts`, its sentences capitalized, with "an" where "a" would be wrong."""
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", template.format_map(facts))
    return re.sub(r"(^|[.!?] )([a-z])", lambda found: found[1] + found[2].upper(), text)


def title_case(text: str) -> str:
    """`text` with capitals as in a headline: every word but small ones that do not come first."""
    words = text.split(" ")
    return " ".join(
        word if index and word in _SMALL else word[:1].upper() + word[1:] for index, word in enumerate(words)
    )


class Finder:
    """Finds the vocabulary's phrases in a text, whatever their case.

    Args:
        what: what the phrases are, in the singular; used in messages.
        phrases: lower- or mixed-case phrases, found as whole words only; a longer phrase wins over its parts.
    """

    def __init__(self, what: str, phrases: Iterable[str]) -> None:
        self._what = what
        self._phrases = {phrase.lower(): phrase for phrase in phrases}
        longest = sorted(self._phrases, key=lambda phrase: (-len(phrase), phrase))
        self._pattern = re.compile(r"\b(?:" + "|".join(map(re.escape, longest)) + r")\b", re.IGNORECASE)

    def all(self, text: str) -> list[str]:
        """All phrases in `text` in the order in which they occur, as the vocabulary spells them."""
        return [self._phrases[found.lower()] for found in self._pattern.findall(text)]

    def one(self, text: str) -> str:
        """The first phrase in `text`.

        Raises:
            DataError: there is none, so the text is not one of mini-LaMP's.
        """
        found = self._pattern.search(text)
        if found is None:
            raise DataError(f"no known {self._what} in {text[:80]!r}", "only inputs of mini-LaMP can be read")
        return self._phrases[found[0].lower()]
