"""Whose data files hold: what benchmark they name, and what their inputs ask. One rule for all that open data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...tasks import Task, instructions
from ._layout import GENERATED
from ._problems import Problem

#: The share of inputs that must begin with a benchmark's instruction to be taken for its data.
SHARE = 0.9
HINT = "--any-task insists, and the results say so; a task file of your own states its `benchmark` or `aliases`"


def stated_name(content: Mapping[str, Any]) -> str | None:
    """The benchmark that a file names in `task`; None where that is missing, null or empty."""
    name = content.get("task")
    if name is None or name == "":
        return None
    return name if isinstance(name, str) else json.dumps(name)


@dataclass(slots=True)
class Origin:
    """What the files of a split say about their benchmark."""

    #: The benchmark that a file names, by the file's role (`questions`, `outputs`, ...); files without are left out.
    names: dict[str, str] = field(default_factory=dict)
    #: Inputs with a query or a known instruction, and of these how many begin with the instruction of each benchmark.
    n_inputs: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def note(self, role: str, name: str | None) -> None:
        """Note the name that a file carries."""
        if name is not None:
            self.names[role] = name

    def see(self, question: object, task: Task, known: Mapping[str, str]) -> None:
        """Count the input of a question; `known` has the instruction of each benchmark."""
        text = question.get("input") if isinstance(question, dict) else None
        if not isinstance(text, str):
            return
        start = text.lstrip()
        found = [benchmark for benchmark, instruction in known.items() if start.startswith(instruction)]
        for benchmark in found:
            self.counts[benchmark] = self.counts.get(benchmark, 0) + 1
        self.n_inputs += bool(found) or task.query.is_in(text)


def known_instructions(task: Task) -> dict[str, str]:
    """The instructions of the shipped benchmarks, and the task's own."""
    own = {} if task.instruction is None else {task.benchmark: task.instruction}
    return {**instructions(), **own}


@dataclass(frozen=True, slots=True)
class OtherTask:
    """Files that are not of a task's benchmark."""

    #: What they are instead, such as `LaMP_5`; `unknown` where they do not say.
    what: str
    problem: Problem

    def refuse(self) -> DataError:
        """The error for whoever does not insist."""
        return DataError(f"{self.problem.file}: {self.problem}", HINT)


def other_task(task: Task, files: Mapping[str, Path], origin: Origin) -> OtherTask | None:
    """Whether files are of another benchmark than the task's; None where they are of the task's own.

    Generated data belong to generated tasks alone. Every name that a file carries must be the task's. Where most inputs
    (`SHARE`) begin with the instruction of another benchmark, they are of that one, whatever the files are called.
    Where no file carries a name, most inputs must begin with the task's instruction, if it has one.

    Args:
        task: the task.
        files: the files by role.
        origin: what the files say.
    """
    return _by_folder(task, files) or _by_name(task, files, origin) or _by_inputs(task, files, origin)


def _by_folder(task: Task, files: Mapping[str, Path]) -> OtherTask | None:
    for role in ("questions", "outputs"):
        generated = files[role].parent.parent / GENERATED if role in files else None
        if task.synthetic is None and generated is not None and generated.is_file():
            message = f"the data are mini-LaMP's, made by `prlm-bench data synth`; {task.benchmark!r} was expected"
            return OtherTask("mini-LaMP", Problem("error", str(generated), message))
    return None


def _by_name(task: Task, files: Mapping[str, Path], origin: Origin) -> OtherTask | None:
    for role, name in origin.names.items():
        if not task.is_named(name):
            message = f"is {name!r}; {task.benchmark!r} was expected"
            return OtherTask(name, Problem("error", str(files[role]), message, field="task"))
    return None


def _by_inputs(task: Task, files: Mapping[str, Path], origin: Origin) -> OtherTask | None:
    if task.instruction is None or not origin.n_inputs or _share(origin, task.benchmark) >= SHARE:
        return None
    others = [name for name in origin.counts if not task.is_named(name) and _share(origin, name) >= SHARE]
    if not others and origin.names:
        return None
    found = f"{origin.counts.get(task.benchmark, 0)} of {origin.n_inputs} inputs begin with {task.instruction!r}"
    if others:
        found += f", and {origin.counts[others[0]]} with the instruction of {others[0]}"
    else:
        found += f"; at least {SHARE:.0%} must where no file names its benchmark"
    return OtherTask(
        others[0] if others else "unknown", Problem("error", str(files["questions"]), found, field="input")
    )


def _share(origin: Origin, benchmark: str) -> float:
    return origin.counts.get(benchmark, 0) / origin.n_inputs
