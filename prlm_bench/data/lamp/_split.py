"""Splits the questions of one split by users, into halves that are the same wherever and whenever they are made."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..._util.json_text import read_json
from ...errors import DataError
from .._dataset import Dataset
from .._write_json import listing
from ..store._json import ListReader
from ._layout import GENERATED, questions_file, split_files


@dataclass(frozen=True)
class Half:
    """A split that was written."""

    questions_file: Path
    split: str
    questions: int
    users: int


def split_by_user(dataset: Dataset, output: Path, names: tuple[str, str] = ("train", "test")) -> list[Half]:
    """Write the questions of a split as two splits of as nearly equal size as whole users allow.

    Users are ordered by the SHA-256 of their ids; the first ones are the first half. A question without `user_id` is a
    user of its own. Neither a seed nor the order of the file has any influence, nor has it on the order of what is
    written. All fields of the questions are kept, and the files of golds and of relevant items.

    Args:
        dataset: without malformed questions; its questions are held in memory.
        output: the data root to write to; the task's folder is made in it.
        names: of the two splits.

    Raises:
        DataError: questions are malformed, there is one user only, the splits are there already, or a file cannot be
            written.
    """
    if dataset.n_invalid:
        raise DataError(f"{dataset.n_invalid} questions of {dataset.root} are malformed", "mend or remove them first")
    folder = output / dataset.task.folder
    _check(folder, names)
    chosen = first_half(dataset.users)
    files = split_files(dataset.task, dataset.root, dataset.split).by_role()
    rows = _rows(dataset, files["questions"])
    companions = {role: read_json(path) for role, path in files.items() if role != "questions"}
    try:
        halves = []
        for place, name in enumerate(names):
            half = [row for row in rows if (row[0] in chosen) == (place == 0)]
            _write(folder, name, half, companions)
            users = len({user for user, _, _ in half})
            halves.append(Half(questions_file(folder, name), name, len(half), users))
        if (dataset.root / GENERATED).is_file():
            shutil.copyfile(dataset.root / GENERATED, folder / GENERATED)
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    return halves


def first_half(users: Sequence[str]) -> frozenset[str]:
    """The users of the first half of some questions.

    Args:
        users: of each question.

    Raises:
        DataError: there is one user only.
    """
    sizes = Counter(users)
    if len(sizes) < 2:
        raise DataError("the questions of one user cannot be split by users")
    ordered = sorted(sizes, key=_key)
    sums = list(accumulate(sizes[user] for user in ordered))
    # Of equally near sums, the smaller; both halves have a user.
    count = min(range(1, len(ordered)), key=lambda n: abs(2 * sums[n - 1] - len(users)))
    return frozenset(ordered[:count])


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _check(folder: Path, names: Sequence[str]) -> None:
    if len(set(names)) < len(names) or any(Path(name).name != name for name in names):
        raise DataError(f"splits cannot be named {' and '.join(map(repr, names))}", "give two names of folders")
    for name in names:
        place = folder / name
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise DataError(f"{place} already exists", "give another --output, or remove it")


def _rows(dataset: Dataset, path: Path) -> list[tuple[str, str, Any]]:
    """User, id and question, in the order of their hashes."""
    with path.open("rb") as file:
        questions = list(ListReader(str(path), file.read))
    rows = zip(dataset.users, dataset.ids, questions, strict=True)
    return sorted(rows, key=lambda row: (_key(row[0]), _key(row[1])))


def _write(folder: Path, name: str, rows: Sequence[tuple[str, str, Any]], companions: dict[str, Any]) -> None:
    """Write a split; its questions come last, and make it one."""
    path = questions_file(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if "relevance" in companions:
        with listing(path.with_name(f"{name}_relevance.json"), "{", "}") as add:
            for _, number, _ in rows:
                if number in companions["relevance"]:
                    add(f"{json.dumps(number)}: {json.dumps(companions['relevance'][number])}")
    if "outputs" in companions:
        _write_outputs(path.with_name(f"{name}_outputs.json"), rows, companions["outputs"])
    with listing(path, "[", "]") as add:
        for _, _, question in rows:
            add(json.dumps(question))


def _write_outputs(path: Path, rows: Sequence[tuple[str, str, Any]], content: Any) -> None:
    """Golds in the form that they had: the member `golds` of an object, or the list alone."""
    members = {key: value for key, value in content.items() if key != "golds"} if isinstance(content, dict) else None
    golds = {entry["id"]: entry for entry in (content if members is None else content["golds"])}
    opened = "" if members is None else f"{json.dumps(members)[:-1]}{', ' if members else ''}" + '"golds": '
    with listing(path, f"{opened}[", "]" if members is None else "]}") as add:
        for _, number, _ in rows:
            if number in golds:
                add(json.dumps(golds[number]))
