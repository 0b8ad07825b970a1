"""LaMP_6: subjects of e-mails."""

from __future__ import annotations

from ._dice import Dice
from ._family import Facts, Style
from ._style import Traits
from ._words import Finder, prose, vocabulary


class Mails:
    """E-mails that ask for something, and their subjects (see `Genre`).

    A subject opens with the user's tag for the kind of mail and ends with the user's farewell; it asks
    with more or less courtesy; action or thing come first; and it names the deadline or the project.
    """

    instruction = "Generate a subject for the following email:"
    fields = ("text", "title")

    def __init__(self) -> None:
        self._words = words = vocabulary("mails")
        self._topics = words["topics"]
        self.traits = Traits(
            topics=tuple(self._topics),
            signatures=words["signatures"],
            habits={
                "politeness": words["politeness"],
                "order": ("action first", "thing first"),
                "closing": words["closings"],
            },
            leaning=("detail", ("deadline", "project")),
        )
        self._topic_of = {thing: topic for topic, entry in self._topics.items() for thing in entry["things"]}
        self._finders = {
            "thing": Finder("thing", self._topic_of),
            "action": Finder("action", words["actions"]),
            "day": Finder("day", words["days"]),
            "project": Finder("project", words["projects"]),
        }

    def facts(self, topic: str, rng: Dice) -> Facts:
        """Thing, action, day and project."""
        words = self._words
        return {
            "topic": topic,
            "thing": rng.pick(self._topics[topic]["things"]),
            "action": rng.pick(words["actions"]),
            "day": rng.pick(words["days"]),
            "project": rng.pick(words["projects"]),
        }

    def tell(self, facts: Facts, rng: Dice) -> str:
        """The e-mail, from greeting to name."""
        words = self._words
        receiver, sender = rng.shuffled(words["names"])[:2]
        remark = rng.pick(self._topics[facts["topic"]]["remarks"])
        body = f"{rng.pick(words['bodies'])} {remark} {rng.pick(words['endings'])}"
        return prose(f"{rng.pick(words['greetings'])} {receiver}, {body} Yours, {sender}", facts)

    def read(self, text: str) -> Facts:
        """The facts of an e-mail."""
        found = {role: finder.one(text) for role, finder in self._finders.items()}
        return {**found, "topic": self._topic_of[found["thing"]]}

    def render(self, facts: Facts, style: Style) -> str:
        """The subject."""
        ask, thing = f"{style['politeness']} {facts['action']}", f"the {facts['thing']}"
        core = f"{ask} {thing}" if style["order"] == "action first" else f"{thing}, {ask} it"
        detail = f"by {facts['day']}" if style["detail"] == "deadline" else f"for project {facts['project']}"
        return f"[{style['signature']}] {core[0].upper()}{core[1:]} {detail} - {style['closing']}"
