"""From asynchronous requests to a plain iterator: one event loop in a thread of its own for each call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from ._server import Server
from ._session import Request, Session

T = TypeVar("T")

__all__ = ["Request", "stream"]


def stream(server: Server, requests: Sequence[Request], read: Callable[[Request, bytes], T]) -> Iterator[tuple[int, T]]:
    """Yield `(index into requests, what read made of the reply)` as replies arrive.

    After a request has failed for good no other is begun or tried again; those under way are waited for and
    yielded, then the error is raised. Closing the iterator cancels what is under way.

    Args:
        server: whom to ask; it says how many requests may be under way.
        requests: what to ask.
        read: reads a reply; raises `Fault` for one that it cannot read.

    Raises:
        RunError: a request failed for good.
    """
    results: SimpleQueue[tuple[int, T] | BaseException | None] = SimpleQueue()
    running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        running.set_result((asyncio.get_running_loop(), task))
        await _ask_all(server, requests, read, results.put)

    def run() -> None:
        end: BaseException | None = None
        try:
            asyncio.run(work())
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            end = error
            if not running.done():
                running.set_exception(error)
        results.put(end)

    thread = threading.Thread(target=run, name="openai-api", daemon=True)
    thread.start()
    try:
        while (item := results.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        with suppress(Exception):  # a loop that never began, or that has ended, needs no cancelling
            loop, task = running.result()
            loop.call_soon_threadsafe(task.cancel)
        thread.join()


async def _ask_all(
    server: Server,
    requests: Sequence[Request],
    read: Callable[[Request, bytes], T],
    put: Callable[[tuple[int, T]], None],
) -> None:
    """Put every answer; raises the first failure once nothing is under way."""
    pending = iter(enumerate(requests))
    failures: list[Exception] = []
    async with Session(server) as session:

        async def work() -> None:
            for index, request in pending:
                if session.stopped.is_set():
                    return
                try:
                    put((index, await session.ask(request, read)))
                except Exception as error:
                    failures.append(error)
                    session.stopped.set()

        async with asyncio.TaskGroup() as group:
            for _ in range(min(server.concurrency, len(requests))):
                group.create_task(work())
    if failures:
        raise failures[0]
