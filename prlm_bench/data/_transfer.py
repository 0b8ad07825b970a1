"""Downloads one file over HTTP, resuming where an earlier attempt or call stopped."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import tenacity

from .._util.locks import try_lock
from .._util.text import without_logins
from ..errors import DataError
from ._pace import Pace, proxy_hint
from ._partial import NotOurFileError, Version, open_own, read_note, read_number, write_note

#: Called with the file's name, bytes so far, and bytes in all (None where the server does not say).
FileProgress = Callable[[str, int, int | None], None]

_LONGEST_WAIT = 60.0
_UNKNOWN = Version("")


class MissingError(DataError):
    """The server has no such file."""


class _InterruptedError(Exception):
    """Worth another attempt, after `wait` seconds where the server says so."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(slots=True)
class Transfer:
    """One file on its way to `target`: `<target>.part` holds what has come, `<target>.part.json` of which version.

    Args:
        client: makes the requests.
        url: where the file is.
        target: where it belongs; what is there stays until the new file is whole.
        progress: see `FileProgress`.
        retries: consecutive attempts without new bytes before giving up.
        backoff: seconds before the first retry; doubled each time.
        max_bytes: size of the largest file that is taken.
        min_rate: bytes a second that have to come; see `Pace`.
    """

    client: httpx.Client
    url: str
    target: Path
    progress: FileProgress | None
    retries: int
    backoff: float
    max_bytes: int
    min_rate: float
    #: Of which a part is there.
    version: Version = _UNKNOWN
    #: Bytes that are there, and the most that were there so far.
    done: int = 0
    furthest: int = 0
    #: Consecutive attempts without new bytes.
    failures: int = 0
    #: Whether the server has answered at all.
    answered: bool = False

    @property
    def shown_url(self) -> str:
        """The address as messages and files may hold it: without a password."""
        return without_logins(self.url)

    def run(self) -> dict[str, Any]:
        """Download the file.

        Returns:
            Its record: sha256, bytes, url, etag and last_modified.

        Raises:
            MissingError: the server has no such file.
            DataError: it cannot be downloaded or written, or is not JSON.
        """
        part, note = (self.target.with_name(self.target.name + suffix) for suffix in (".part", ".part.json"))
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            held = try_lock(part.with_name(part.name + ".lock"))
            if held is None:
                raise DataError(f"{part}: another process is downloading this file")
            with held:
                try:
                    with open_own(part) as file:
                        self._complete(file, note)
                        file.seek(0)
                        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                        os.fsync(file.fileno())
                except NotOurFileError:
                    raise
                except DataError:
                    if not self.done or self.version.validator is None:
                        part.unlink(missing_ok=True)
                        note.unlink(missing_ok=True)
                    raise
                part.replace(self.target)
                note.unlink(missing_ok=True)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DataError(f"{part}: the disk is full", "make room, then repeat the command to resume") from None
            raise DataError(f"{part}: cannot be written: {error.strerror or error}") from None
        return {**self.version.record(), "sha256": sha256, "bytes": self.done}

    def _complete(self, file: BinaryIO, note: Path) -> None:
        noted = read_note(note)
        if noted is not None and noted.url == self.shown_url:
            self.version, self.done = noted, file.seek(0, os.SEEK_END)
        self.furthest = self.done
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((httpx.TransportError, _InterruptedError)),
            after=self._count,
            stop=self._is_over,
            wait=self._wait,
            reraise=True,
        )
        try:
            retrying(self._attempt, file, note)
        except (httpx.RequestError, httpx.InvalidURL, _InterruptedError) as error:
            raise _given_up(error, self.shown_url, self.done, self.version.bytes) from None
        problem = _json_problem(file)
        if problem is not None:
            self._restart(file)
            raise DataError(f"{self.shown_url}: {problem}", "try again, or open the address by hand")

    def _count(self, state: tenacity.RetryCallState) -> None:
        self.failures = 1 if self.done > self.furthest else self.failures + 1
        self.furthest = max(self.furthest, self.done)

    def _is_over(self, state: tenacity.RetryCallState) -> bool:
        # Without any answer the user is more likely offline than the server away for a moment: say so soon.
        allowed = self.retries if self.answered else min(self.retries, 2)
        return self.failures > allowed or _is_hopeless(_error(state))

    def _wait(self, state: tenacity.RetryCallState) -> float:
        wait = getattr(_error(state), "wait", 0.0) or self.backoff * 2 ** (self.failures - 1)
        return float(min(wait, _LONGEST_WAIT))

    def _attempt(self, file: BinaryIO, note: Path) -> None:
        headers = {"Accept-Encoding": "identity"}
        validator = self.version.validator
        if self.done and self.done == self.version.bytes:
            return
        if self.done and validator is not None:
            headers |= {"Range": f"bytes={self.done}-", "If-Range": validator}
        else:
            self._restart(file)
        asked = {"trace": Pace(self.shown_url, self.min_rate)}
        with self.client.stream("GET", self.url, headers=headers, extensions=asked) as response:
            self.answered = True
            if "Range" in headers and self.version.is_continued_by(response, self.done):
                self._check_coding(response)
            else:
                if response.status_code in (200, 206, 416):
                    self._restart(file)
                self._check_status(response)
                self._check_coding(response)
                self.version = Version.of(self.shown_url, response)
                write_note(note, self.version)
            self._receive(file, response)

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        what = f"{status} {response.reason_phrase}".strip()
        if status in (404, 410):
            raise MissingError(
                f"{self.shown_url}: there is no such file on the server ({what})", "check split and address"
            )
        if status in (408, 425, 429) or status >= 500:
            wait = read_number(response.headers.get("Retry-After", "")) or 0
            raise _InterruptedError(f"the server answers {what}", wait)
        if status in (206, 416):
            raise _InterruptedError("the server sends another range than requested")
        if status != 200:
            raise DataError(f"{self.shown_url}: the server answers {what}")

    def _check_coding(self, response: httpx.Response) -> None:
        coding = response.headers.get("Content-Encoding", "identity")
        if coding != "identity":
            raise DataError(f"{self.shown_url}: the server sends the file {coding}-coded, which was not requested")

    def _receive(self, file: BinaryIO, response: httpx.Response) -> None:
        total = self.version.bytes
        folder = self.target.parent
        self._check_size(total or 0)
        free = shutil.disk_usage(folder).free
        if total is not None and total - self.done > free:
            needed = f"{total - self.done} bytes are needed, {free} are free"
            raise DataError(f"{folder}: the disk is full: {needed}", "make room, or choose another folder")
        for block in response.iter_raw():
            self._check_size(self.done + len(block))
            file.write(block)
            self.done += len(block)
            if self.progress is not None:
                self.progress(self.target.name, self.done, total)
        if total is not None and self.done != total:
            if self.done > total:
                self._restart(file)
            raise _InterruptedError("the server sends another length than announced")

    def _check_size(self, size: int) -> None:
        if size > self.max_bytes:
            what = f"{self.shown_url}: the file has more than {self.max_bytes} bytes"
            raise DataError(what, "raise --max-bytes if that is right")

    def _restart(self, file: BinaryIO) -> None:
        file.truncate(0)
        self.done = 0


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _given_up(error: Exception, url: str, done: int, total: int | None) -> DataError:
    """The error after the last attempt, with `done` of `total` bytes there."""
    reason = without_logins(str(error)) or type(error).__name__
    if isinstance(error, httpx.UnsupportedProtocol):
        return DataError(f"{url}: not an http or https address")
    if not isinstance(error, (httpx.TransportError, _InterruptedError)):
        return DataError(f"{url}: {reason}")
    host = httpx.URL(url).host
    if isinstance(error, httpx.ProxyError):
        return DataError(f"the proxy does not let {host} be reached: {reason}", proxy_hint())
    if _is_certificate(error):
        return DataError(f"{host} cannot be trusted: {reason}", "SSL_CERT_FILE names the certificates to trust")
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return DataError(f"{host} cannot be reached: {reason}", "are you offline? " + proxy_hint())
    got = f"{done} of {total if total is not None else 'unknown'} bytes"
    return DataError(f"{url}: stopped at {got}: {reason}", "repeat the command to resume")


def _is_hopeless(error: BaseException | None) -> bool:
    """True where another attempt would fail in the same way."""
    return isinstance(error, (httpx.UnsupportedProtocol, httpx.ProxyError)) or _is_certificate(error)


def _is_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _json_problem(file: BinaryIO) -> str | None:
    """What shows, at its two ends, that a file is not a whole JSON list or object; None where nothing does."""
    file.seek(0)
    head = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    file.seek(max(0, file.seek(0, os.SEEK_END) - 64))
    tail = file.read().rstrip()[-1:]
    if head + tail in (b"[]", b"{}"):
        return None
    first, last = (repr(byte.decode("latin-1")) if byte else "nothing" for byte in (head, tail))
    what = "a web page" if head == b"<" else f"something from {first} to {last}"
    return f"the server sent no whole JSON file but {what}"
