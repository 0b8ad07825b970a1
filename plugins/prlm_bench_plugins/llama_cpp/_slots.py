"""Keeps the slots of a model busy: prompts are drawn as slots become free, and answers come as they finish."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from prlm_bench.errors import PrlmBenchError

from ._model import LlamaModel

T = TypeVar("T")
R = TypeVar("R")


def in_slots(
    model: LlamaModel, jobs: Iterator[T], work: Callable[[int, T, threading.Event], R]
) -> Iterator[tuple[int, R]]:
    """Yield `(number of the job, what work returned)` as jobs finish.

    After a failure nothing more is drawn; jobs in flight are awaited and yielded, then it is raised. Closing the
    iterator, and an interrupt, end those in flight.

    Args:
        model: its slots are used.
        jobs: drawn in the caller's thread, a few more than there are slots.
        work: gets a slot, a job, and an event after which its answer is not needed any more.

    Raises:
        PrlmBenchError: a job could not be drawn or done.
    """
    stop = threading.Event()
    numbered = enumerate(jobs)
    pending: dict[Future[R], int] = {}
    failures: list[PrlmBenchError] = []

    def run(job: T) -> R:
        with model.slot() as slot:
            return work(slot, job, stop)

    pool = ThreadPoolExecutor(model.slots, thread_name_prefix="llama-cpp")
    try:
        more = True
        while True:
            while more and not failures and len(pending) < 2 * model.slots:
                try:
                    number, job = next(numbered)
                    pending[pool.submit(run, job)] = number
                except StopIteration:
                    more = False
                except PrlmBenchError as error:
                    failures.append(error)
            if not pending:
                break
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                number = pending.pop(future)
                try:
                    result = future.result()
                except PrlmBenchError as error:
                    failures.append(error)
                    continue
                yield number, result
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    if failures:
        raise failures[0]
