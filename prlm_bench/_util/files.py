"""The one way to write a file: whole or not at all, and never something else in its place."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson

from ..errors import PrlmBenchError

#: The path that stands for standard output.
STDOUT = Path("-")
#: Errors of a write, which the system reports without a file.
_NAMELESS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """Write to a temporary file next to `path`, renamed to `path` only when the block succeeds.

    A symbolic link stays, and its target is replaced. What is no regular file (a device, a pipe), and what standard
    output or standard error already write to, is written in place. `-` is standard output.

    Args:
        path: the file; its folder is made where it is missing.
        private: only the owner may read the file.

    Raises:
        OSError: `path` is a folder, or cannot be written; the error names the file.
    """
    if path == STDOUT:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        status = path.stat()
    except FileNotFoundError:
        status = None
    try:
        if status is not None and _is_written_in_place(status):
            with path.open("ab" if stat.S_ISREG(status.st_mode) else "wb") as file:
                yield file
            return
        with _temporary(Path(os.path.realpath(path)) if path.is_symlink() else path, private) as file:
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
def _temporary(path: Path, private: bool) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = scratch_path(path)
    mode = 0o600 if private else 0o666
    try:
        # A new file under a name that nobody can guess: no link that somebody has planted is followed.
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def expanded(path: str | Path) -> Path:
    """The path with a leading `~` or `~user` replaced by that user's home folder.

    Raises:
        PrlmBenchError: there is no such user, or nobody knows the home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise PrlmBenchError(f"{path}: the home folder is not known", "write the path in full") from None


def scratch_path(path: Path) -> Path:
    """A hidden name next to `path` that nobody can guess, for what is renamed to `path` once it is complete."""
    # Names have at most 255 bytes.
    name = os.fsdecode(os.fsencode(path.name)[:200])
    return path.with_name(f".{name}.{secrets.token_hex(8)}.tmp")


def write_whole(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file atomically: it is either complete or absent (see `replacing`)."""
    with replacing(path, private=private) as file:
        file.write(content)


def pretty(value: Any) -> bytes:
    """Indented JSON, keys in the given order."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"
