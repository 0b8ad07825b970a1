"""Where the batches of a run are computed besides this process: worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any

from ..errors import RunError


class ProcessEngine:
    """Worker processes on this machine.

    Args:
        jobs: how many.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def map(self, work: Callable[[Any], Any], batches: Iterable[Any], start: Callable[[], None]) -> Iterator[Any]:
        """Yield `work(batch)` for each batch, in order; at most two batches a worker are under way.

        Raises:
            RunError: a worker died.
        """
        waiting: deque[Future[Any]] = deque()
        remaining = iter(batches)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self._jobs, context, initializer=_start_worker, initargs=(start,)) as pool:
            try:
                while True:
                    for batch in islice(remaining, 2 * self._jobs - len(waiting)):
                        with _interrupts_held():
                            waiting.append(pool.submit(work, batch))
                    if not waiting:
                        return
                    yield waiting.popleft().result()
            except BrokenProcessPool:
                hint = "the machine may be out of memory; repeat the command to resume"
                raise RunError("a worker process died", hint) from None
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back for a moment. A worker that starts in it inherits that, until it knows what to do with one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(start: Callable[[], None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent reports an interrupt
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    start()


def _end_with_parent() -> None:
    """End with the parent: one that is killed cannot end its workers, and they would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
