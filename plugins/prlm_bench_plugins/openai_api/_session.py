"""Requests to one server: attempts, waits, and the reading of what comes back."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import httpx

from prlm_bench.errors import RunError

from ._faults import Fault, refused
from ._server import Server
from ._waiting import backoff, retry_after

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: a path below the server's address and the content to send."""

    method: Literal["GET", "POST"]
    path: str
    content: dict[str, Any] | None = None


class Session:
    """An open connection pool to a server. It lives in one event loop, as an asynchronous context.

    Args:
        server: whom to ask.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        #: Set once a request has failed for good: nothing new is begun and nothing tried again.
        self.stopped = asyncio.Event()
        #: The loop's time before which the server wants no request.
        self._open_at = 0.0
        limits = httpx.Limits(max_connections=server.concurrency, max_keepalive_connections=server.concurrency)
        # One limit for the whole request is set around it; httpx would start anew with each chunk that arrives.
        self._client = httpx.AsyncClient(
            headers=server.key.headers, limits=limits, timeout=None, trust_env=not server.is_here
        )

    async def __aenter__(self) -> Session:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._client.__aexit__(*error)

    async def ask(self, request: Request, read: Callable[[Request, bytes], T]) -> T:
        """The reply as `read` understands it, after as many attempts as it takes.

        Raises:
            RunError: the last attempt allowed has failed, or one that no other could mend.
        """
        doubtful = 0
        for attempt in itertools.count(1):
            await self._hold_back()
            try:
                return read(request, await self._attempt(request))
            except Fault as fault:
                doubtful += fault.retries is not None
                if attempt > self._server.max_retries or (fault.retries is not None and doubtful > fault.retries):
                    raise fault.as_error(attempt) from fault
                if fault.wait:  # the server means everyone: other requests hold back too
                    self._open_at = max(self._open_at, asyncio.get_running_loop().time() + fault.wait)
                else:
                    await self._sleep(backoff(attempt - 1))
                if self.stopped.is_set():
                    raise fault.as_error(attempt) from fault
        raise AssertionError("unreachable")

    async def _hold_back(self) -> None:
        """Wait until the server wants requests again; not all of them then come at once."""
        while (left := self._open_at - asyncio.get_running_loop().time()) > 0:
            await self._sleep(left * random.uniform(1.0, 1.1))
            if self.stopped.is_set():
                raise RunError("the run has stopped")  # not the first failure, so nobody sees it

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the end of the session."""
        if seconds > 0:
            try:
                await asyncio.wait_for(self.stopped.wait(), seconds)
            except TimeoutError:
                return

    async def _attempt(self, request: Request) -> bytes:
        server = self._server
        url = server.url + request.path
        # Escaped, so that half a character in a question is not an error of ours.
        content = None if request.content is None else json.dumps(request.content).encode()
        headers = {} if content is None else {"Content-Type": "application/json"}
        try:
            async with asyncio.timeout(server.timeout):
                reply = await self._client.request(request.method, url, content=content, headers=headers)
        except TimeoutError:
            hint = "raise timeout=, or lower concurrency="
            raise Fault(f"{url}: no answer within {server.timeout:g} s", hint) from None
        except httpx.ConnectError as error:
            raise _unreachable(server, str(error)) from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            what = server.key.hide(" ".join(str(error).split())) or type(error).__name__
            hint = "look into the server's log; does it speak HTTP at all?"
            raise Fault(f"{url}: the connection broke off: {what[:200]}", hint) from None
        if reply.status_code != 200:
            raise refused(server, url, reply.status_code, reply.content, retry_after(reply.headers))
        return reply.content


def _unreachable(server: Server, reason: str) -> Fault:
    if "SSL" in reason or "CERTIFICATE" in reason:
        hint = "http:// and https:// are two things; a certificate of your own goes into SSL_CERT_FILE"
        return Fault(f"no safe connection to {server.address}: {reason}", hint, retries=0)
    return Fault(f"no server answers at {server.address}", "start it, or correct base_url=")
