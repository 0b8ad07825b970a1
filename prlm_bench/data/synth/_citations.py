"""LaMP_1: which of two papers does this author cite?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...errors import DataError
from ._config import SynthConfig
from ._dice import Dice
from ._family import Facts, Preferences, Question
from ._papers import Papers
from ._words import prose, title_case, vocabulary

_INPUT = (
    'For an author who has written the paper with the title "{title}", which reference is related? '
    'Just answer with [1] or [2] without explanation. [1]: "{first}" [2]: "{second}"'
)


class Citations:
    """The citation task (see `Family`).

    An author works in two own topics and visits two side topics. The candidates are of an own and of a
    side topic; the title in the question is neutral, so only the shares of the topics among the author's
    papers tell which one is cited. A paper is of an own topic with probability `strength`, else of a side
    topic, and with probability `noise` of any other.
    """

    number = 1

    def __init__(self) -> None:
        self._papers = Papers()

    def preferences(self, rng: Dice) -> Preferences:
        """All topics, from the author's own to those that the author has nothing to do with."""
        topics = rng.shuffled(self._papers.traits.topics)
        return {"own": topics[:2], "side": topics[2:4], "other": topics[4:]}

    def themes(self, preferences: Preferences, rng: Dice, config: SynthConfig) -> Iterator[str]:
        """Both own topics once, then topics as they fall."""
        yield from rng.shuffled(preferences["own"])
        while True:
            if rng.chance(config.noise):
                yield rng.pick(preferences["other"])
            else:
                yield rng.pick(preferences["own" if rng.chance(config.strength) else "side"])

    def item(self, preferences: Preferences, theme: str, rng: Dice, config: SynthConfig) -> dict[str, str]:
        """A paper of the author's; its title is in no one's style."""
        facts = self._papers.facts(theme, rng)
        return {"title": self._title(facts, rng), "abstract": self._papers.tell(facts, rng)}

    def question(self, preferences: Preferences, rng: Dice) -> Question:
        """Two candidates; every item of either topic bears on the question."""
        own, side = rng.pick(preferences["own"]), rng.pick(preferences["side"])
        first, second = pair = (own, side) if rng.chance(0.5) else (side, own)
        words = vocabulary("papers")
        theme = rng.pick(words["neutral_themes"])
        text = _INPUT.format(
            title=title_case(prose(rng.pick(words["neutral_titles"]), {"theme": theme})),
            first=self._title(self._papers.facts(first, rng), rng),
            second=self._title(self._papers.facts(second, rng), rng),
        )
        return Question(pair, text, "[1]" if first == own else "[2]")

    def answer(self, text: str, preferences: Preferences) -> str:
        """The candidate whose topic stands first in `preferences`."""
        nearness = [*preferences["own"], *preferences["side"], *preferences["other"]]
        candidates = re.findall(r'"([^"]*)"', text)[1:]
        if len(candidates) != 2:
            raise DataError(f"no two candidates in {text[:80]!r}", "only inputs of mini-LaMP can be read")
        first, second = (nearness.index(self._papers.topic_of(title)) for title in candidates)
        return "[1]" if first <= second else "[2]"

    def _title(self, facts: Facts, rng: Dice) -> str:
        traits = self._papers.traits
        return self._papers.render(facts, traits.own(traits.plant(rng), facts["topic"]))
