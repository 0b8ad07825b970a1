"""Reports everything that is wrong with one split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..._util.cache_folder import cache_root
from ..._util.json_text import StructureError
from ..._util.text import well_formed
from ...tasks import Task
from ..store._hashes import HashingReader, Progress
from ..store._json import ListReader
from ._check import Checker, named_user
from ._companions import Relevance, read_relevance
from ._layout import SplitFiles, split_files
from ._origin import other_task, stated_name
from ._outputs import Golds, read_golds
from ._problems import Problem


@dataclass(slots=True)
class Report:
    """What `validate` found."""

    task: str
    split: str
    #: The files that were read.
    files: list[str]
    #: In the order of the files: questions, outputs, relevance.
    problems: list[Problem] = field(default_factory=list)
    #: Questions that were read.
    n_questions: int = 0
    #: Questions with at least one error; `skip_invalid` leaves these out.
    n_invalid: int = 0
    #: True where a file could not be read to its end: nothing can be imported.
    fatal: bool = False
    #: True where the files are of another benchmark than the task's.
    other_task: bool = False

    @property
    def errors(self) -> list[Problem]:
        """The problems that keep a question, or the file, from being used."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that do not."""
        return [problem for problem in self.problems if problem.severity == "warning"]

    @property
    def ok(self) -> bool:
        """True where there are no errors."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON object."""
        names = ("task", "split", "files", "n_questions", "n_invalid", "fatal", "other_task", "ok")
        content = {name: getattr(self, name) for name in names}
        content["files"] = list(map(well_formed, self.files))
        return {**content, "problems": [problem.to_dict() for problem in self.problems]}


def validate(
    task: Task,
    root: Path,
    split: str,
    *,
    any_task: bool = False,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Read one split from end to end and report all problems; nothing is imported.

    Args:
        task: the task.
        root: the folder in LaMP's layout, or its parent with `<task.folder>/` in it.
        split: which split.
        any_task: files of another benchmark are a warning instead of an error.
        cache: where hashes of files are remembered; `cache_root()` where it is None.
        progress: called with bytes read of the questions file and bytes in all.

    Raises:
        DataError: there is no such split, or a file cannot be opened.
    """
    files = split_files(task, root, split)
    report = Report(task.name, split, [str(path) for path in files.by_role().values()])
    _Validation(task, files, report, cache if cache is not None else cache_root(), any_task, progress).run()
    return report


class _Validation:
    def __init__(
        self,
        task: Task,
        files: SplitFiles,
        report: Report,
        cache: Path,
        any_task: bool,
        progress: Progress | None,
    ) -> None:
        self._task = task
        self._files = files
        self._report = report
        self._cache = cache
        self._any_task = any_task
        self._progress = progress

    def run(self) -> None:
        golds, relevance, later = self._companions()
        checker = Checker(self._task, self._files.questions, golds, relevance)
        read_all = self._questions(checker)
        other = other_task(self._task, self._files.by_role(), checker.origin)
        if other is not None:
            self._report.other_task = True
            problem = replace(other.problem, severity="warning") if self._any_task else other.problem
            self._report.problems.insert(0, problem)
        self._report.problems += later
        if golds is not None and self._files.outputs is not None:
            self._report.problems += golds.problems
            if read_all:
                self._report.problems += _unused(self._files.outputs, _names(golds), checker.seen, "gold")
        if relevance is not None and self._files.relevance is not None and read_all:
            names = {**relevance.items, **relevance.bad}
            self._report.problems += _unused(self._files.relevance, names, checker.seen, "relevance")

    def _companions(self) -> tuple[Golds | None, Relevance | None, list[Problem]]:
        golds, relevance = None, None
        problems = []
        if self._files.outputs is not None:
            try:
                golds = read_golds(self._task, self._files.outputs, self._cache)
            except StructureError as error:
                problems.append(self._fatal(self._files.outputs, error))
        if self._files.relevance is not None:
            try:
                relevance = read_relevance(self._files.relevance, self._cache)
            except StructureError as error:
                problems.append(self._fatal(self._files.relevance, error))
        return golds, relevance, problems

    def _questions(self, checker: Checker) -> bool:
        """Check the questions; True where the file could be read to its end."""
        report, path = self._report, self._files.questions
        users = 0
        with HashingReader(path, self._progress) as source:
            try:
                questions = ListReader(str(path), source.read)
                for index, question in enumerate(questions):
                    problems = checker.problems(index, question)
                    report.problems += problems
                    report.n_questions += 1
                    if any(problem.severity == "error" for problem in problems):
                        report.n_invalid += 1
                    else:
                        users += named_user(question) is not None
            except StructureError as error:
                report.problems.append(self._fatal(path, error))
                return False
            source.finish(self._cache)
        checker.origin.note("questions", stated_name(questions.members))
        sound = report.n_questions - report.n_invalid
        if 0 < users < sound:
            message = f"given for {users} of {sound} sound questions; the others count as users of their own"
            report.problems.append(Problem("warning", str(path), message, field="user_id"))
        if not report.n_questions:
            report.problems.append(Problem("warning", str(path), "the list of questions is empty"))
        return True

    def _fatal(self, path: Path, error: StructureError) -> Problem:
        self._report.fatal = True
        return Problem("error", str(path), error.problem)


def _names(golds: Golds) -> dict[str, Any]:
    return {**golds.outputs, **golds.bad}


def _unused(path: Path, names: dict[str, Any], seen: set[str], what: str) -> Iterator[Problem]:
    for name in names:
        if name not in seen:
            yield Problem("warning", str(path), "no question has this id", id=name, field=what)
