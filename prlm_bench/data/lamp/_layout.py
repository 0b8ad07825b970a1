"""Where a task's files are: LaMP's layout, `<split>/<split>_questions.json` and its companions."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..._util.files import expanded
from ...errors import DataError
from ...tasks import Task

ENVIRONMENT = "PRLM_BENCH_DATA"
#: The file in a task's folder that says that its data were made here.
GENERATED = "mini_lamp.json"
_HINT = "give its folder with --data DIR, or fetch it with `prlm-bench data download`"


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """The files of one split."""

    #: `<split>_questions.json`.
    questions: Path
    #: `<split>_outputs.json`; None where the golds are withheld.
    outputs: Path | None
    #: `<split>_relevance.json`, `{question id: [relevant item ids]}`; None where nobody knows.
    relevance: Path | None

    def by_role(self) -> dict[str, Path]:
        """The files that exist, under the names `questions`, `outputs` and `relevance`."""
        files = {"questions": self.questions, "outputs": self.outputs, "relevance": self.relevance}
        return {role: path for role, path in files.items() if path is not None}


def questions_file(root: Path, split: str) -> Path:
    """Where the questions of `split` belong."""
    return root / split / f"{split}_questions.json"


def is_split_name(text: str) -> bool:
    """Whether a text can name a split: it is a folder of a task, and of a row's results, and never another place."""
    return re.fullmatch(r"\w[\w.-]{0,99}", text) is not None


def splits_in(root: Path) -> list[str]:
    """The splits that a task's folder holds, sorted; none where it is no such folder."""
    try:
        return sorted(entry.name for entry in root.iterdir() if questions_file(root, entry.name).is_file())
    except OSError:
        return []


def data_root(task: Task, explicit: Path | None = None) -> Path:
    """The folder of a task's files: `explicit`, else what PRLM_BENCH_DATA names.

    Either may be the task's own folder, with splits in it, or the folder that holds `<task.folder>/`.

    Raises:
        DataError: neither is given, or there are no questions in what is; the message names what was looked for.
    """
    if explicit is not None:
        base = Path(explicit)
    elif os.environ.get(ENVIRONMENT):
        base = expanded(os.environ[ENVIRONMENT])
    else:
        raise DataError(f"no data for task {task.name}: {ENVIRONMENT} is not set", _HINT)
    for candidate in (base, base / task.folder):
        if splits_in(candidate):
            return candidate
    if not base.is_dir():
        raise DataError(f"no data for task {task.name}: there is no folder {base}", _HINT)
    wanted = f"SPLIT/SPLIT_questions.json or {task.folder}/SPLIT/SPLIT_questions.json"
    raise DataError(f"no data for task {task.name}: {base} has no {wanted}", _HINT)


def split_files(task: Task, root: Path, split: str) -> SplitFiles:
    """The files of one split below `root`, which is as `data_root` takes it.

    Raises:
        DataError: `root` holds no questions, or no such split; the message lists the splits found.
    """
    folder = data_root(task, root)
    questions = questions_file(folder, split)
    if not is_split_name(split) or not questions.is_file():
        found = ", ".join(splits_in(folder))
        raise DataError(f"{folder} has no split {split!r}: there is no {questions}", f"splits found: {found}")
    outputs = questions.with_name(f"{split}_outputs.json")
    relevance = questions.with_name(f"{split}_relevance.json")
    return SplitFiles(questions, outputs if outputs.is_file() else None, relevance if relevance.is_file() else None)
