"""SHA-256 of files, remembered, so that an unchanged file of several GB is not read again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel

from ..._util.files import write_whole
from ..._util.json_text import load_json
from ...errors import DataError

Progress = Callable[[int, int], None]

#: A file changed less than this many seconds ago could change again within the clock's resolution.
SETTLED = 2.0


class _Noted(BaseModel):
    """What is remembered of a file."""

    state: list[int]
    sha256: str


def file_state(status: os.stat_result) -> list[int]:
    """What changes when a file does: size, modification and change time in ns, inode and device."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]


def recall(cache: Path, path: Path) -> str | None:
    """The remembered hash of a file; None where it is unknown or the file has changed."""
    try:
        noted = load_json(_note(cache, path), _Noted)
        return noted.sha256 if noted.state == file_state(path.stat()) else None
    except (OSError, DataError):
        return None


def remember(cache: Path, path: Path, status: os.stat_result, sha256: str) -> None:
    """Note the hash of a file that was in this state while it was read."""
    if time.time() - max(status.st_mtime, status.st_ctime) < SETTLED:
        return
    note = {"path": str(path), "state": file_state(status), "sha256": sha256}
    # Where it cannot be written, only time is lost: the file is hashed again.
    with suppress(OSError):
        write_whole(_note(cache, path), json.dumps(note).encode())


def _note(cache: Path, path: Path) -> Path:
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return cache / "hashes" / f"{name}.json"


class HashingReader:
    """Reads a file once, front to back, and hashes what passes.

    Args:
        path: the file.
        progress: called with bytes read and bytes in all.

    Raises:
        DataError: the file cannot be read.
    """

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        self.path = path
        self._progress = progress
        self._digest = hashlib.sha256()
        #: Bytes read so far.
        self.done = 0
        try:
            self._file: BinaryIO = path.open("rb", buffering=0)
        except OSError as error:
            raise _unreadable(path, error) from None
        self.status = os.fstat(self._file.fileno())

    def __enter__(self) -> HashingReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """Up to `size` of the next bytes; none at the end."""
        try:
            data = self._file.read(size)
        except OSError as error:
            raise _unreadable(self.path, error) from None
        self._digest.update(data)
        self.done += len(data)
        if self._progress is not None:
            self._progress(self.done, self.status.st_size)
        return data

    def finish(self, cache: Path) -> str:
        """The hash of the whole file, which is remembered.

        Raises:
            DataError: the file changed while it was read.
        """
        while self.read(1 << 20):
            pass
        now = os.fstat(self._file.fileno())
        if file_state(now) != file_state(self.status) or self.done != now.st_size:
            raise DataError(f"{self.path}: the file changed while it was read", "try again when it is complete")
        sha256 = self._digest.hexdigest()
        remember(cache, self.path, self.status, sha256)
        return sha256


def hash_file(cache: Path, path: Path) -> str:
    """The hash of a file, from memory where possible.

    Raises:
        DataError: the file cannot be read.
    """
    known = recall(cache, path)
    if known is not None:
        return known
    with HashingReader(path) as reader:
        return reader.finish(cache)


def has_hash(cache: Path, path: Path, sha256: str) -> bool:
    """Whether a file has this hash; it is read only where that is not remembered.

    Raises:
        DataError: the file cannot be read.
    """
    if recall(cache, path) == sha256:
        return True
    # Not known, or the file or what is remembered of it is damaged.
    with HashingReader(path) as reader:
        return reader.finish(cache) == sha256


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read: {error.strerror or error}")
