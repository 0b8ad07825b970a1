"""Fetches one file over HTTP, going on where it stopped."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import ssl
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from ..errors import DataError
from ._folders import lock_file

#: Called with bytes so far and bytes in all; None where the server does not say.
ByteProgress = Callable[[int, int | None], None]

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
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
            handle = lock_file(self._part)
            if handle is None:
                raise DataError(f"{self._part}: another process is downloading this file")
            with os.fdopen(handle, "r+b") as file:
                self._take_up(file)
                self._fetch(file)
                _check_json(self._url, file)
                os.fsync(file.fileno())
                self._part.rename(self._target)
            self._note.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self._part, error) from None
        except DataError:
            self._forget_unless_resumable()
            raise
        return self._digest.hexdigest(), Version(**{**asdict(self._version), "bytes": self._done})

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

    def _forget_unless_resumable(self) -> None:
        if not self._done or self._version.validator is None:
            self._part.unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)

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
                if failures > self._retries or _is_hopeless(error):
                    raise self._given_up(error) from None
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
            if self._begin(file, response):
                self._receive(file, response)

    def _begin(self, file: BinaryIO, response: httpx.Response) -> bool:
        """Judge the answer's head; False where nothing more is to come."""
        if response.status_code == 206 and self._continues(response):
            return True
        if response.status_code in (206, 416):
            if response.status_code == 416 and self._done == _total(response):
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
        etag = response.headers.get("ETag", self._version.etag)
        total = _total(response)
        known = self._version.bytes
        return first == str(self._done) and etag == self._version.etag and (known in (None, total) or total is None)

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        what = f"{status} {response.reason_phrase}".strip()
        if status in (404, 410):
            raise MissingError(f"{self._url}: there is no such file on the server ({what})")
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

    def _given_up(self, error: Exception) -> DataError:
        host = httpx.URL(self._url).host
        if isinstance(error, httpx.UnsupportedProtocol):
            return DataError(f"{self._url}: not an http or https address")
        reason = str(error) or type(error).__name__
        if isinstance(error, httpx.ProxyError):
            return DataError(f"the proxy does not let {host} be reached: {reason}", _proxy_hint())
        if _is_certificate(error):
            return DataError(f"{host} cannot be trusted: {reason}", "SSL_CERT_FILE names the certificates to trust")
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
            return DataError(f"{host} cannot be reached: {reason}", "are you offline? " + _proxy_hint())
        got = f"{self._done} of {self._version.bytes if self._version.bytes is not None else 'unknown'} bytes"
        return DataError(f"{self._url}: stopped at {got}: {reason}", "the same command goes on from there")


def _total(response: httpx.Response) -> int | None:
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None


def _is_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_hopeless(error: Exception) -> bool:
    return isinstance(error, (httpx.UnsupportedProtocol, httpx.ProxyError)) or _is_certificate(error)


def _proxy_hint() -> str:
    """Names the proxy variables and says which are set, but not to what: they may hold passwords."""
    given = [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())]
    state = f"{', '.join(given)} {'is' if len(given) == 1 else 'are'} set" if given else "none is set"
    return f"a proxy is given by HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; {state}"


def _check_json(url: str, file: BinaryIO) -> None:
    """Refuse what is clearly no whole JSON file: a login page, or a file that the server cut."""
    file.seek(0)
    head = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 64))
    tail = file.read().rstrip()[-1:]
    if head + tail not in (b"[]", b"{}"):
        file.truncate(0)
        what = "a web page" if head == b"<" else f"something from {_shown(head)} to {_shown(tail)}"
        raise DataError(
            f"{url}: the server sent no whole JSON file but {what}", "try again, or open the address by hand"
        )


def _shown(byte: bytes) -> str:
    return repr(byte.decode("latin-1")) if byte else "nothing"


def _unwritable(part: Path, error: OSError) -> DataError:
    if error.errno == errno.ENOSPC:
        return DataError(f"{part}: the disk is full", "make room; the same command then goes on from there")
    return DataError(f"{part}: cannot be written: {error.strerror or error}")


def new_client(timeout: float) -> Any:
    """A client that takes proxies and certificates from the environment; `timeout` in seconds.

    Raises:
        DataError: the proxy that the environment names cannot be used.
    """
    try:
        return httpx.Client(follow_redirects=True, timeout=httpx.Timeout(timeout), trust_env=True)
    except (ValueError, ImportError) as error:
        raise DataError(f"the proxy cannot be used: {error}", _proxy_hint()) from None
