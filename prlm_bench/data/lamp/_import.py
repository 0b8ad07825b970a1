"""Finds the store of a split's files, or makes it."""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from ...errors import DataError
from ...tasks import Task
from ..store._folders import clean, publish, scratch_folder
from ..store._hashes import HashingReader, Progress, hash_file, recall
from ..store._json import ListReader
from ..store._store import ITEMS, QUESTIONS, BrokenStoreError, Meta, Store, store_key
from ..store._write import Row, StoreWriter
from ._check import Checker
from ._companions import read_relevance
from ._layout import SplitFiles
from ._origin import stated_name
from ._outputs import read_golds


def load_store(task: Task, files: SplitFiles, cache: Path, progress: Progress | None = None) -> Store:
    """The store of these files, imported on first use.

    Args:
        task: says which item fields there are and where the query stands.
        files: the files of one split.
        cache: the cache folder; need not exist.
        progress: called with bytes read of the questions file and bytes in all.

    Raises:
        DataError: the files cannot be read as JSON, or the cache cannot be written.
    """
    stores = cache / "data"
    sha256 = _known_hashes(files, cache, stores)
    if sha256 is not None:
        try:
            return Store(stores / store_key(task, sha256), task.item_fields)
        except BrokenStoreError:
            pass
    try:
        clean(stores)
        with scratch_folder(stores) as folder:
            meta = _import(task, files, cache, folder, progress)
            target = stores / meta.key
            publish(folder, target, lambda path: _is_whole(path, task))
        return Store(target, task.item_fields)
    except (OSError, pa.ArrowException) as error:
        raise _unwritable(stores, error) from None


def _known_hashes(files: SplitFiles, cache: Path, stores: Path) -> dict[str, str] | None:
    """The hashes by role; None where nothing can be stored for them yet."""
    questions = recall(cache, files.questions)
    if questions is None:
        # Reading the file for its hash alone is worth while only if a store of it may exist.
        if files.questions.stat().st_size not in _stored_sizes(stores):
            return None
        questions = hash_file(cache, files.questions)
    small = {role: hash_file(cache, path) for role, path in files.by_role().items() if role != "questions"}
    return {"questions": questions, **small}


def _stored_sizes(stores: Path) -> set[int]:
    sizes = set()
    for folder in stores.glob("[!.]*"):
        try:
            sizes.add(Meta.read(folder).source_bytes)
        except DataError:
            continue
    return sizes


def _import(task: Task, files: SplitFiles, cache: Path, folder: Path, progress: Progress | None) -> Meta:
    golds = read_golds(task, files.outputs, cache) if files.outputs else None
    relevance = read_relevance(files.relevance, cache) if files.relevance else None
    checker = Checker(task, files.questions, golds, relevance)
    n_invalid, first_problem = 0, ""
    with (
        _no_cycles(),
        HashingReader(files.questions, progress) as source,
        StoreWriter(folder, task.item_fields) as writer,
    ):
        questions = ListReader(str(files.questions), source.read)
        for index, question in enumerate(questions):
            found = checker.examine(index, question)
            if isinstance(found, Row):
                writer.add(found, source.done)
                continue
            n_invalid += 1
            first_problem = first_problem or str(found[0])
        sha256 = {"questions": source.finish(cache)}
    checker.origin.note("questions", stated_name(questions.members))
    if golds is not None:
        sha256["outputs"] = golds.sha256
    if relevance is not None:
        sha256["relevance"] = relevance.sha256
    meta = Meta(
        key=store_key(task, sha256),
        sha256=sha256,
        source_bytes=source.done,
        n_total=questions.count,
        n_invalid=n_invalid,
        first_problem=first_problem,
        lost_gold=str(golds.errors[0]) if golds is not None and golds.errors else "",
        origin=asdict(checker.origin),
        n_with_user=writer.n_with_user,
        n_with_date=writer.n_with_date,
        item_rows=writer.item_rows,
        question_rows=writer.question_rows,
        bytes={name: (folder / name).stat().st_size for name in (ITEMS, QUESTIONS)},
    )
    meta.write(folder)
    return meta


@contextmanager
def _no_cycles() -> Iterator[None]:
    """Pause the search for cycles: millions of small objects are made, none in a cycle; saves a fifth."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _is_whole(folder: Path, task: Task) -> bool:
    try:
        # The name in the folder is what `Store` checks against, so it is opened where it lies.
        Store(folder, task.item_fields)
    except BrokenStoreError:
        return False
    return True


def _unwritable(stores: Path, error: Exception) -> DataError:
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if isinstance(number, int) else str(error)
    hint = "PRLM_BENCH_CACHE names another folder"
    if number == errno.ENOSPC:
        hint = "make room, or let " + hint.replace("names", "name")
    return DataError(f"{stores}: the imported data cannot be written: {reason}", hint)
