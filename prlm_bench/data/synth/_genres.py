"""LaMP_4 to LaMP_7: headlines of articles, titles of papers, subjects of e-mails, and tweets."""

from __future__ import annotations

from collections.abc import Mapping

from ._family import Facts, Finder, Rng, Style, prose, title_case, vocabulary
from ._style import Traits


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

    def facts(self, topic: str, rng: Rng) -> Facts:
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

    def tell(self, facts: Facts, rng: Rng) -> str:
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

    def facts(self, topic: str, rng: Rng) -> Facts:
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

    def tell(self, facts: Facts, rng: Rng) -> str:
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

    def facts(self, topic: str, rng: Rng) -> Facts:
        """Thing, action, day and project."""
        words = self._words
        return {
            "topic": topic,
            "thing": rng.pick(self._topics[topic]["things"]),
            "action": rng.pick(words["actions"]),
            "day": rng.pick(words["days"]),
            "project": rng.pick(words["projects"]),
        }

    def tell(self, facts: Facts, rng: Rng) -> str:
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

    def facts(self, topic: str, rng: Rng) -> Facts:
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

    def tell(self, facts: Facts, rng: Rng) -> str:
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
