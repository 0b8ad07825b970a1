"""Judges the questions of a file: quickly where they are sound, in detail where they are not."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from datetime import date
from hashlib import blake2b
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

from ...tasks import Task
from ..store._write import Row
from ._companions import Relevance
from ._origin import Origin, known_instructions
from ._outputs import Golds
from ._problems import Problem, kind, storable, text_problem


class Checker:
    """Sees the questions of one file in order.

    Args:
        task: says which item fields there are and where the query stands.
        file: the path of the questions, for messages.
        golds: the reference answers; None where they are withheld.
        relevance: the relevant items; None where nobody knows.
    """

    def __init__(self, task: Task, file: Path, golds: Golds | None, relevance: Relevance | None) -> None:
        self._task = task
        self._file = str(file)
        self._golds = golds
        self._relevance = relevance
        self._names = ("id", *task.item_fields)
        self._values: Callable[[Any], tuple[Any, ...]] = itemgetter(*self._names)
        self._seen: set[str] = set()
        #: What the questions and the golds say about their benchmark.
        self.origin = Origin()
        self._instructions = known_instructions(task)
        if golds is not None:
            self.origin.note("outputs", golds.task)

    @property
    def seen(self) -> set[str]:
        """The question ids met so far."""
        return self._seen

    def examine(self, index: int, question: object) -> Row | list[Problem]:
        """The question as a row, or its errors where it has any."""
        repeated = self._note(question)
        self.origin.see(question, self._task, self._instructions)
        row = None if repeated else self._row(question)
        return row if row is not None else list(self._errors(index, question, repeated))

    def problems(self, index: int, question: object) -> list[Problem]:
        """All errors and warnings of the question."""
        found = self.examine(index, question)
        problems = [] if isinstance(found, Row) else found
        if isinstance(question, dict):
            problems += self._warnings(index, question)
        return problems

    def _note(self, question: object) -> bool:
        """Remember the question's id; True where it was met before."""
        name = question.get("id") if isinstance(question, dict) else None
        if not isinstance(name, str):
            return False
        repeated = name in self._seen
        self._seen.add(name)
        return repeated

    def _row(self, question: Any) -> Row | None:
        """The question as a row; None where anything is wrong with it.

        This is the inner loop of every import, so it only finds out that something is wrong, not what.
        """
        try:
            name, text = question["id"], question["input"]
            user = named_user(question)
            gold = None if self._golds is None else self._golds.outputs[name]
            relevant = None if self._relevance is None else self._relevance.items.get(name)
            self._task.query.parts(text)
            items, keys = self._items(question["profile"])
            for value in (name, text) if user is None else (name, text, user):
                if type(value) is not str:
                    return None
                value.encode()
        except (KeyError, TypeError, AttributeError, ValueError):
            return None
        if self._golds is not None and name in self._golds.bad:
            return None
        if self._relevance is not None and name in self._relevance.bad:
            return None
        return Row(name, user, text, gold, relevant, items, keys)

    def _items(self, profile: list[Any]) -> tuple[list[tuple[str | None, ...]], list[bytes]]:
        if type(profile) is not list:
            raise TypeError
        values_of = self._values
        items: list[tuple[str | None, ...]] = []
        keys = []
        for item in profile:
            values = values_of(item)
            for value in values:
                if type(value) is not str:
                    raise TypeError
            day = item.get("date")
            if day is not None and type(day) is not str:
                raise TypeError
            content = (*values, day)
            items.append(content)
            # JSON keeps the parts apart, whatever they hold; it also refuses lone surrogates.
            keys.append(blake2b(orjson.dumps(content), digest_size=16).digest())
        return items, keys

    def _errors(self, index: int, question: object, repeated: bool) -> Iterator[Problem]:
        name = question.get("id") if isinstance(question, dict) else None
        name = name if isinstance(name, str) else None

        def error(field: str | None, message: str) -> Problem:
            return Problem("error", self._file, message, index, name, field)

        yield from head_problems(
            self._file, index, question, ("id", "input"), (name,) if repeated and name is not None else ()
        )
        if not isinstance(question, dict):
            return
        if isinstance(question.get("input"), str):
            try:
                self._task.query.parts(question["input"])
            except ValueError as problem:
                yield error("input", str(problem))
        for field, message in self._profile_errors(question):
            yield error(field, message)
        for field, message in self._companion_errors(name):
            yield error(field, message)

    def _profile_errors(self, question: dict[str, Any]) -> Iterator[tuple[str, str]]:
        if "profile" not in question:
            yield "profile", "is missing"
            return
        profile = question["profile"]
        if not isinstance(profile, list):
            yield "profile", f"is {kind(profile)}, not a list"
            return
        yield from _gathered(found for place, item in enumerate(profile) for found in self._item_errors(place, item))

    def _item_errors(self, place: int, item: object) -> Iterator[tuple[int, str, str]]:
        if not isinstance(item, dict):
            yield place, "", f"is {kind(item)}, not an object"
            return
        for name in self._names:
            wrong = text_problem(item[name]) if name in item else "is missing"
            if wrong is not None:
                yield place, "." + name, wrong
        wrong = None if item.get("date") is None else text_problem(item["date"])
        if wrong is not None:
            yield place, ".date", wrong

    def _companion_errors(self, name: str | None) -> Iterator[tuple[str, str]]:
        if name is None:
            return
        wrong = None if self._golds is None else self._golds.problem_of(name)
        if wrong is not None:
            yield "gold", wrong
        if self._relevance is not None and name in self._relevance.bad:
            yield "relevance", self._relevance.bad[name]

    def _warnings(self, index: int, question: dict[str, Any]) -> Iterator[Problem]:
        name = question.get("id")
        name = name if isinstance(name, str) else None
        for field, message in self._warning_texts(name, question):
            yield Problem("warning", self._file, message, index, name, field)

    def _warning_texts(self, name: str | None, question: dict[str, Any]) -> Iterator[tuple[str, str]]:
        text, profile = question.get("input"), question.get("profile")
        if isinstance(text, str) and self._has_empty_query(text):
            yield "input", "the query is empty"
        if not isinstance(profile, list):
            return
        if not profile:
            yield "profile", "is empty: a user without history"
        items = [(place, item) for place, item in enumerate(profile) if isinstance(item, dict)]
        yield from _gathered(_repeated_ids(items))
        yield from _gathered(_odd_dates(items))
        relevant = self._relevance.items.get(name) if self._relevance is not None and name is not None else None
        if relevant is not None:
            known = {item["id"] for _, item in items if isinstance(item.get("id"), str)}
            strange = [item for item in relevant if item not in known]
            if strange:
                yield "relevance", f"{len(strange)} ids are not in the profile, {strange[0]!r} first"

    def _has_empty_query(self, text: str) -> bool:
        try:
            return not any(part.strip() for part in self._task.query.parts(text))
        except ValueError:
            return False


