"""Reads predictions to score that are not in LaMP's format: samples of a row, JSON lines, CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._util.csv_rows import csv_rows
from .._util.json_text import elements
from .._util.reading import read_text, shortened
from ..errors import DataError
from ..tasks import Task
from ._samples import ROW_FIELDS

#: What holds a prediction, by the names that files give it; the first that a line has is read.
ANSWERS = ("answer", "output", "prediction")
_LINES, _TABLES = (".jsonl", ".ndjson"), (".csv", ".tsv")


@dataclass(frozen=True)
class Predictions:
    """The predictions of one row."""

    #: By question id.
    outputs: dict[str, Any]
    #: The user of each question; empty where the file names none.
    users: dict[str, str]
    #: What the reader of the figures should know, a sentence each.
    notes: list[str]


def read_predictions(path: Path, task: Task, *, any_task: bool = False) -> Predictions | None:
    """The predictions in a file of JSON lines or CSV; None for another file, which is read as LaMP's format.

    A line has `id` and one of `answer`, `output` and `prediction`, and may have `user`, `task`, `split` and `row`. So
    `samples.jsonl` is read, and files that put those of several tasks together: lines of other tasks are left out.

    Args:
        path: the file; its name ends in .jsonl, .ndjson, .csv or .tsv.
        task: the task whose predictions are wanted.
        any_task: take the lines of any task.

    Raises:
        DataError: the file is malformed, has no line of the task, or holds several rows.
    """
    if path.suffix not in (*_LINES, *_TABLES):
        return None
    found, left = Predictions({}, {}, []), dict[str, int]()
    rows: dict[str, None] = {}
    for where, line in _table(path) if path.suffix in _TABLES else _lines(path):
        other = line.get("task")
        if isinstance(other, str) and other and not any_task and not (other == task.name or task.is_named(other)):
            left[other] = left.get(other, 0) + 1
            continue
        rows[" ".join(str(line[name]) for name in ROW_FIELDS if line.get(name) not in (None, ""))] = None
        _add(found, where, line)
    if not found.outputs:
        what = f"no predictions for {task.name}" + (f", but for {', '.join(left)}" if left else "")
        raise DataError(f"{path}: {what}", "--any-task takes them" if left else "")
    if len(rows) > 1:
        several = ", ".join(list(rows)[:4])
        raise DataError(f"{path}: predictions of {len(rows)} rows: {shortened(several)}", "keep the lines of one")
    found.notes.extend(f"lines of {other} left out: {count}" for other, count in left.items())
    if found.users and len(found.users) < len(found.outputs):
        found.users.clear()
    return found


def _add(found: Predictions, where: str, line: Mapping[str, Any]) -> None:
    question = line.get("id")
    if not isinstance(question, str) or not question:
        raise DataError(f"{where}: no id, or not a text")
    names = [name for name in ANSWERS if name in line]
    if not names:
        raise DataError(f"{where}: no prediction", f"needed: one of {', '.join(ANSWERS)}")
    output = line[names[0]]
    if found.outputs.setdefault(question, output) != output:
        raise DataError(f"{where}: two predictions for question {question!r} that differ")
    user = line.get("user")
    if isinstance(user, str) and user:
        found.users[question] = user


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, value in elements(str(path), read_text(path)):
        if not isinstance(value, dict):
            raise DataError(f"{path}:{number}: not a JSON object")
        yield f"{path}:{number}", value


def _table(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, row in csv_rows(path, read_text(path), ("id",)):
        yield f"{path}:{number}", row
