"""The append-only journal of one cell: a line for each finished sample, written the moment it is done.

A process may die at any byte. Reading keeps every whole line and forgets a torn or damaged one, so that
its sample is run again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from .._util.locks import try_lock
from ..errors import RunError


class Journal:
    """The open journal of a result folder; only one process may hold it.

    Args:
        path: the journal file; made where it is missing.

    Raises:
        RunError: another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = try_lock(lock_of(path))
        if lock is None:
            raise RunError(f"{path.parent} is being written by another process", "wait for it, or stop it")
        self._lock = lock
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError:
            lock.release()
            raise
        #: Where each finished sample's line begins, and its length in bytes, by question id.
        self.lines: dict[str, tuple[int, int]] = {}
        self._end = self._recover()

    def append(self, identifier: str, line: bytes) -> None:
        """Write one finished sample; it survives the end of this process from here on.

        Args:
            identifier: the question's id; a sample that is there already is left as it is.
            line: one JSON object without line breaks.
        """
        if identifier in self.lines:
            return
        written = 0
        content = line + b"\n"
        try:
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
        except OSError as error:
            error.filename = str(self.path)
            raise
        self.lines[identifier] = (self._end, len(line))
        self._end += len(content)

    def read(self, identifier: str) -> dict[str, Any]:
        """A finished sample."""
        start, length = self.lines[identifier]
        record: dict[str, Any] = orjson.loads(os.pread(self._descriptor, length, start))
        return record

    def close(self) -> None:
        """Close the file and release the lock."""
        os.close(self._descriptor)
        self._lock.release()

    def _recover(self) -> int:
        end = 0
        for start, line in _whole_lines(self.path):
            end = start + len(line) + 1
            identifier = _identifier(line)
            if identifier is not None:
                self.lines.setdefault(identifier, (start, len(line)))
        os.ftruncate(self._descriptor, end)
        return end


def lock_of(path: Path) -> Path:
    """The lock file of a journal; a process that was killed leaves it behind."""
    return path.with_name(path.name + ".lock")


def finished_ids(path: Path) -> list[str]:
    """The questions that a journal holds, without taking it; none where there is no journal."""
    if not path.is_file():
        return []
    return [identifier for _, line in _whole_lines(path) if (identifier := _identifier(line)) is not None]


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    position = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield position, line[:-1]
            position += len(line)


def _identifier(line: bytes) -> str | None:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    identifier = record.get("id") if isinstance(record, dict) else None
    return identifier if isinstance(identifier, str) else None
