"""Runs a study: every cell's samples into its journal, every complete journal into a result folder."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ..errors import PrlmBenchError, RunError
from ..host._host import PluginHost
from ..metrics import Metric
from ..progress import Progress, Silent
from ..results._finish import begin, finish, tidy
from ..results._journal import Journal, finished_ids
from ..results._manifest import sample_line
from ..results._store import JOURNAL, is_finished
from ._config import RunConfig
from ._pipeline import Pipeline, Result
from ._plan import Skipped, check_asked_for
from ._prepare import PreparedTask, prepare_task

#: Examples that go through the tree together.
BATCH = 128


@dataclass
class Outcome:
    """What a run did."""

    finished: list[Path] = field(default_factory=list)
    already: list[Path] = field(default_factory=list)
    #: Folder and reason.
    failed: list[tuple[Path, str]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


@dataclass(frozen=True)
class Line:
    """A finished sample on its way into a journal."""

    cell: int
    identifier: str
    content: bytes


def prepare_tasks(study: RunConfig, host: PluginHost, progress: Progress | None = None) -> list[PreparedTask]:
    """Plan every task of the study.

    Raises:
        PrlmBenchError: the plan cannot be carried out as asked.
    """
    benches = [prepare_task(study, host, name, progress) for name in study.tasks]
    check_asked_for(study, [bench.plan for bench in benches], host)
    return benches


def execute(
    study: RunConfig,
    host: PluginHost,
    results: Path,
    *,
    jobs: int = 1,
    benches: Sequence[PreparedTask] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Run what is not finished yet.

    Args:
        study: what to run.
        host: the loaded plugins.
        results: the results folder; a cell's folder in it is named by its fingerprint.
        jobs: worker processes; 1 works in this process.
        benches: the study's benches, where they have been opened already.
        progress: told about the course.

    Raises:
        PrlmBenchError: the study cannot run. Cells whose components fail are in the outcome instead.
    """
    progress = progress or Silent()
    outcome = Outcome()
    for bench in benches if benches is not None else prepare_tasks(study, host, progress):
        outcome.skipped += bench.plan.skipped
        _TaskRun(study, host, results, bench, progress, outcome).run(jobs)
    return outcome


def preview(bench: PreparedTask, results: Path) -> list[dict[str, str | int]]:
    """What each cell of a bench is, how many samples it has and how many are done; nothing is run or locked."""
    rows = []
    for index, (cell, manifest) in enumerate(zip(bench.plan.cells, bench.manifests, strict=True)):
        folder = bench.folder(results, index)
        if is_finished(folder, manifest.fingerprint):
            done = manifest.data.n
        else:
            done = len(set(finished_ids(folder / JOURNAL)) & set(bench.ids))
        where: dict[str, str | int] = {"task": cell.task, "split": bench.dataset.split}
        rows.append(where | cell.parts | {"samples": manifest.data.n, "done": done, "folder": str(folder)})
    return rows


