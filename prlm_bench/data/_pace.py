"""The client of downloads, and the least that a server has to send in a time."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import httpx

from ..errors import DataError

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
#: Seconds over which the pace of a server is measured.
WINDOW = 60.0


def new_client(timeout: float) -> httpx.Client:
    """A client that takes proxies and certificates from the environment; `timeout` in seconds.

    Each request has a connection of its own, so that its pace can be measured.

    Raises:
        DataError: the proxy that the environment names cannot be used.
    """
    try:
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(follow_redirects=True, timeout=timeout, limits=limits)
    except (ValueError, ImportError) as error:
        raise DataError(f"the proxy cannot be used: {error}", proxy_hint()) from None


class Pace:
    """A trace function of httpx that ends a reply, headers included, which comes too slowly.

    A timeout alone starts anew with each byte: a server that sends one now and then would keep it from ever passing.

    Args:
        url: the address, for the message.
        least: bytes that have to come a second, in each stretch of `WINDOW` seconds; 0 waits for ever.
    """

    def __init__(self, url: str, least: float) -> None:
        self._url, self._least = url, least
        self._began, self._bytes = time.monotonic(), 0

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpcore at each step of a request."""
        if self._least and event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._watch(info["return_value"])

    def _watch(self, stream: Any) -> None:
        read = stream.read

        def paced(max_bytes: int, timeout: float | None = None) -> Any:
            data = read(max_bytes, timeout)
            self._count(len(data))
            return data

        stream.read = paced

    def _count(self, came: int) -> None:
        self._bytes += came
        now = time.monotonic()
        if now - self._began < WINDOW:
            return
        rate = self._bytes / (now - self._began)
        if rate < self._least:
            hint = "repeat the command to resume, or give a lower --min-rate"
            raise DataError(f"{self._url}: the server sends {rate:.0f} bytes a second", hint)
        self._began, self._bytes = now, 0


def proxy_hint() -> str:
    """Names the proxy variables and says which are set, but not to what: they may hold passwords."""
    given = [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())]
    state = f"{', '.join(given)} {'is' if len(given) == 1 else 'are'} set" if given else "none is set"
    return f"set a proxy with HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; {state}"
