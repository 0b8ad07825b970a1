"""Why a download stopped, in words that say what to do."""

from __future__ import annotations

import errno
import os
import ssl
from pathlib import Path
from typing import BinaryIO

import httpx

from ..errors import DataError

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def given_up(error: Exception, url: str, done: int, total: int | None) -> DataError:
    """The error after the last try, with `done` of `total` bytes there."""
    host = httpx.URL(url).host
    if isinstance(error, httpx.UnsupportedProtocol):
        return DataError(f"{url}: not an http or https address")
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.ProxyError):
        return DataError(f"the proxy does not let {host} be reached: {reason}", proxy_hint())
    if _is_certificate(error):
        return DataError(f"{host} cannot be trusted: {reason}", "SSL_CERT_FILE names the certificates to trust")
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return DataError(f"{host} cannot be reached: {reason}", "are you offline? " + proxy_hint())
    got = f"{done} of {total if total is not None else 'unknown'} bytes"
    return DataError(f"{url}: stopped at {got}: {reason}", "the same command goes on from there")


def is_hopeless(error: Exception) -> bool:
    """True where another try would fail in the same way."""
    return isinstance(error, (httpx.UnsupportedProtocol, httpx.ProxyError)) or _is_certificate(error)


def _is_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def proxy_hint() -> str:
    """Names the proxy variables and says which are set, but not to what: they may hold passwords."""
    given = [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())]
    state = f"{', '.join(given)} {'is' if len(given) == 1 else 'are'} set" if given else "none is set"
    return f"a proxy is given by HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; {state}"


def json_problem(file: BinaryIO) -> str | None:
    """What shows that a file is no whole JSON list or object, by its two ends; None where nothing does."""
    file.seek(0)
    head = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 64))
    tail = file.read().rstrip()[-1:]
    if head + tail in (b"[]", b"{}"):
        return None
    what = "a web page" if head == b"<" else f"something from {_shown(head)} to {_shown(tail)}"
    return f"the server sent no whole JSON file but {what}"


def _shown(byte: bytes) -> str:
    return repr(byte.decode("latin-1")) if byte else "nothing"


def unwritable(part: Path, error: OSError) -> DataError:
    """The error for a part that cannot be written."""
    if error.errno == errno.ENOSPC:
        return DataError(f"{part}: the disk is full", "make room; the same command then goes on from there")
    return DataError(f"{part}: cannot be written: {error.strerror or error}")
