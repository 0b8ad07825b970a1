"""Engines that compute the batches of a run outside this process: worker processes on this machine."""

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
from ..threads import shared_by

#: Python leaves the working folder out of its path where this is set.
_SAFE_PATH = "PYTHONSAFEPATH"


class ProcessEngine:
    """Worker processes on this machine.

    Args:
        jobs: number of processes.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def map(self, work: Callable[[Any], Any], batches: Iterable[Any], start: Callable[[], None]) -> Iterator[Any]:
        """Yield `work(batch)` for each batch, in order, with at most two pending batches per worker.

        Raises:
            RunError: a worker died.
        """
        waiting: deque[Future[Any]] = deque()
        remaining = iter(batches)
        context = multiprocessing.get_context("spawn")
        with _safe_path():  # the pool starts a process of its own that keeps account of semaphores
            made = ProcessPoolExecutor(self._jobs, context, initializer=_start_worker, initargs=(start,))
        with made as pool:
            try:
                while True:
                    for batch in islice(remaining, 2 * self._jobs - len(waiting)):
                        # This starts a worker where one is missing.
                        with _interrupts_held(), shared_by(self._jobs), _safe_path():
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
def _safe_path() -> Iterator[None]:
    """Have Python processes that start meanwhile import nothing from the working folder.

    They are started as `python -c`, which looks there first: a file such as `socket.py` would run in each of them.
    Where the parent itself looks there, as `python -m` does, a worker gets its path later.
    """
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block Ctrl-C; workers that start meanwhile inherit this until they have set their own handler."""
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
    """Exit with the parent: a killed parent cannot stop its workers, which would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
