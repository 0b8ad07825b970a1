"""The one way to write a file: whole or not at all, and never something else in its place."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson

#: Errors of a write, which the system reports without a file.
_NAMELESS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write to a temporary file next to `path`, renamed to `path` only when the block succeeds.

    A symbolic link stays, and its target is replaced. What is no regular file (a device, a pipe), and what standard
    output or standard error already write to, is written in place.

    Raises:
        OSError: `path` is a folder, or cannot be written; the error names the file.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        status = None
    try:
        if status is not None and _is_written_in_place(status):
            with path.open("ab" if stat.S_ISREG(status.st_mode) else "wb") as file:
                yield file
            return
        with _temporary(Path(os.path.realpath(path)) if path.is_symlink() else path) as file:
            yield file
    except OSError as error:
        if error.filename is None and error.errno in _NAMELESS:
            error.filename = str(path)
        raise


def _is_written_in_place(status: os.stat_result) -> bool:
    if not stat.S_ISREG(status.st_mode):
        return True
    for descriptor in (1, 2):  # `--output /dev/stdout >> log` adds to the log
        with suppress(OSError):
            if os.path.samestat(status, os.fstat(descriptor)):
                return True
    return False


@contextmanager
def _temporary(path: Path) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # of a process that was killed, or a link that would be followed
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: it is either complete or absent (see `replacing`)."""
    with replacing(path) as file:
        file.write(content)


def pretty(value: Any) -> bytes:
    """Indented JSON, keys in the given order."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"
