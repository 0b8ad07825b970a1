"""The official LaMP submission: one zip with a file of answers for each of the seven tasks.

Files have the shape of the benchmark's golds, `{"task": "LaMP_4", "golds": [{"id": ..., "output": ...}]}`. The
benchmark's evaluation (`eval/evaluation.py` of LaMP) identifies the files by their `task`, and rejects a file whose
ids are not exactly the test ids and a zip with fewer than seven tasks.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ._util.files import replacing
from .data import ListReader, data_root, split_files
from .errors import DataError
from .results import Stored, describe, read_samples, select
from .tasks import Task, TaskRegistry

__all__ = ["Submitted", "gather", "submission_tasks", "write_submission"]

SPLIT = "test"
#: The earliest date that a zip can hold, so that the bytes do not depend on the time.
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Submitted:
    """The answers to one task."""

    task: Task
    result: Stored
    #: Answers by question id, in the order of the question file.
    answers: dict[str, str]

    @property
    def empty(self) -> int:
        """How many answers are blank."""
        return sum(not answer.strip() for answer in self.answers.values())


def submission_tasks(tasks: TaskRegistry, time: bool) -> list[Task]:
    """The seven tasks of the user split, or of the time split."""
    return [tasks.get(f"lamp_{number}{'_time' if time else ''}") for number in range(1, 8)]


def gather(
    stored: Sequence[Stored], tasks: Sequence[Task], method: str | None, data: Path | None, *, partial: bool = False
) -> list[Submitted]:
    """Select a result for each task and check it against the question file.

    Args:
        stored: finished results.
        tasks: the tasks of a submission.
        method: selects a result, as in `prlm-bench compare`; needed if a task has several.
        data: a folder in LaMP's layout, or its parent; None means the default root.
        partial: allow tasks without a result.

    Raises:
        DataError: a task has no result or several, or the ids differ from the question file.
        UnknownNameError: `method` matches none of the results of a task.
    """
    of_task = {task.name: [r for r in stored if _is_of(r, task)] for task in tasks}
    missing = [name for name, results in of_task.items() if not results]
    if len(missing) == len(tasks) or (missing and not partial):
        hint = "--partial leaves them out; the server rejects such a submission"
        raise DataError(f"no finished result on the {SPLIT} split of {', '.join(missing)}", hint)
    return [_submitted(task, _choose(task, of_task[task.name], method), data) for task in tasks if of_task[task.name]]


def _is_of(result: Stored, task: Task) -> bool:
    return (result.manifest.task, result.manifest.split) == (task.name, SPLIT)


def _choose(task: Task, results: Sequence[Stored], method: str | None) -> Stored:
    if method is not None:
        return select(results, method)
    if len(results) > 1:
        several = "; ".join(f"{describe(result)} ({result.manifest.fingerprint[:8]})" for result in results[:6])
        raise DataError(f"{task.name} has {len(results)} results", f"--method names one of: {several}")
    return results[0]


def _submitted(task: Task, result: Stored, data: Path | None) -> Submitted:
    other = result.manifest.data.other_task
    if other is not None:
        raise DataError(f"{result.folder}: the answers are to data of another benchmark ({other})")
    path = split_files(task, data_root(task, data), SPLIT).questions
    wanted = _question_ids(path)
    answers: dict[str, str] = {}
    for sample in read_samples(result.folder):
        if sample.id in answers:
            raise DataError(f"{result.folder}: question {sample.id!r} has two answers")
        answers[sample.id] = sample.answer
    missing = [identifier for identifier in wanted if identifier not in answers]
    if missing:
        counted = f"{len(missing)} of {len(wanted)} questions in {path} have no answer"
        raise DataError(f"{result.folder}: {counted}, the first is {missing[0]!r}", "run the method on the whole split")
    known = set(wanted)
    extra = [identifier for identifier in answers if identifier not in known]
    if extra:
        counted = f"{len(extra)} of {len(answers)} answers have no question in {path}"
        raise DataError(
            f"{result.folder}: {counted}, the first is {extra[0]!r}", "check that --data is the same version"
        )
    return Submitted(task, result, {identifier: answers[identifier] for identifier in wanted})


def _question_ids(path: Path) -> list[str]:
    ids: dict[str, None] = {}
    with path.open("rb") as file:
        for number, question in enumerate(ListReader(str(path), file.read)):
            identifier = question.get("id") if isinstance(question, dict) else None
            if not isinstance(identifier, str):
                raise DataError(f"{path}: question {number} has no id or a non-string id")
            if identifier in ids:
                raise DataError(f"{path}: question {identifier!r} occurs twice")
            ids[identifier] = None
    return list(ids)


def write_submission(submitted: Sequence[Submitted], output: Path) -> None:
    """Write the zip; equal answers give equal bytes."""
    with replacing(output) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for each in submitted:
            golds = [{"id": identifier, "output": answer} for identifier, answer in each.answers.items()]
            entry = zipfile.ZipInfo(f"{each.task.benchmark}.json", _DATE)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            # ASCII, for readers that use the encoding of the locale.
            archive.writestr(entry, json.dumps({"task": each.task.benchmark, "golds": golds}) + "\n")
