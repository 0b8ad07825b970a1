"""Lists and prunes the files of the completion cache."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .._util.json_text import parse_record
from ..errors import DataError
from ._generation_cache import BROKEN, FOLDER, SUFFIX


@dataclass(frozen=True, slots=True)
class GenerationFile:
    """A cache file with the completions of one generator."""

    path: Path
    #: Identity of the generator; empty for an unreadable file.
    identity: dict[str, str]
    #: Number of completions; None for an unreadable file.
    count: int | None
    bytes: int
    #: Days since the file was last opened by a run.
    age: float


def generation_files(root: Path) -> list[GenerationFile]:
    """The files below the cache folder `root`, largest first."""
    found = [_describe(path) for path in _files(root)]
    return sorted(found, key=lambda file: (-file.bytes, file.path))


def prune(root: Path, older_than: float = 0.0) -> tuple[list[GenerationFile], list[GenerationFile]]:
    """Remove files that no run has opened for more than `older_than` days, broken files included.

    Returns:
        The removed files, and those kept because a process is using them.

    Raises:
        OSError: a file cannot be removed.
    """
    removed, in_use = [], []
    for file in generation_files(root):
        if file.age < older_than:
            continue
        if file.count is not None and not _is_free(file.path):
            in_use.append(file)
            continue
        for tail in ("", "-wal", "-shm"):
            file.path.with_name(file.path.name + tail).unlink(missing_ok=True)
        removed.append(file)
    return removed, in_use


def _files(root: Path) -> Iterator[Path]:
    for path in sorted((root / FOLDER).glob(f"*{SUFFIX}*")):
        if path.name.endswith((SUFFIX, BROKEN)):
            yield path


def _describe(path: Path) -> GenerationFile:
    sizes = [other.stat().st_size for other in (path, path.with_name(path.name + "-wal")) if other.exists()]
    age = (time.time() - path.stat().st_mtime) / 86400
    identity: dict[str, str] = {}
    count = None
    try:
        with closing(_connect(path)) as connection:
            (text,) = connection.execute("SELECT json FROM identity").fetchone() or ("{}",)
            (count,) = connection.execute("SELECT count(*) FROM completions").fetchone()
            identity = parse_record(str(text).encode(errors="replace"), dict[str, str], str(path))
    except (sqlite3.Error, ValueError, TypeError, DataError):
        count = None
    return GenerationFile(path, identity, count, sum(sizes), age)


def _is_free(path: Path) -> bool:
    """Whether no process has the file open: only then can write-ahead mode be switched off."""
    times = path.stat()
    try:
        with closing(_connect(path)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.Error:
        return False
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return str(mode) == "delete"


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=1.0)
