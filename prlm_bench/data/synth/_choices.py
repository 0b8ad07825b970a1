"""LaMP_1 to LaMP_3: which paper does this author cite, which tag does this user give, how many stars?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ...errors import DataError
from ._config import SynthConfig
from ._family import (
    THEMES_PER_USER,
    Facts,
    Finder,
    Preferences,
    Question,
    Rng,
    endless,
    prose,
    title_case,
    vocabulary,
)
from ._genres import Papers

_CITATION = (
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

    def preferences(self, rng: Rng) -> Preferences:
        """All topics, from the author's own to those that the author has nothing to do with."""
        topics = rng.shuffled(self._papers.traits.topics)
        return {"own": topics[:2], "side": topics[2:4], "other": topics[4:]}

    def themes(self, preferences: Preferences, rng: Rng, config: SynthConfig) -> Iterator[str]:
        """Both own topics once, then topics as they fall."""
        yield from rng.shuffled(preferences["own"])
        while True:
            if rng.chance(config.noise):
                yield rng.pick(preferences["other"])
            else:
                yield rng.pick(preferences["own" if rng.chance(config.strength) else "side"])

    def item(self, preferences: Preferences, theme: str, rng: Rng, config: SynthConfig) -> dict[str, str]:
        """A paper of the author's; its title is in no one's style."""
        facts = self._papers.facts(theme, rng)
        return {"title": self._title(facts, rng), "abstract": self._papers.tell(facts, rng)}

    def question(self, preferences: Preferences, rng: Rng) -> Question:
        """Two candidates; every item of either topic bears on the question."""
        own, side = rng.pick(preferences["own"]), rng.pick(preferences["side"])
        first, second = pair = (own, side) if rng.chance(0.5) else (side, own)
        words = vocabulary("papers")
        theme = rng.pick(words["neutral_themes"])
        text = _CITATION.format(
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

    def _title(self, facts: Facts, rng: Rng) -> str:
        traits = self._papers.traits
        return self._papers.render(facts, traits.own(traits.plant(rng), facts["topic"]))


_FILM = (
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

    def preferences(self, rng: Rng) -> Preferences:
        """The groups that the user's films belong to, and the ranking of all tags."""
        groups = rng.shuffled(tuple(self._groups))[:THEMES_PER_USER]
        return {"groups": groups, "ranking": rng.shuffled(tuple(self._hints))}

    def themes(self, preferences: Preferences, rng: Rng, config: SynthConfig) -> Iterator[str]:
        """The user's groups in rounds."""
        return endless(preferences["groups"], rng)

    def item(self, preferences: Preferences, theme: str, rng: Rng, config: SynthConfig) -> dict[str, str]:
        """A film and the tag given to it."""
        tags = self._groups[theme]
        tag = rng.pick(tags) if rng.chance(config.noise) else _first(tags, preferences)
        return {"description": self._describe(tags, rng), "tag": tag}

    def question(self, preferences: Preferences, rng: Rng) -> Question:
        """A film of one of the user's groups."""
        group = rng.pick(preferences["groups"])
        tags = self._groups[group]
        text = _FILM.format(tags=", ".join(self._hints), description=self._describe(tags, rng))
        return Question((group,), text, _first(tags, preferences))

    def answer(self, text: str, preferences: Preferences) -> str:
        """The first in the ranking among the tags that the description suggests."""
        description = text.partition("description:")[2]
        self._finder.one(description)
        return _first([self._tag_of[hint] for hint in self._finder.all(description)], preferences)

    def _describe(self, tags: Sequence[str], rng: Rng) -> str:
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


_REVIEW = (
    "What is the score of the following review on a scale of 1 to 5? just answer with 1, 2, 3, 4, or 5 "
    "without further explanation. review:"
)
_MOODS = ("good", "bad")
#: What the two aspects of a pair count: a user cares about one of them, more or less.
_WEIGHTS = ((2, 0), (0, 2), (1, 0), (0, 1))
#: Share of the reviews that praise one aspect of the pair and blame the other.
_MIXED = 0.7


class Reviews:
    """The rating task (see `Family`).

    A user's reviews speak of three pairs of aspects, one pair at a time, often with a stray third aspect.
    The score is 3 + leniency + the sum of the aspects' weights, counted up where praised and down where
    blamed, kept within 1 to 5. With probability `noise` an item's score moves by one within them.
    """

    number = 3

    def __init__(self) -> None:
        self._words = words = vocabulary("reviews")
        self._aspects: list[str] = words["aspects"]
        self._aspect = Finder("aspect", self._aspects)
        self._voice = {phrase: mood for mood in _MOODS for phrase in words[mood]["verdicts"] + words[mood]["feelings"]}
        self._mood = Finder("verdict", self._voice)

    def preferences(self, rng: Rng) -> Preferences:
        """Pairs of aspects, what each aspect counts, and the user's leniency."""
        aspects = rng.shuffled(self._aspects)
        weights = dict.fromkeys(aspects, 0)
        pairs = [(aspects[2 * index], aspects[2 * index + 1]) for index in range(THEMES_PER_USER)]
        for one, other in pairs:
            weights[one], weights[other] = rng.pick(_WEIGHTS)
        strays = aspects[2 * THEMES_PER_USER :]
        return {
            "pairs": [" + ".join(pair) for pair in pairs],
            "strays": strays,
            "weights": weights,
            "leniency": rng.below(3) - 1,
        }

    def themes(self, preferences: Preferences, rng: Rng, config: SynthConfig) -> Iterator[str]:
        """The user's pairs in rounds."""
        return endless(preferences["pairs"], rng)

    def item(self, preferences: Preferences, theme: str, rng: Rng, config: SynthConfig) -> dict[str, str]:
        """A review and its score."""
        moods = self._moods(theme, preferences, rng)
        score = _score(moods, preferences)
        if rng.chance(config.noise):
            score = min(5, max(1, score + (1 if rng.chance(0.5) else -1)))
        return {"text": self._tell(moods, rng), "score": str(score)}

    def question(self, preferences: Preferences, rng: Rng) -> Question:
        """A review that speaks of one of the user's pairs."""
        pair = rng.pick(preferences["pairs"])
        moods = self._moods(pair, preferences, rng)
        return Question((pair,), f"{_REVIEW} {self._tell(moods, rng)}", str(_score(moods, preferences)))

    def answer(self, text: str, preferences: Preferences) -> str:
        """The score that these weights and this leniency give."""
        review = text.removeprefix(_REVIEW)
        aspects, phrases = self._aspect.all(review), self._mood.all(review)
        if not aspects or len(aspects) != len(phrases):
            raise DataError(f"no aspects with verdicts in {review[:80]!r}", "only inputs of mini-LaMP can be read")
        moods = (self._voice[phrase] for phrase in phrases)
        return str(_score(dict(zip(aspects, moods, strict=True)), preferences))

    def _moods(self, pair: str, preferences: Preferences, rng: Rng) -> Mapping[str, str]:
        one, other = pair.split(" + ")
        moods = dict(zip((one, other), rng.shuffled(_MOODS), strict=True))
        if not rng.chance(_MIXED):
            moods[other] = moods[one]
        if rng.chance(0.5):
            moods[rng.pick(preferences["strays"])] = rng.pick(_MOODS)
        return moods

    def _tell(self, moods: Mapping[str, str], rng: Rng) -> str:
        words = self._words
        clauses = []
        for aspect in rng.shuffled(tuple(moods)):
            voice = words[moods[aspect]]
            if rng.chance(0.6):
                clauses.append(f"the {aspect} {rng.pick(voice['verdicts'])}.")
            else:
                clauses.append(f"{rng.pick(voice['feelings'])} the {aspect}.")
        facts = {
            "product": rng.pick(words["products"]),
            "person": rng.pick(words["people"]),
            "colour": rng.pick(words["colours"]),
            "number": rng.pick(words["numbers"]),
        }
        return prose(" ".join([rng.pick(words["openings"]), *clauses, rng.pick(words["endings"])]), facts)


def _score(moods: Mapping[str, str], preferences: Preferences) -> int:
    total = 3 + int(preferences["leniency"])
    for aspect, mood in moods.items():
        total += preferences["weights"][aspect] * (1 if mood == "good" else -1)
    return min(5, max(1, total))
