"""Files of golds and of predictions: `{"task": ..., "golds": [{"id": ..., "output": ...}]}`, or the list alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..._util.json_text import StructureError
from ..._util.text import well_formed
from ...tasks import Task
from ._companions import read_whole
from ._origin import stated_name
from ._problems import Problem, Severity, kind, text_problem

#: Numbers from here on are read differently by different readers of JSON.
_EXACT = 2**53


@dataclass(slots=True)
class Golds:
    """The outputs of one file by question id: golds, or predictions."""

    sha256: str
    #: Question id to output.
    outputs: dict[str, str] = field(default_factory=dict)
    #: Question id to what is wrong with its output.
    bad: dict[str, str] = field(default_factory=dict)
    #: Where in the file each of these stands, the first time that it is wrong.
    places: dict[str, int] = field(default_factory=dict)
    #: What is wrong with the file itself.
    problems: list[Problem] = field(default_factory=list)
    #: The benchmark that the file names; None where it names none.
    task: str | None = None

    def first_bad(self, file: str, ids: Iterable[str]) -> Problem:
        """The problem of the first of some malformed outputs."""
        first = next(iter(ids))
        return Problem("error", file, self.bad[first], id=first, field=f"golds[{self.places[first]}]")

    @property
    def errors(self) -> list[Problem]:
        """The entries that cannot be told to belong to any question."""
        return [problem for problem in self.problems if problem.severity == "error"]

    def problem_of(self, question: str) -> str | None:
        """Why there is no gold for a question; None where there is one."""
        if question in self.bad:
            return self.bad[question]
        return None if question in self.outputs else "no gold"


def read_golds(task: Task, path: Path, cache: Path) -> Golds:
    """Read golds; each is checked by `Task.gold_problem`.

    Raises:
        DataError: the file cannot be read.
        StructureError: no such object, or no JSON at all.
    """
    content, sha256 = read_whole(path, cache)
    return gather_outputs(str(path), content, sha256, task)


def gather_outputs(file: str, content: Any, sha256: str = "", task: Task | None = None) -> Golds:
    """The outputs that the content of a file holds.

    Args:
        file: what to call the file.
        content: its JSON value.
        sha256: of the file.
        task: for golds, the task that they must fit; None for predictions, which may be any text.

    Raises:
        StructureError: the content has another form.
    """
    rows = content.get("golds") if isinstance(content, Mapping) else content
    if not isinstance(rows, list):
        what = "an object without a list `golds`" if isinstance(content, Mapping) else kind(content)
        raise StructureError(file, f'not of the form {{"task": ..., "golds": [...]}}: it is {what}', 0)
    found = Golds(sha256)
    found.task = stated_name(content) if isinstance(content, Mapping) else None
    if found.task is None and task is not None:
        message = f"missing; {task.benchmark!r} was expected"
        found.problems.append(Problem("warning", file, message, field="task"))
    what = "output" if task is None else "gold"
    for place, entry in enumerate(rows):
        question = entry.get("id") if isinstance(entry, dict) else None
        question = question if isinstance(question, str) else None
        for severity, message in _add(found, entry, task, what):
            found.problems.append(Problem(severity, file, message, id=question, field=f"golds[{place}]"))
        if question in found.bad:
            found.places.setdefault(question, place)
    return found


def _add(found: Golds, entry: object, task: Task | None, what: str) -> Iterator[tuple[Severity, str]]:
    if not isinstance(entry, dict):
        yield "error", f"is {kind(entry)}, not an object"
        return
    question = entry.get("id")
    wrong = text_problem(question) if "id" in entry else "is missing"
    if wrong is not None or not isinstance(question, str):
        yield "error", f"its id {wrong}"
        return
    text, wrong = output_text(entry["output"]) if "output" in entry else ("", "is missing")
    if wrong is not None:
        found.bad.setdefault(question, f"the {what}'s output {wrong}" if task is not None else f"its output {wrong}")
        return
    wrong = None if task is None else task.gold_problem(text)
    if wrong is not None:
        found.bad.setdefault(question, wrong)
    elif question not in found.outputs:
        found.outputs[question] = text
    elif found.outputs[question] == text:
        yield "warning", f"repeats an earlier {what}"
    else:
        found.bad.setdefault(question, f"two {what}s that differ")


def output_text(value: object) -> tuple[str, str | None]:
    """An output as text, and what keeps it from being one.

    As LaMP's own evaluation does, this takes numbers, by Python's `str`, and halves of surrogate pairs, which become
    U+FFFD.
    """
    if isinstance(value, str):
        return well_formed(value), None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "", f"is {kind(value)}, not a string"
    if not -_EXACT < value < _EXACT:  # true of NaN too
        return "", "is a number that is not finite, or too large to be read exactly: write it as a string"
    return str(value), None
