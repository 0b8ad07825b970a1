"""Sends requests to one server, several at a time, and repeats those that failed for a passing reason."""

from __future__ import annotations

import json
import logging
import math
import random
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from itertools import islice
from queue import SimpleQueue
from typing import Any, Literal, TypeVar

import anyio
import httpx
from anyio.from_thread import start_blocking_portal
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt
from tenacity.stop import stop_base
from tenacity.wait import wait_base, wait_exponential, wait_random_exponential

from prlm_bench.errors import RunError
from prlm_bench.profiling import timed

from ._errors import RefusedError, RequestError, RetryableError, UnreadableReplyError, refusal
from ._json import one_line
from ._replies import REFUSED
from ._server import Server
from ._wire import Replies, Wire

T = TypeVar("T")
_log = logging.getLogger(__name__)

#: Seconds before the second attempt and maximum before any, for `backoff`.
FIRST_WAIT, MAX_WAIT = 0.5, 30.0
#: Maximum number of further attempts after unreadable replies: enough for a hiccup, few for a wrong address.
UNREADABLE_RETRIES = 2
#: What is said of a reply that is not taken.
_WRONG = {
    "early": "the server sent a reply before the question",
    "foreign": "the server sent the reply to another question",
}
#: What is said at the end, with the number of replies.
_COUNTED = {
    "early": "replies that came before their question, which was sent again: {}",
    "foreign": "replies to another question than the one asked, which was sent again: {}",
    "more": "replies followed by more bytes, such as a second copy, which were dropped: {}",
}
#: This machine, which is reached without the proxy of the environment.
_WITHOUT_PROXY = ("all://localhost", "all://127.0.0.1", "all://[::1]")


@dataclass(frozen=True, slots=True)
class Request:
    """A path below the server's address, and the JSON to send there."""

    method: Literal["GET", "POST"]
    path: str
    content: dict[str, Any] | None = None
    #: Id of the question, for messages.
    question: str = ""


