"""LaMP_3: how many stars does this user give?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...errors import DataError
from ._config import SynthConfig
from ._dice import Dice
from ._family import THEMES_PER_USER, Preferences, Question, endless
from ._words import Finder, prose, vocabulary

_INSTRUCTION = (
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

    def preferences(self, rng: Dice) -> Preferences:
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

    def themes(self, preferences: Preferences, rng: Dice, config: SynthConfig) -> Iterator[str]:
        """The user's pairs in rounds."""
        return endless(preferences["pairs"], rng)

    def item(self, preferences: Preferences, theme: str, rng: Dice, config: SynthConfig) -> dict[str, str]:
        """A review and its score."""
        moods = self._moods(theme, preferences, rng)
        score = _score(moods, preferences)
        if rng.chance(config.noise):
            score = min(5, max(1, score + (1 if rng.chance(0.5) else -1)))
        return {"text": self._tell(moods, rng), "score": str(score)}

    def question(self, preferences: Preferences, rng: Dice) -> Question:
        """A review that speaks of one of the user's pairs."""
        pair = rng.pick(preferences["pairs"])
        moods = self._moods(pair, preferences, rng)
        return Question((pair,), f"{_INSTRUCTION} {self._tell(moods, rng)}", str(_score(moods, preferences)))

    def answer(self, text: str, preferences: Preferences) -> str:
        """The score that these weights and this leniency give."""
        review = text.removeprefix(_INSTRUCTION)
        aspects, phrases = self._aspect.all(review), self._mood.all(review)
        if not aspects or len(aspects) != len(phrases):
            raise DataError(f"no aspects with verdicts in {review[:80]!r}", "only inputs of mini-LaMP can be read")
        moods = (self._voice[phrase] for phrase in phrases)
        return str(_score(dict(zip(aspects, moods, strict=True)), preferences))

    def _moods(self, pair: str, preferences: Preferences, rng: Dice) -> Mapping[str, str]:
        one, other = pair.split(" + ")
        moods = dict(zip((one, other), rng.shuffled(_MOODS), strict=True))
        if not rng.chance(_MIXED):
            moods[other] = moods[one]
        if rng.chance(0.5):
            moods[rng.pick(preferences["strays"])] = rng.pick(_MOODS)
        return moods

    def _tell(self, moods: Mapping[str, str], rng: Dice) -> str:
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