def head_problems(
    file: str, index: int, question: object, needed: Sequence[str], seen: Container[str]
) -> Iterator[Problem]:
    """What is wrong with a question's own texts and its user.

    Args:
        file: the file's path.
        index: the question's place.
        question: the question.
        needed: the fields that must be texts.
        seen: ids of earlier questions.
    """
    name = question.get("id") if isinstance(question, dict) else None
    name = name if isinstance(name, str) else None
    if not isinstance(question, dict):
        yield Problem("error", file, f"is {kind(question)}, not an object", index)
        return
    for field in needed:
        wrong = text_problem(question[field]) if field in question else "is missing"
        if wrong is not None:
            yield Problem("error", file, wrong, index, name, field)
    if name is not None and name in seen:
        yield Problem("error", file, "repeats the id of an earlier question", index, name, "id")
    wrong = None if named_user(question) is None else text_problem(question["user_id"])
    if wrong is not None:
        yield Problem("error", file, wrong, index, name, "user_id")


def named_user(question: dict[str, Any]) -> Any:
    """The user that a question names; None where `user_id` is missing, null or empty."""
    user = question.get("user_id")
    return None if user == "" else user


def _repeated_ids(items: list[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, str, str]]:
    seen = set()
    for place, item in items:
        name = item.get("id")
        if isinstance(name, str):
            if name in seen:
                yield place, ".id", "repeats the id of an earlier item"
            seen.add(name)


def _odd_dates(items: list[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, str, str]]:
    for place, item in items:
        day = item.get("date")
        if isinstance(day, str) and storable(day):
            try:
                date.fromisoformat(day[:10])
            except ValueError:
                yield place, ".date", "is not of the form YYYY-MM-DD"


def _gathered(found: Iterator[tuple[int, str, str]]) -> Iterator[tuple[str, str]]:
    """Say what recurs in a profile once, with the first place and how often."""
    first: dict[tuple[str, str], int] = {}
    more: dict[tuple[str, str], int] = {}
    for place, field, message in found:
        if (field, message) in first:
            more[field, message] = more.get((field, message), 0) + 1
        else:
            first[field, message] = place
    for (field, message), place in first.items():
        also = more.get((field, message), 0)
        yield f"profile[{place}]{field}", message + (f" (and in {also} more items)" if also else "")
