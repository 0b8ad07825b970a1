"""What `score` reads: golds, predictions and users, by the rules and in the words of an import."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..._util.json_text import read_json
from ..._util.text import MAX_ANSWER, length_problem
from ...errors import DataError
from ...tasks import Task
from ..store._json import ListReader
from ._check import head_problems, named_user
from ._origin import Origin, known_instructions, other_task, stated_name
from ._outputs import Golds, gather_outputs

#: A file, or its content by question id.
Source = Mapping[str, Any] | Path
_HINT = "--skip-invalid goes on without them"


@dataclass(frozen=True, slots=True)
class ToScore:
    """Golds and predictions of the same questions, in the order of the golds."""

    ids: list[str]
    golds: list[str]
    predictions: list[str]
    users: list[str]
    #: What the reader of the figures should know, a sentence each.
    notes: list[str] = field(default_factory=list)


class ScoreReader:
    """Reads what is to be scored, each source a file or a mapping.

    Args:
        task: the task whose golds and predictions they are.
        any_task: take files of another benchmark than the task's.
        skip_invalid: leave malformed golds out, with their predictions.
        max_answer: characters of a prediction or a gold at most.
    """

    def __init__(
        self, task: Task, *, any_task: bool = False, skip_invalid: bool = False, max_answer: int = MAX_ANSWER
    ) -> None:
        self._task = task
        self._any_task = any_task
        self._skip_invalid = skip_invalid
        self._max_answer = max_answer
        self._notes: list[str] = []

    def read(self, golds: Source, predictions: Source, users: Source | None) -> ToScore:
        """Read all three.

        Args:
            golds: references by question id, or a file of them.
            predictions: answers by question id, or a file of them.
            users: the user of each question, a file of questions that name them, or None: each question is a user.

        Raises:
            DataError: a source is malformed or of another benchmark, or ids do not agree.
        """
        self._notes = []
        golds_name, references = self._outputs(golds, "golds", self._task)
        kept, bad = references.outputs, references.bad
        if bad and not self._skip_invalid:
            count = f"{len(bad)} of {len({**kept, **bad})} golds {'is' if len(bad) == 1 else 'are'} malformed"
            raise DataError(f"{golds_name}: {count}, first {references.first_bad(golds_name, bad)}", _HINT)
        if bad:
            self._notes.append(f"malformed golds left out: {len(bad)}, first {references.first_bad(golds_name, bad)}")
        kept = {identifier: text for identifier, text in kept.items() if identifier not in bad}
        name, answers = self._outputs(predictions, "predictions", None)
        _same_ids({**answers.outputs, **answers.bad}, kept, bad, name)
        wrong = [identifier for identifier in answers.bad if identifier not in bad]
        if wrong:
            raise DataError(f"{name}: {answers.first_bad(name, wrong)}")
        for where, texts in ((golds_name, kept), (name, answers.outputs)):
            self._check_lengths(where, texts)
        ids = list(kept)
        return ToScore(
            ids, list(kept.values()), [answers.outputs[i] for i in ids], self._users(users, ids), self._notes
        )

    def _check_lengths(self, name: str, texts: Mapping[str, str]) -> None:
        for identifier, text in texts.items():
            problem = length_problem(text, self._max_answer)
            if problem:
                raise DataError(f"{name}: the output of question {identifier!r} {problem}")

    def _outputs(self, source: Source, what: str, task: Task | None) -> tuple[str, Golds]:
        if isinstance(source, Mapping):
            content = {"golds": [{"id": key, "output": value} for key, value in source.items()]}
            name, found = what, gather_outputs(what, content, task=task)
        else:
            name = str(source)
            found = gather_outputs(name, read_json(source), task=task)
            role = "predictions" if task is None else "outputs"
            origin = Origin()
            origin.note(role, found.task)
            if found.task is None:
                self._notes.append(f"{name} names no task; {self._task.benchmark!r} was expected")
            self._check_origin({role: source}, origin)
        if found.errors and not (self._skip_invalid and task is not None):
            raise DataError(f"{name}: {found.errors[0]}", _HINT if task is not None else "")
        if found.errors:
            self._notes.append(f"golds of no question left out: {len(found.errors)}, first {found.errors[0]}")
        return name, found

    def _check_origin(self, files: Mapping[str, Path], origin: Origin) -> None:
        other = other_task(self._task, files, origin)
        if other is None:
            return
        if not self._any_task:
            raise other.refuse()
        self._notes.append(f"{other.problem.file} is of another benchmark: {other.what}")

    def _users(self, source: Source | None, ids: list[str]) -> list[str]:
        if source is None:
            return ids
        if isinstance(source, Mapping):
            named = ({"id": identifier, "user_id": user} for identifier, user in source.items())
            name, found = "users", _checked_users("users", named)
        else:
            name, found = str(source), self._users_of(source)
        missing = [identifier for identifier in ids if identifier not in found]
        if missing:
            raise DataError(f"{name}: {len(missing)} of {len(ids)} questions are missing, the first is {missing[0]!r}")
        unnamed = sum(found[identifier] is None for identifier in ids)
        if unnamed:
            self._notes.append(f"{unnamed} of {len(ids)} questions name no user and count as users of their own")
        return [found[identifier] or identifier for identifier in ids]

    def _users_of(self, path: Path) -> dict[str, str | None]:
        origin, known = Origin(), known_instructions(self._task)
        try:
            file = path.open("rb")
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None

        def heads(questions: ListReader) -> Iterator[object]:
            for question in questions:
                origin.see(question, self._task, known)
                yield question

        with file:
            questions = ListReader(str(path), file.read)
            users = _checked_users(str(path), heads(questions), ("id", "input"))
        origin.note("questions", stated_name(questions.members))
        self._check_origin({"questions": path}, origin)
        return users


def _checked_users(file: str, questions: Iterable[object], needed: Sequence[str] = ("id",)) -> dict[str, str | None]:
    """The user of each question by its id; None where it names none.

    Raises:
        DataError: a question is malformed; in the words of an import.
    """
    users: dict[str, str | None] = {}
    for index, question in enumerate(questions):
        for problem in head_problems(file, index, question, needed, users):
            raise DataError(f"{file}: {problem}")
        assert isinstance(question, dict)
        users[question["id"]] = named_user(question)
    return users


def _same_ids(found: Mapping[str, Any], like: Mapping[str, Any], known: Mapping[str, Any], name: str) -> None:
    missing = [identifier for identifier in like if identifier not in found]
    extra = [identifier for identifier in found if identifier not in like and identifier not in known]
    for ids, what in ((missing, "golds have no prediction"), (extra, "predictions have no gold")):
        if ids:
            of = len(like) if ids is missing else len(found)
            raise DataError(f"{name}: {len(ids)} of {of} {what}, the first is {ids[0]!r}")
