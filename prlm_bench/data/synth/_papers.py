"""LaMP_5: titles of papers."""

from __future__ import annotations

from ._dice import Dice
from ._family import Facts, Style
from ._style import Traits
from ._words import Finder, prose, title_case, vocabulary


class Papers:
    """Abstracts that present a named method for a problem, and their titles (see `Genre`).

    A title holds the user's adjective for the topic; it is plain, has a colon or asks a question; the
    method's nickname comes first or last, and so does the method before the problem; and it names the
    data or the setting.
    """

    instruction = "Generate a title for the following abstract of a paper:"
    fields = ("abstract", "title")

    def __init__(self) -> None:
        self._words = words = vocabulary("papers")
        self._topics = words["topics"]
        self.traits = Traits(
            topics=tuple(self._topics),
            signatures=words["signatures"],
            habits={
                "form": ("plain", "colon", "question"),
                "nickname": ("first", "last"),
                "order": ("method first", "problem first"),
            },
            leaning=("detail", ("data", "setting")),
        )
        entries = self._topics.values()
        self._topic_of: dict[str, str] = {
            problem: topic for topic, entry in self._topics.items() for problem in entry["problems"]
        }
        self._problem = Finder("problem", self._topic_of)
        self._finders = {
            "problem": self._problem,
            "method": Finder("method", words["methods"]),
            "name": Finder("method name", words["names"]),
            "data": Finder("data", (data for entry in entries for data in entry["data"])),
            "setting": Finder("setting", (setting for entry in entries for setting in entry["settings"])),
        }

    def facts(self, topic: str, rng: Dice) -> Facts:
        """Problem, method and its nickname, data and setting."""
        entry = self._topics[topic]
        return {
            "topic": topic,
            "problem": rng.pick(entry["problems"]),
            "method": rng.pick(self._words["methods"]),
            "name": rng.pick(self._words["names"]),
            "data": rng.pick(entry["data"]),
            "setting": rng.pick(entry["settings"]),
        }

    def tell(self, facts: Facts, rng: Dice) -> str:
        """The abstract, in four sentences."""
        parts = (rng.pick(self._words[part]) for part in ("openings", "approaches", "evidence", "remarks"))
        return prose(" ".join(parts), {**facts, "number": rng.pick(self._words["numbers"])})

    def read(self, text: str) -> Facts:
        """The facts of an abstract."""
        found = {role: finder.one(text) for role, finder in self._finders.items()}
        return {**found, "topic": self._topic_of[found["problem"]]}

    def topic_of(self, text: str) -> str:
        """The topic of an abstract or a title."""
        return self._topic_of[self._problem.one(text)]

    def render(self, facts: Facts, style: Style) -> str:
        """The title."""
        method, problem, name = facts["method"], facts["problem"], facts["name"]
        first, second = (method, problem) if style["order"] == "method first" else (problem, method)
        question = style["form"] == "question"
        if style["order"] == "method first":
            link = "improve" if question else "for"
        else:
            link = "rest on" if question else "with"
        detail = f"from {facts['data']}" if style["detail"] == "data" else f"in {facts['setting']}"
        core = f"{style['signature']} {first} {link} {second} {detail}"
        return title_case(_named(f"can {core}?" if question else core, name, style))


def _named(core: str, name: str, style: Style) -> str:
    first = style["nickname"] == "first"
    if style["form"] == "plain":
        return f"The {name} Approach to {core}" if first else f"{core} by the {name} Approach"
    if first:
        return f"{name}: {core}"
    return f"{core} The {name} Approach" if core.endswith("?") else f"{core}: The {name} Approach"
