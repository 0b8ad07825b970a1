"""The small files beside the questions: golds and relevant items, read whole and joined by question id."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...tasks import Task
from ..store._hashes import HashingReader
from ..store._json import StructureError, check_signature, parse
from ._problems import Problem, Severity, kind, text_problem


@dataclass(slots=True)
class Golds:
    """The reference answers of one split."""

    sha256: str
    #: Question id to reference answer.
    outputs: dict[str, str] = field(default_factory=dict)
    #: Question id to what is wrong with its reference answer.
    bad: dict[str, str] = field(default_factory=dict)
    #: What is wrong with the file itself.
    problems: list[Problem] = field(default_factory=list)

    def problem_of(self, question: str) -> str | None:
        """Why there is no gold for a question; None where there is one."""
        if question in self.bad:
            return self.bad[question]
        return None if question in self.outputs else "no gold"


@dataclass(slots=True)
class Relevance:
    """The truly relevant profile items of one split."""

    sha256: str
    #: Question id to item ids.
    items: dict[str, list[str]] = field(default_factory=dict)
    #: Question id to what is wrong with its entry.
    bad: dict[str, str] = field(default_factory=dict)


def read_golds(task: Task, path: Path, cache: Path) -> Golds:
    """Read `{"task": ..., "golds": [{"id", "output"}, ...]}`.

    Raises:
        StructureError: no such object, or no JSON at all.
    """
    content, sha256 = _read(path, cache)
    if not isinstance(content, dict) or not isinstance(content.get("golds"), list):
        what = "an object without a list `golds`" if isinstance(content, dict) else kind(content)
        raise StructureError(str(path), f'not of the form {{"task": ..., "golds": [...]}}: it is {what}', 0)
    golds = Golds(sha256)
    for message in _golds_problems(task, content):
        golds.problems.append(Problem("warning", str(path), message, field="task"))
    for place, entry in enumerate(content["golds"]):
        wrong = _add(golds, entry)
        if wrong is not None:
            severity, message = wrong
            question = entry.get("id") if isinstance(entry, dict) else None
            question = question if isinstance(question, str) else None
            golds.problems.append(Problem(severity, str(path), message, id=question, field=f"golds[{place}]"))
    return golds


def _golds_problems(task: Task, content: dict[str, Any]) -> Iterator[str]:
    if "task" not in content:
        yield f"missing; {task.benchmark!r} was expected"
    elif content["task"] != task.benchmark:
        yield f"is {content['task']!r}; {task.benchmark!r} was expected"


def _add(golds: Golds, entry: object) -> tuple[Severity, str] | None:
    if not isinstance(entry, dict):
        return "error", f"is {kind(entry)}, not an object"
    question = entry.get("id")
    wrong = text_problem(question) if "id" in entry else "is missing"
    if wrong is not None or not isinstance(question, str):
        return "error", f"its id {wrong}"
    wrong = text_problem(entry["output"]) if "output" in entry else "is missing"
    if wrong is not None:
        golds.bad.setdefault(question, f"the gold's output {wrong}")
        return None
    if question not in golds.outputs:
        golds.outputs[question] = entry["output"]
    elif golds.outputs[question] == entry["output"]:
        return "warning", "repeats an earlier gold"
    else:
        golds.bad.setdefault(question, "two golds that differ")
    return None


def read_relevance(path: Path, cache: Path) -> Relevance:
    """Read `{question id: [item id, ...]}`.

    Raises:
        StructureError: no such object, or no JSON at all.
    """
    content, sha256 = _read(path, cache)
    if not isinstance(content, dict):
        raise StructureError(str(path), f"not of the form {{question id: [item ids]}}: it is {kind(content)}", 0)
    relevance = Relevance(sha256)
    for question, ids in content.items():
        if not isinstance(ids, list):
            relevance.bad[question] = f"is {kind(ids)}, not a list of item ids"
            continue
        wrong = next((problem for problem in map(text_problem, ids) if problem), None)
        if wrong is not None:
            relevance.bad[question] = f"an item id {wrong}"
        else:
            relevance.items[question] = ids
    return relevance


def _read(path: Path, cache: Path) -> tuple[Any, str]:
    with HashingReader(path) as reader:
        data = b"".join(iter(lambda: reader.read(1 << 22), b""))
        sha256 = reader.finish(cache)
    check_signature(str(path), data)
    bom = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    if not data[bom:].strip():
        raise StructureError(str(path), "the file is empty (byte 0)", 0)
    return parse(str(path), memoryview(data)[bom:], bom), sha256
