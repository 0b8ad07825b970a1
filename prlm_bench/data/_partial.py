"""What is there of a download that was interrupted, and of which version of the file."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any

import httpx

from ..errors import DataError

#: Digits of a number in a header: fewer than Python's own limit, and more than any file has bytes.
_DIGITS = 15
#: An entity tag as RFC 9110 defines it, and a date; whatever else a server sends there is not sent back to it.
_ETAG = re.compile(r'(W/)?"[\x21\x23-\x7e]{0,200}"')
_DATE = re.compile(r"[A-Za-z0-9,: +-]{1,60}")
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)")
#: Bytes that the note of a version may have.
_NOTE = 1 << 16


class NotOurFileError(DataError):
    """Something else lies where a part or its note belongs; it is left alone."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a file, as far as the server names it."""

    url: str
    etag: str | None = None
    last_modified: str | None = None
    bytes: int | None = None

    @classmethod
    def of(cls, url: str, response: httpx.Response) -> Version:
        """The version that a whole reply holds."""
        headers = response.headers
        length = read_number(headers.get("Content-Length", ""))
        return cls(url, _matching(_ETAG, headers.get("ETag")), _matching(_DATE, headers.get("Last-Modified")), length)

    @classmethod
    def noted(cls, content: Any) -> Version | None:
        """The version in a note, which may have been damaged."""
        try:
            found = cls(**content)
        except TypeError:
            return None
        etag, date = _matching(_ETAG, found.etag), _matching(_DATE, found.last_modified)
        length = found.bytes if isinstance(found.bytes, int) and found.bytes >= 0 else None
        return cls(found.url, etag, date, length) if isinstance(found.url, str) else None

    @property
    def validator(self) -> str | None:
        """What `If-Range` may hold; without it a download cannot safely be resumed. A weak ETag may not be used."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def is_continued_by(self, response: httpx.Response, done: int) -> bool:
        """Whether a reply to a request for the rest holds the rest of this version, from byte `done` on.

        A server that sends a part has to say of which version: by the validator that it was asked for.
        """
        part = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status_code != 206 or part is None or int(part[1]) != done or int(part[2]) < done:
            return False
        total = None if part[3] == "*" else int(part[3])
        if total is not None and self.bytes not in (None, total):
            return False
        named = Version.of(self.url, response)
        if self.validator is None or named.validator != self.validator:
            return False
        return named.last_modified in (None, self.last_modified)

    def record(self) -> dict[str, Any]:
        """The version as JSON."""
        return asdict(self)


def _matching(pattern: re.Pattern[str], text: Any) -> str | None:
    return text if isinstance(text, str) and pattern.fullmatch(text) else None


def read_number(text: str) -> int | None:
    """A number in a header; None where it is none, or larger than anything."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


def open_own(path: Path) -> BufferedRandom:
    """Open a file to read and append, made where it is missing; nothing else that lies under its name is opened.

    Raises:
        NotOurFileError: a link, a file with a second name, or no regular file lies there.
        OSError: it cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    error = NotOurFileError(f"{path}: not a file of an earlier download", "remove it, and repeat the command")
    if path.is_symlink():
        raise error
    descriptor = os.open(path, flags, 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise error
    return os.fdopen(descriptor, "a+b")


def read_note(path: Path) -> Version | None:
    """The version that a note names; None where there is no note, or it cannot be used."""
    if not os.path.lexists(path):
        return None
    with open_own(path) as file:
        file.seek(0)
        text = file.read(_NOTE)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return Version.noted(content) if isinstance(content, Mapping) else None


def write_note(path: Path, version: Version) -> None:
    """Note the version of which a part is there."""
    with open_own(path) as file:
        file.truncate(0)
        file.write(json.dumps(version.record()).encode())
