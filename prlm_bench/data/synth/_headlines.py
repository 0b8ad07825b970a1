"""LaMP_4: headlines of articles."""

from __future__ import annotations

from ._dice import Dice
from ._family import Facts, Style
from ._style import Traits
from ._words import Finder, prose, title_case, vocabulary


class Headlines:
    """Articles that say who did what, where and when, and their headlines (see `Genre`).

    A headline opens with the user's word for the topic and ends with the user's closing words; actor or
    object come first; the verb is plain, formal or casual; and it names the place or the day.
    """

    instruction = "Generate a headline for the following article:"
    fields = ("text", "title")

    def __init__(self) -> None:
        self._words = words = vocabulary("news")
        self._topics = words["topics"]
        #: By verb and register: present and past form.
        self._forms = {
            verb: dict(zip(words["registers"], (form.split("/") for form in forms), strict=True))
            for verb, forms in words["verbs"].items()
        }
        self.traits = Traits(
            topics=tuple(self._topics),
            signatures=words["signatures"],
            habits={
                "order": ("actor first", "object first"),
                "register": words["registers"],
                "closing": words["closings"],
            },
            leaning=("detail", ("place", "day")),
        )
        self._verb_of = {forms["plain"][1]: verb for verb, forms in self._forms.items()}
        self._topic_of = {thing: topic for topic, entry in self._topics.items() for thing in entry["objects"]}
        self._finders = {
            "actor": Finder("actor", (actor for entry in self._topics.values() for actor in entry["actors"])),
            "object": Finder("object", self._topic_of),
            "past": Finder("verb", self._verb_of),
            "place": Finder("place", words["places"]),
            "day": Finder("day", words["days"]),
        }

    def facts(self, topic: str, rng: Dice) -> Facts:
        """Actor, verb, object, place and day."""
        entry = self._topics[topic]
        verb = rng.pick(entry["verbs"])
        return {
            "topic": topic,
            "actor": rng.pick(entry["actors"]),
            "verb": verb,
            "past": self._forms[verb]["plain"][1],
            "object": rng.pick(entry["objects"]),
            "place": rng.pick(self._words["places"]),
            "day": rng.pick(self._words["days"]),
        }

    def tell(self, facts: Facts, rng: Dice) -> str:
        """Three or four sentences; the verb is in its plain form."""
        words = self._words
        filled = {
            **facts,
            "circumstance": rng.pick(self._topics[facts["topic"]]["circumstances"]),
            "group": rng.pick(words["groups"]),
            "number": rng.pick(words["numbers"]),
        }
        follow_ups = rng.shuffled(words["follow_ups"])[:2]
        return prose(" ".join([rng.pick(words["leads"]), *follow_ups]), filled)

    def read(self, text: str) -> Facts:
        """The facts of an article."""
        found = {role: finder.one(text) for role, finder in self._finders.items()}
        return {**found, "topic": self._topic_of[found["object"]], "verb": self._verb_of[found["past"]]}

    def render(self, facts: Facts, style: Style) -> str:
        """The headline."""
        present, past = self._forms[facts["verb"]][style["register"]]
        if style["order"] == "actor first":
            core = f"{facts['actor']} {present} {facts['object']}"
        else:
            core = f"{facts['object']} {past} by {facts['actor']}"
        detail = f"in {facts['place']}" if style["detail"] == "place" else f"on {facts['day']}"
        return f"{style['signature']}: {title_case(f'{core} {detail}')} - {style['closing']}"