@dataclass(frozen=True, slots=True)
class _Reply:
    """A whole reply. Its repr hides the body, which may repeat the key."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def send_all(
    server: Server, requests: Iterable[Request], read: Callable[[Request, bytes], T]
) -> Iterator[tuple[int, T]]:
    """Yield `(index into requests, what read returned)` as replies arrive.

    The event loop runs in a thread of its own. After a request has failed for good none is started or repeated;
    those in flight are awaited and yielded, then the error is raised. Closing the iterator cancels those in flight.

    Args:
        server: endpoint, credentials and limits.
        requests: what to send; drawn in this thread, twice `server.concurrency` ahead of the replies, so that there is
            always one to send.
        read: reads a reply; raises `RequestError` if it cannot.

    Raises:
        RunError: a request failed for good.
    """
    results: SimpleQueue[tuple[int, T] | None] = SimpleQueue()
    pending = enumerate(requests)
    ahead = list(islice(pending, 2 * server.concurrency))
    if not ahead:
        return
    with closing(_Queue(ahead)) as queue, start_blocking_portal(name="openai-api") as portal:
        future = portal.start_task_soon(_send_all, server, queue, read, results.put)
        future.add_done_callback(lambda _: results.put(None))
        while True:
            with timed("waiting"):
                result = results.get()
            if result is None:
                break
            yield result
            if queue.is_open:
                portal.call(queue.put, next(pending, None))
        future.result()


def try_all(server: Server, requests: Sequence[Request], read: Callable[[Request, bytes], T]) -> list[T | None]:
    """What `read` returned for each request, all sent at once; None for those that failed."""
    found: list[T | None] = [None] * len(requests)

    async def gather() -> None:
        async with Client(server) as client, anyio.create_task_group() as group:

            async def attempt(index: int, request: Request) -> None:
                with suppress(RunError):
                    found[index] = await client.send(request, read)

            for index, request in enumerate(requests):
                group.start_soon(attempt, index, request)

    with start_blocking_portal(name="openai-api") as portal:
        portal.call(gather)
    return found


class _Queue:
    """Requests on their way to the event loop.

    Args:
        first: those to begin with.
    """

    def __init__(self, first: Sequence[tuple[int, Request]]) -> None:
        self._send, self.requests = anyio.create_memory_object_stream[tuple[int, Request]](math.inf)
        self.is_open = True
        for item in first:
            self._send.send_nowait(item)

    def put(self, item: tuple[int, Request] | None) -> None:
        """Add a request; None says that there are no more. In the event loop."""
        if item is None:
            self.end()
        elif self.is_open:
            self._send.send_nowait(item)

    def end(self) -> None:
        """Take no more requests; whoever waits for one stops waiting. In the event loop."""
        self.is_open = False
        self._send.close()

    def close(self) -> None:
        """Close both ends, when the event loop has ended."""
        self._send.close()
        self.requests.close()


async def _send_all(
    server: Server,
    queue: _Queue,
    read: Callable[[Request, bytes], T],
    put: Callable[[tuple[int, T]], None],
) -> None:
    """Put every result; raise the first failure once no request is in flight."""
    failures: list[Exception] = []
    async with Client(server) as client, anyio.create_task_group() as group:

        async def work() -> None:
            async for index, request in queue.requests:
                if client.stopped.is_set():
                    return
                try:
                    put((index, await client.send(request, read)))
                except Exception as error:
                    failures.append(error)
                    client.stopped.set()
                    queue.end()

        for _ in range(server.concurrency):
            group.start_soon(work)
    client.warn()
    if failures:
        raise failures[0]


class Client:
    """An asynchronous context that sends requests to one server.

    Each attempt has a connection of its own. On a connection that is kept, the reply to one request is whatever
    bytes come next, so that a server or proxy that sends a reply twice shifts every answer after it. Checking for
    unread bytes before each request would miss a second copy that arrives just after the check. `Wire` and `Replies`
    find what a connection of its own does not exclude.

    Args:
        server: endpoint, credentials and limits.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        #: Set after a request has failed for good: no request is started or repeated.
        self.stopped = anyio.Event()
        #: Time of the event loop's clock before which the server accepts no request.
        self._open_at = 0.0
        self._replies = Replies()
        self._http = httpx.AsyncClient(
            headers={**server.key.headers, "Connection": "close", "Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            timeout=None,  # those of httpx start anew with each chunk; ours is for the whole attempt
            mounts=dict.fromkeys(_WITHOUT_PROXY),
            follow_redirects=False,
        )

    async def __aenter__(self) -> Client:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._http.__aexit__(*error)

    async def send(self, request: Request, read: Callable[[Request, bytes], T]) -> T:
        """What `read` makes of the reply, after as many attempts as it takes.

        Raises:
            RunError: the last permitted attempt failed, or a repetition would not help.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(RetryableError),
            stop=stop_after_attempt(self._server.max_retries + 1) | _StopAfterUnreadable(UNREADABLE_RETRIES + 1),
            wait=_seconds_to_wait,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            result: T = await retrying(self._attempt, request, read)
            return result
        except RefusedError as error:
            if self._server.refused == "empty":
                return read(request, REFUSED)
            raise error.as_run_error(retrying.statistics["attempt_number"]) from error
        except RequestError as error:
            raise error.as_run_error(retrying.statistics["attempt_number"]) from error

    async def _attempt(self, request: Request, read: Callable[[Request, bytes], T]) -> T:
        await self._hold_back()
        url = self._server.url + request.path
        try:
            with anyio.fail_after(self._server.timeout):
                reply = await self._exchange(request, url)
        except TimeoutError:
            hint = "raise timeout=, or lower concurrency="
            raise RetryableError(f"{url}: no answer within {self._server.timeout:g} s", hint) from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise _connection_error(self._server, url, error) from None
        if reply.status == 200:
            return read(request, reply.body)
        seconds = retry_after(reply.headers)
        failure = refusal(self._server, url, reply.status, reply.body, seconds, request.question)
        if seconds and isinstance(failure, RetryableError):  # the wait is meant for all requests
            self._open_at = max(self._open_at, anyio.current_time() + seconds)
        raise failure

    async def _exchange(self, request: Request, url: str) -> _Reply:
        # Escaped to ASCII, because a prompt may contain lone surrogates.
        content = None if request.content is None else json.dumps(request.content).encode()
        headers = {} if content is None else {"Content-Type": "application/json"}
        tag, wire = self._replies.new_tag(), Wire()
        headers["X-Request-Id"] = tag
        traced = {"trace": wire}
        async with self._http.stream(request.method, url, content=content, headers=headers, extensions=traced) as reply:
            body = await _read_body(reply, url, self._server.max_reply_bytes)
        if reply.status_code == 200:
            self._check(request, url, wire, reply.headers, body, tag)
        return _Reply(reply.status_code, reply.headers, body)

    def _check(self, request: Request, url: str, wire: Wire, headers: Mapping[str, str], body: bytes, tag: str) -> None:
        """Count what is wrong with a reply of status 200.

        Raises:
            RetryableError: it is not the answer to this request.
        """
        foreign = self._replies.is_foreign(tag, headers, body) or self._replies.is_repeated(request.content, body)
        wrong = "early" if wire.early else "foreign" if foreign else ""
        if wrong:
            self._replies.counts[wrong] += 1
            hint = "the server, or a proxy before it, mixes replies up"
            raise RetryableError(f"{url}: {_WRONG[wrong]}", hint, status=200)
        self._replies.counts["more"] += wire.has_more()

    def warn(self) -> None:
        """Say, once and with their number, what was wrong with replies."""
        for wrong, count in (+self._replies.counts).items():
            _log.warning("prlm-bench: warning: %s: %s", self._server.address, _COUNTED[wrong].format(count))

    async def _hold_back(self) -> None:
        """Wait until the server accepts requests again; a random delay keeps them from arriving all at once."""
        while (left := self._open_at - anyio.current_time()) > 0 and not self.stopped.is_set():
            await self._sleep(left * random.uniform(1.0, 1.1))
        if self.stopped.is_set():
            raise RunError("the run has stopped")  # never seen: another request's failure came before it

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not longer than until the client stops."""
        with anyio.move_on_after(seconds):
            await self.stopped.wait()


async def _read_body(reply: httpx.Response, url: str, limit: int) -> bytes:
    """The body of a reply, unpacked here, because httpx unpacks a chunk whole, however large it becomes.

    Raises:
        RequestError: it is larger than `limit` bytes, or packed in another way than gzip or deflate.
    """
    packing = reply.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise RequestError(f"{url}: the reply is packed as {packing[:20]!a}", "have the server send it unpacked")
    unpack = None if packing in ("", "identity") else zlib.decompressobj(32 + zlib.MAX_WBITS)
    body = bytearray()
    async for chunk in reply.aiter_raw():
        try:
            body += chunk if unpack is None else unpack.decompress(chunk, limit + 1 - len(body))
        except zlib.error:
            raise UnreadableReplyError("a damaged packed reply") from None
        if len(body) > limit:
            what = f"{url}: the reply is larger than {limit / 2**20:.3g} MiB"
            hint = "is this an OpenAI-compatible server? max_reply= allows more"
            raise RequestError(what, hint, reply.status_code)
    return bytes(body)


def _connection_error(server: Server, url: str, error: Exception) -> RequestError:
    reason = one_line(str(error), server.key) or type(error).__name__
    if not isinstance(error, httpx.ConnectError):
        hint = "check the server's log; does it speak HTTP?"
        return RetryableError(f"{url}: the connection failed: {reason}", hint)
    if "SSL" in reason or "CERTIFICATE" in reason:
        hint = "check http:// against https://; SSL_CERT_FILE names the file of a private certificate"
        return RequestError(f"no secure connection to {server.address}: {reason}", hint)
    return RetryableError(f"no server answers at {server.address}", "start it, or correct base_url=")


def backoff() -> wait_base:
    """Waits between attempts: from `FIRST_WAIT` seconds, twice as long each time up to `MAX_WAIT`.

    Each is shortened at random by up to a half.
    """
    half: wait_base = wait_exponential(multiplier=FIRST_WAIT / 2, max=MAX_WAIT / 2)
    return half + wait_random_exponential(multiplier=FIRST_WAIT / 2, max=MAX_WAIT / 2)


def _seconds_to_wait(state: RetryCallState) -> float:
    """The backoff, but nothing after a reply with Retry-After, for which `Client._hold_back` waits."""
    error = state.outcome and state.outcome.exception()
    return 0.0 if isinstance(error, RetryableError) and error.retry_after else backoff()(state)


class _StopAfterUnreadable(stop_base):
    """Stop after this many unreadable replies to one request."""

    def __init__(self, limit: int) -> None:
        self._limit, self._count = limit, 0

    def __call__(self, retry_state: RetryCallState) -> bool:
        error = retry_state.outcome and retry_state.outcome.exception()
        self._count += isinstance(error, UnreadableReplyError)
        return self._count >= self._limit


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a reply requests to wait by `Retry-After` (seconds, or an HTTP date); None if it does not."""
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(seconds, 0.0) if seconds == seconds else None
