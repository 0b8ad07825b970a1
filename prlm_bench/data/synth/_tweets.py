"""LaMP_7: tweets in the user's own words."""

from __future__ import annotations

from collections.abc import Mapping

from ._dice import Dice
from ._family import Facts, Style
from ._style import Traits
from ._words import Finder, prose, vocabulary


class Tweets:
    """Formal reports of something done, and the tweets that say it (see `Genre`).

    A tweet has the user's hashtag for the topic, words for "very", "good" and "bad", set of slang verbs,
    casing and ending; and it tells when it was or with whom.
    """

    instruction = "Paraphrase the following tweet without any explanation before or after it:"
    fields = (None, "text")

    def __init__(self) -> None:
        self._words = words = vocabulary("tweets")
        self._scenes = {topic: [scene.split("/") for scene in scenes] for topic, scenes in words["topics"].items()}
        self.traits = Traits(
            topics=tuple(self._scenes),
            signatures=words["signatures"],
            habits={
                "talk": words["talks"],
                "very": words["degree_words"],
                "good": words["good_words"],
                "bad": words["bad_words"],
                "casing": words["casings"],
                "ending": words["endings"],
            },
            leaning=("detail", ("time", "company")),
        )
        self._scene_of: Mapping[str, tuple[str, str, str]] = {
            thing: (topic, verb, judged) for topic, scenes in self._scenes.items() for verb, thing, judged in scenes
        }
        self._mood_of = {quality: mood for mood, options in words["qualities"].items() for quality in options}
        self._finders = {
            "object": Finder("thing done", self._scene_of),
            "quality": Finder("quality", self._mood_of),
            "time": Finder("time", words["times"]),
            "company": Finder("company", words["companions"]),
        }

    def facts(self, topic: str, rng: Dice) -> Facts:
        """Verb, object, what of it is judged and how, time and company."""
        words = self._words
        verb, thing, judged = rng.pick(self._scenes[topic])
        mood = rng.pick(("good", "bad"))
        return {
            "topic": topic,
            "verb": verb,
            "object": thing,
            "thing": judged,
            "quality": rng.pick(words["qualities"][mood]),
            "mood": mood,
            "time": rng.pick(words["times"]),
            "company": rng.pick(words["companions"]),
        }

    def tell(self, facts: Facts, rng: Dice) -> str:
        """The formal version."""
        return prose(rng.pick(self._words["templates"]), {**facts, "degree": rng.pick(self._words["degrees"])})

    def read(self, text: str) -> Facts:
        """The facts of a formal tweet."""
        found = {role: finder.one(text) for role, finder in self._finders.items()}
        topic, verb, judged = self._scene_of[found["object"]]
        return {**found, "topic": topic, "verb": verb, "thing": judged, "mood": self._mood_of[found["quality"]]}

    def render(self, facts: Facts, style: Style) -> str:
        """The tweet."""
        verb = self._words["verbs"][facts["verb"]][self._words["talks"].index(style["talk"])]
        verdict = f"{style['very']} {style[facts['mood']]}"
        text = f"{verb} {facts['object']} {facts[style['detail']]}, {facts['thing']} was "
        if style["casing"] == "sentence":
            text = text[0].upper() + text[1:]
        elif style["casing"] == "shout":
            verdict = verdict.upper()
        return f"{text}{verdict} {style['ending']} {style['signature']}"
