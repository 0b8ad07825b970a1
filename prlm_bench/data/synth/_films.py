"""LaMP_2: which tag would this user give the film?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ._config import SynthConfig
from ._dice import Dice
from ._family import THEMES_PER_USER, Preferences, Question, endless
from ._words import Finder, prose, vocabulary

_INPUT = (
    "Which tag does this movie relate to among the following tags? Just answer with the tag name without "
    "further explanation. tags: [{tags}] description: {description}"
)


class Films:
    """The tagging task (see `Family`).

    A description suggests all tags of a group of two or three at once, in any order. The user gives the
    one that stands first in the user's ranking of tags; an item's tag is any of the group with
    probability `noise`.
    """

    number = 2

    def __init__(self) -> None:
        self._words = words = vocabulary("films")
        self._hints: dict[str, list[str]] = words["hints"]
        self._tag_of = {hint: tag for tag, hints in self._hints.items() for hint in hints}
        self._finder = Finder("film hint", self._tag_of)
        self._groups = {" + ".join(group): tuple(group) for group in words["groups"]}

    def preferences(self, rng: Dice) -> Preferences:
        """The groups that the user's films belong to, and the ranking of all tags."""
        groups = rng.shuffled(tuple(self._groups))[:THEMES_PER_USER]
        return {"groups": groups, "ranking": rng.shuffled(tuple(self._hints))}

    def themes(self, preferences: Preferences, rng: Dice, config: SynthConfig) -> Iterator[str]:
        """The user's groups in rounds."""
        return endless(preferences["groups"], rng)

    def item(self, preferences: Preferences, theme: str, rng: Dice, config: SynthConfig) -> dict[str, str]:
        """A film and the tag given to it."""
        tags = self._groups[theme]
        tag = rng.pick(tags) if rng.chance(config.noise) else _first(tags, preferences)
        return {"description": self._describe(tags, rng), "tag": tag}

    def question(self, preferences: Preferences, rng: Dice) -> Question:
        """A film of one of the user's groups."""
        group = rng.pick(preferences["groups"])
        tags = self._groups[group]
        text = _INPUT.format(tags=", ".join(self._hints), description=self._describe(tags, rng))
        return Question((group,), text, _first(tags, preferences))

    def answer(self, text: str, preferences: Preferences) -> str:
        """The first in the ranking among the tags that the description suggests."""
        description = text.partition("description:")[2]
        self._finder.one(description)
        return _first([self._tag_of[hint] for hint in self._finder.all(description)], preferences)

    def _describe(self, tags: Sequence[str], rng: Dice) -> str:
        words = self._words
        hints = [rng.pick(self._hints[tag]) for tag in rng.shuffled(tags)]
        hero, other = rng.shuffled(words["heroes"])[:2]
        facts = {
            "hero": hero,
            "other": other,
            "premise": rng.pick(words["premises"]),
            "hints": ", ".join(hints[:-1]) + " and " + hints[-1],
        }
        parts = (rng.pick(words[part]) for part in ("openings", "middles", "endings"))
        return prose(" ".join(parts), facts)


def _first(tags: Sequence[str], preferences: Preferences) -> str:
    ranking: list[str] = preferences["ranking"]
    return min(tags, key=ranking.index)
