"""The append-only journal of one run: a line for each finished sample, written immediately.

A process may be killed at any byte, and a disk may change one. Each line ends with the start of its row's fingerprint
and a checksum. Reading keeps complete lines that are as they were written; the samples of the others are run again.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from .._util.checksums import seal, unseal
from .._util.locks import try_lock
from ..errors import RunError
from ._schema import SampleRecord

_log = logging.getLogger(__name__)

#: The end of a line before it is sealed: after the fields of the sample, that of the journal.
_ROW = re.compile(rb',"row":"([0-9a-f]{8})"\}')
_ROW_LENGTH = len(b',"row":"00000000"}')
_BOM = b"\xef\xbb\xbf"
#: Fields of a line that `samples.jsonl` does not have: why a reward gave no value, by its spec; and the seconds that
#: generating the completion took.
REWARD_FAILURES, SECONDS = "reward_failures", "seconds"
JOURNAL_FIELDS = (REWARD_FAILURES, SECONDS)


class Journal:
    """The open journal of a result folder, locked by this process.

    Args:
        path: the journal file; created if missing.
        fingerprint: that of the row; lines of other rows are dropped.

    Raises:
        RunError: another process has locked it, or it is not a regular file.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self._row = fingerprint[:8].encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = try_lock(lock_of(path))
        if lock is None:
            raise RunError(f"{path.parent} is being written by another process", "wait for it, or stop it")
        self._lock = lock
        try:
            self._descriptor = _opened(path)
        except BaseException:
            lock.release()
            raise
        #: Where each finished sample's line begins, and its length in bytes, by question id.
        self.lines: dict[str, tuple[int, int]] = {}
        self._end = self._recover()

    def append(self, identifier: str, line: bytes) -> None:
        """Write one finished sample; it survives the end of this process.

        Args:
            identifier: the question's id; an existing sample is not replaced.
            line: the sample as `sample_line` writes it; it stands so in the result.
        """
        if identifier in self.lines:
            return
        written = 0
        sealed = _sealed(line, self._row)
        content = sealed + b"\n"
        try:
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
        except OSError as error:
            error.filename = str(self.path)
            raise
        self.lines[identifier] = (self._end, len(sealed))
        self._end += len(content)

    def read(self, identifier: str) -> dict[str, Any]:
        """A finished sample, with those of `JOURNAL_FIELDS` that it has.

        Raises:
            RunError: another program has changed the journal since the sample was written.
        """
        record = parsed_line(self._at(identifier), self._row, seen=True)
        if record is None or record["id"] != identifier:
            raise self._changed()
        return record

    def text(self, identifier: str) -> bytes:
        """A finished sample as the JSON text that was written; faster than `read`.

        Raises:
            RunError: another program has changed the journal since the sample was written.
        """
        line = self._at(identifier)
        text = _unsealed(line, self._row)
        if text is None:
            raise self._changed()
        return orjson.dumps(self.read(identifier)) if text is line else text

    def _at(self, identifier: str) -> bytes:
        start, length = self.lines[identifier]
        return os.pread(self._descriptor, length, start)

    def _changed(self) -> RunError:
        hint = "repeat the command; samples that are intact are kept"
        return RunError(f"{self.path}: another program changed it during the run", hint)

    def close(self) -> None:
        """Close the file and release the lock."""
        os.close(self._descriptor)
        self._lock.release()

    def _recover(self) -> int:
        end = bad = 0
        for start, line in _whole_lines(self.path):
            end = start + len(line) + 1
            skipped = len(_BOM) if line.startswith(_BOM) else 0
            content = line[skipped:].rstrip(b"\r")
            record = parsed_line(content, self._row)
            if record is not None:
                self.lines.setdefault(record["id"], (start + skipped, len(content)))
            elif content:
                bad += 1
        if bad:
            lines = "line is" if bad == 1 else "lines are"
            message = "prlm-bench: warning: %s: %d %s damaged or foreign; the questions are asked again"
            _log.warning(message, self.path, bad, lines)
        os.ftruncate(self._descriptor, end)
        return end


def _opened(path: Path) -> int:
    """Open a journal to append to; what a symbolic link points to would be truncated, so links are refused."""
    if path.is_symlink() or (path.exists() and not (path.is_file() or path.is_dir())):
        raise RunError(f"{path} is not a regular file", "remove it, and repeat the command")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RunError(f"{path} is not a regular file", "remove it, and repeat the command")
    return descriptor


def lock_of(path: Path) -> Path:
    """The lock file of a journal; a process that was killed leaves it behind."""
    return path.with_name(path.name + ".lock")


def finished_ids(path: Path, fingerprint: str | None = None) -> list[str]:
    """The questions in a journal, read without locking it; none if there is no journal.

    Args:
        path: the journal file.
        fingerprint: if given, lines of other rows do not count.
    """
    if not path.is_file():
        return []
    row = None if fingerprint is None else fingerprint[:8].encode()
    records = (parsed_line(line.removeprefix(_BOM).rstrip(b"\r"), row) for _, line in _whole_lines(path))
    return [record["id"] for record in records if record is not None]


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    position = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield position, line[:-1]
            position += len(line)


def _sealed(line: bytes, row: bytes) -> bytes:
    return seal(line[:-1] + b',"row":"' + row + b'"}')


def _unsealed(line: bytes, row: bytes | None) -> bytes | None:
    """A line without its checksum and row; the line itself if it has none, None if they are wrong."""
    text = unseal(line)
    if text is None or text is line:
        return text
    end = _ROW.fullmatch(text[-_ROW_LENGTH:])
    if end is None or row not in (None, end.group(1)):
        return None
    return text[:-_ROW_LENGTH] + b"}"


def parsed_line(line: bytes, row: bytes | None = None, *, seen: bool = False) -> dict[str, Any] | None:
    """The sample of a journal's line; None if the line is damaged or belongs to another row.

    Every reader of journals asks this function. A line without a checksum, as earlier releases wrote it, is judged by
    the schema alone.

    Args:
        line: the line without its line break.
        row: the start of the row's fingerprint, 8 hex digits; None accepts every row.
        seen: the line has followed the schema before; with a right checksum it still does.
    """
    text = _unsealed(line, row)
    if text is None:
        return None
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if seen and text is not line:
        return dict(record)
    return record if isinstance(record, dict) and _follows_schema(record) else None


def _follows_schema(record: dict[str, Any]) -> bool:
    failures = record.get(REWARD_FAILURES, {})
    if not isinstance(failures, dict) or not all(isinstance(reason, str) for reason in failures.values()):
        return False
    seconds = record.get(SECONDS, 0.0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        return False
    sample = {name: value for name, value in record.items() if name not in JOURNAL_FIELDS}
    if "metrics" in sample or "row" in sample:  # what is added when the row is finished
        return False
    try:
        SampleRecord.model_validate({**sample, "metrics": {}}, strict=True)
    except ValidationError:
        return False
    return True
