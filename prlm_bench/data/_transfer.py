"""Fetches one file over HTTP, going on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import httpx

from .._locks import try_lock
from ..errors import DataError
from ._transfer_errors import given_up, is_hopeless, json_problem, proxy_hint, unwritable

#: Called with bytes so far and bytes in all; None where the server does not say.
ByteProgress = Callable[[int, int | None], None]

_LONGEST_WAIT = 60.0


class MissingError(DataError):
    """The server has no such file."""


class _InterruptedError(Exception):
    """Worth another try, after `wait` seconds where the server says so."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of the file the server was sending, kept beside the part that is already there."""

    url: str
    etag: str | None
    last_modified: str | None
    bytes: int | None

    @property
    def validator(self) -> str | None:
        """What `If-Range` may hold; without it a download cannot safely go on. Weak ETags may not be used."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


class Transfer:
    """One file on its way to `target`, by way of `<target>.part`.

    Args:
        client: makes the requests.
        url: where the file is.
        target: where it belongs; what is there stays until the new file is whole.
        progress: see `ByteProgress`.
        retries: tries without any gain before giving up.
        backoff: seconds before the first retry; doubled each time.
    """

    def __init__(
        self,
        client: httpx.Client,
        url: str,
        target: Path,
        progress: ByteProgress | None = None,
        retries: int = 5,
        backoff: float = 1.0,
    ) -> None:
        self._client = client
        self._url = url
        self._target = target
        self._part = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + ".part.json")
        self._progress = progress
        self._retries = retries
        self._backoff = backoff
        self._digest = hashlib.sha256()
        self._done = 0
        self._answered = False
        self._version = Version(url, None, None, None)

    def run(self) -> tuple[str, Version]:
        """Fetch the file.

        Returns:
            Its SHA-256 and the version that the server sent, with its true size.

        Raises:
            MissingError: the server has no such file.
            DataError: it cannot be fetched or written, or is no JSON.
        """
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            lock = try_lock(self._part.with_name(self._part.name + ".lock"))
            if lock is None:
                raise DataError(f"{self._part}: another process is downloading this file")
            with lock:
                self._part.touch()
                with self._part.open("r+b") as file:
                    self._complete(file)
                    os.fsync(file.fileno())
                self._part.replace(self._target)
                self._note.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self._part, error) from None
        return self._digest.hexdigest(), Version(**{**asdict(self._version), "bytes": self._done})

    def _complete(self, file: BinaryIO) -> None:
        try:
            self._take_up(file)
            self._fetch(file)
            problem = json_problem(file)
            if problem is not None:
                self._start_over(file)
                raise DataError(f"{self._url}: {problem}", "try again, or open the address by hand")
        except DataError:
            if not self._done or self._version.validator is None:
                self._part.unlink(missing_ok=True)
                self._note.unlink(missing_ok=True)
            raise

    def _take_up(self, file: BinaryIO) -> None:
        """Go on from what an earlier call left, where it is known which version that was."""
        try:
            version = Version(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            version = self._version
        if version.url != self._url or version.validator is None:
            self._start_over(file)
            return
        self._version = version
        while block := file.read(1 << 20):
            self._digest.update(block)
            self._done += len(block)

    def _start_over(self, file: BinaryIO) -> None:
        file.seek(0)
        file.truncate()
        self._digest = hashlib.sha256()
        self._done = 0

    def _fetch(self, file: BinaryIO) -> None:
        failures, furthest = 0, self._done
        while True:
            try:
                self._try(file)
                return
            except (httpx.TransportError, _InterruptedError) as error:
                if self._done > furthest:
                    failures, furthest = 0, self._done
                failures += 1
                # Being offline is likelier than a server that is away for a moment: say so soon.
                allowed = self._retries if self._answered else min(self._retries, 2)
                if failures > allowed or is_hopeless(error):
                    raise given_up(error, self._url, self._done, self._version.bytes) from None
                wait = getattr(error, "wait", 0.0) or self._backoff * 2 ** (failures - 1)
                time.sleep(min(wait, _LONGEST_WAIT))
            except (httpx.RequestError, httpx.InvalidURL) as error:
                raise DataError(f"{self._url}: {error}") from None

    def _try(self, file: BinaryIO) -> None:
        headers = {"Accept-Encoding": "identity"}
        if self._done:
            if self._version.validator is None:
                self._start_over(file)
            else:
                headers |= {"Range": f"bytes={self._done}-", "If-Range": self._version.validator}
        with self._client.stream("GET", self._url, headers=headers) as response:
            self._answered = True
            if self._begin(file, response):
                self._receive(file, response)

    def _begin(self, file: BinaryIO, response: httpx.Response) -> bool:
        """Judge the answer's head; False where nothing more is to come."""
        if response.status_code == 206 and self._continues(response):
            return True
        if response.status_code in (206, 416):
            if response.status_code == 416 and self._done == _total(response) and self._is_same(response):
                return False
            self._start_over(file)
            raise _InterruptedError("the server answers another range than was asked for")
        self._check_status(response)
        self._start_over(file)
        length = response.headers.get("Content-Length", "")
        self._version = Version(
            self._url,
            response.headers.get("ETag"),
            response.headers.get("Last-Modified"),
            int(length) if length.isdecimal() else None,
        )
        self._note.write_text(json.dumps(asdict(self._version)), encoding="utf-8")
        return True

    def _continues(self, response: httpx.Response) -> bool:
        """Whether this is the rest of the version of which a part is here."""
        first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        total, known = _total(response), self._version.bytes
        fits = total is None or known is None or total == known
        return first == str(self._done) and fits and self._is_same(response)

    def _is_same(self, response: httpx.Response) -> bool:
        return bool(response.headers.get("ETag", self._version.etag) == self._version.etag)

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        what = f"{status} {response.reason_phrase}".strip()
        if status in (404, 410):
            raise MissingError(f"{self._url}: there is no such file on the server ({what})", "check split and address")
        if status in (408, 425, 429) or status >= 500:
            after = response.headers.get("Retry-After", "")
            raise _InterruptedError(f"the server answers {what}", float(after) if after.isdecimal() else 0.0)
        if status != 200:
            raise DataError(f"{self._url}: the server answers {what}")
        coding = response.headers.get("Content-Encoding", "identity")
        if coding != "identity":
            raise DataError(f"{self._url}: the server sends the file {coding}-coded, which was not asked for")

    def _receive(self, file: BinaryIO, response: httpx.Response) -> None:
        total = self._version.bytes
        self._check_room(total)
        for block in response.iter_raw():
            file.write(block)
            self._digest.update(block)
            self._done += len(block)
            if self._progress is not None:
                self._progress(self._done, total)
        file.flush()
        if total is not None and self._done != total:
            if self._done > total:
                self._start_over(file)
            raise _InterruptedError("the server sends another length than it said")

    def _check_room(self, total: int | None) -> None:
        free = shutil.disk_usage(self._part.parent).free
        if total is not None and total - self._done > free:
            raise DataError(
                f"{self._part.parent}: the disk is full: {total - self._done} bytes are needed, {free} are free",
                "make room, or choose another folder",
            )


def _total(response: httpx.Response) -> int | None:
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None


def new_client(timeout: float) -> httpx.Client:
    """A client that takes proxies and certificates from the environment; `timeout` in seconds.

    Raises:
        DataError: the proxy that the environment names cannot be used.
    """
    try:
        return httpx.Client(follow_redirects=True, timeout=httpx.Timeout(timeout), trust_env=True)
    except (ValueError, ImportError) as error:
        raise DataError(f"the proxy cannot be used: {error}", proxy_hint()) from None