class _TaskRun:
    """The cells of one task on their way through."""

    def __init__(
        self,
        study: RunConfig,
        host: PluginHost,
        results: Path,
        bench: PreparedTask,
        progress: Progress,
        outcome: Outcome,
    ) -> None:
        self._study, self._host, self._bench = study, host, bench
        self._progress, self._outcome = progress, outcome
        self._folders = [bench.folder(results, cell) for cell in range(len(bench.plan.cells))]
        self._journals: dict[int, Journal] = {}
        self._failed: dict[int, str] = {}

    def run(self, jobs: int) -> None:
        bench = self._bench
        pending = []
        for cell, (folder, manifest) in enumerate(zip(self._folders, bench.manifests, strict=True)):
            if is_finished(folder, manifest.fingerprint):
                tidy(folder)
                self._outcome.already.append(folder)
            else:
                pending.append(cell)
        if not pending:
            return
        try:
            for cell in pending:
                self._journals[cell] = Journal(self._folders[cell] / JOURNAL)
                begin(self._folders[cell], bench.manifests[cell])
            total = len(pending) * len(bench.ids)
            done = sum(self._count_done(cell) for cell in pending)
            self._progress.start(f"{bench.dataset.task.name} {bench.dataset.split}", total, done)
            for line in self._lines(jobs):
                self._journals[line.cell].append(line.identifier, line.content)
                self._progress.advance()
            self._finish(pending)
        finally:
            for journal in self._journals.values():
                journal.close()

    def _count_done(self, cell: int) -> int:
        wanted = set(self._bench.ids)
        return sum(identifier in wanted for identifier in self._journals[cell].lines)

    def _lines(self, jobs: int) -> Iterator[Line]:
        starts = range(0, len(self._bench.ids), BATCH)
        if jobs > 1:
            yield from self._parallel_lines(jobs, starts)
            return
        for start in starts:
            yield from batch_lines(self._bench, start, self._is_done)
        self._failed = self._bench.pipeline.failed

    def _parallel_lines(self, jobs: int, starts: range) -> Iterator[Line]:
        work = iter(starts)
        arguments = (self._study, self._host.extra, self._bench.asked)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=arguments) as pool:
            waiting: deque[Future[tuple[list[Line], dict[int, str]]]] = deque()
            try:
                while True:
                    for start in islice(work, 2 * jobs - len(waiting)):
                        with _interrupts_held():
                            waiting.append(pool.submit(_work, start, self._done_in(start)))
                    if not waiting:
                        return
                    lines, failed = waiting.popleft().result()
                    self._failed |= failed
                    yield from lines
            except BrokenProcessPool:
                hint = "the machine may be out of memory; the same command goes on where this one stopped"
                raise RunError("a worker process died", hint) from None
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _is_done(self, cell: int, identifier: str) -> bool:
        journal = self._journals.get(cell)
        return journal is None or identifier in journal.lines

    def _done_in(self, start: int) -> dict[int, list[str]]:
        ids = self._bench.ids[start : start + BATCH]
        return {cell: [i for i in ids if i in journal.lines] for cell, journal in self._journals.items()}

    def _finish(self, pending: Sequence[int]) -> None:
        bench = self._bench
        metrics = load_metrics(self._host, bench.dataset.task.metrics)
        labels = bench.dataset.task.labels
        for cell in pending:
            folder = self._folders[cell]
            reason = self._failed.get(cell)
            if reason is not None:
                self._outcome.failed.append((folder, reason))
                continue
            finish(folder, bench.manifests[cell], self._journals.pop(cell), bench.ids, labels, metrics)
            self._outcome.finished.append(folder)


def batch_lines(bench: PreparedTask, start: int, done: Callable[[int, str], bool]) -> Iterator[Line]:
    """The lines of one batch, the first of them as soon as a sample is finished."""
    stop = min(start + BATCH, len(bench.ids))
    for examples in bench.dataset.batches(BATCH, start, stop):
        for result in _rewarded(bench.pipeline, bench.pipeline.run(examples, done)):
            yield Line(result.cell, result.sample.prompt.example.id, sample_line(result))


def _rewarded(pipeline: Pipeline, results: Iterator[Result]) -> Iterator[Result]:
    """Results with their rewards; without rewards they stream, with them they are scored by the batch."""
    if not pipeline.rewards:
        yield from results
        return
    gathered = list(results)
    if gathered:
        try:
            yield from pipeline.score(gathered)
        except PrlmBenchError:
            raise
        except Exception as error:
            names = ", ".join(pipeline.rewards)
            raise RunError(f"a reward of {names} failed: {type(error).__name__}: {error}") from error


def load_metrics(host: PluginHost, names: Collection[str]) -> list[Metric]:
    """Metrics by name.

    Raises:
        UnknownNameError: there is no such metric.
    """
    return [host.registry.get("metric", name).factory() for name in names]


class _Done:
    """Which samples a worker may leave out."""

    def __init__(self, done: dict[int, list[str]]) -> None:
        self._done = {cell: set(ids) for cell, ids in done.items()}

    def __call__(self, cell: int, identifier: str) -> bool:
        return cell not in self._done or identifier in self._done[cell]


_worker: PreparedTask


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back for a moment. A worker that starts in it inherits that, until it knows what to do with one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(study: RunConfig, extra: tuple[str, ...], task: str) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent says what there is to say
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = prepare_task(study, PluginHost(extra), task)


def _end_with_parent() -> None:
    """A killed parent cannot end its workers, and they would wait for it for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(start: int, done: dict[int, list[str]]) -> tuple[list[Line], dict[int, str]]:
    return list(batch_lines(_worker, start, _Done(done))), _worker.pipeline.failed
