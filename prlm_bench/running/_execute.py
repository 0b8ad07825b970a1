"""Runs a config: samples are written to journals, and complete journals become result folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from ..errors import RunError
from ..host import Fault, PluginHost
from ..host._faults import keep_fault
from ..interfaces import Activity, Engine
from ..profiling import Profile, recording, timed, timed_each
from ..progress import Progress, Silent, Watches
from ..results import JOURNAL, Journal, Summary, begin, finish, finished_ids, is_finished, sample_line, share_time, tidy
from ..results._finish import finish_again
from ._calls import compute
from ._config import RunConfig
from ._engines import ProcessEngine
from ._pipeline import Pipeline
from ._plan import Skipped
from ._prepare import PreparedTask, prepare_task, prepare_tasks
from ._scoring import Result
from ._throughput import Throughput

#: Examples per batch, and results that rewards are computed for together.
BATCH = 128


@dataclass
class Outcome:
    """The outcome of a run: result folders by status."""

    finished: list[Path] = field(default_factory=list)
    already: list[Path] = field(default_factory=list)
    #: Folder and reason.
    failed: list[tuple[Path, str]] = field(default_factory=list)
    #: Folders of finished rows in which a reward has no value, by `(task, reward, reason)`.
    failed_rewards: dict[tuple[str, str, str], list[Path]] = field(default_factory=dict)
    #: The same of metrics.
    failed_metrics: dict[tuple[str, str, str], list[Path]] = field(default_factory=dict)
    #: What errors call these rewards and metrics, with their plugins, by kind and name.
    told: dict[tuple[str, str], str] = field(default_factory=dict)
    #: Loggers that did not receive the rows, and why.
    failed_loggers: list[tuple[str, str]] = field(default_factory=list)
    #: The errors behind all of these, with their tracebacks, by what is said of them in one line.
    faults: dict[str, Fault] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    #: Where the time went, if that was asked for.
    profile: Profile | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing failed."""
        return not (self.failed or self.failed_rewards or self.failed_metrics or self.failed_loggers)

    def add_faults(self, faults: Mapping[str, Fault]) -> None:
        """Keep errors; the traceback of each is logged once."""
        for message, fault in faults.items():
            if message not in self.faults:
                self.faults[message] = fault
                keep_fault(message, fault)


@dataclass(frozen=True)
class Line:
    """A finished sample, as a line for the journal of its cell."""

    cell: int
    identifier: str
    content: bytes
    #: Tokens that were generated for it, if any were.
    tokens: int = 0


def execute(
    config: RunConfig,
    host: PluginHost,
    results: Path,
    *,
    jobs: int = 1,
    engine: Engine | None = None,
    tasks: Sequence[PreparedTask] | None = None,
    progress: Progress | None = None,
    profile: Profile | None = None,
) -> Outcome:
    """Run everything that is not finished yet.

    Args:
        config: what to run.
        host: the loaded plugins.
        results: the results folder; the folder names in it contain the fingerprints.
        jobs: worker processes on this machine; with 1, batches run in this process.
        engine: computes the batches; by default it depends on `jobs`.
        tasks: the config's tasks, if already prepared.
        progress: receives progress updates.
        profile: is being recorded by the caller; receives the stages of worker processes.

    Raises:
        PrlmBenchError: the config cannot run. Failures of single components are in the outcome instead.
    """
    progress = progress or Silent()
    if engine is None and jobs > 1:
        engine = ProcessEngine(jobs)
    if engine is not None and config.holds_objects:
        raise RunError(
            "components given as objects run in this process only", "use jobs=1, or register them as a plugin"
        )
    outcome = Outcome(profile=profile)
    for task in tasks if tasks is not None else prepare_tasks(config, host, progress):
        outcome.skipped += task.plan.skipped
        for broken in task.plan.broken:
            outcome.failed.append((task.broken_folder(results, broken.cell), broken.fault.message))
            outcome.add_faults({broken.fault.message: broken.fault.fault})
        _TaskRun(config, host, results, task, progress, outcome).run(engine)
        task.components.close()
    return outcome


def preview(task: PreparedTask, results: Path) -> list[dict[str, str | int]]:
    """The settings of each cell of a task and its number of samples, total and done; runs and locks nothing."""
    rows = []
    for index, (cell, manifest) in enumerate(zip(task.plan.cells, task.manifests, strict=True)):
        folder = task.folder(results, index)
        if is_finished(folder, manifest):
            done = manifest.data.n
        else:
            done = len(set(finished_ids(folder / JOURNAL, manifest.fingerprint)) & set(task.ids))
        where: dict[str, str | int] = {"task": cell.task, "split": task.dataset.split}
        rows.append(where | cell.parts | {"samples": manifest.data.n, "done": done, "folder": str(folder)})
    return rows


class _TaskRun:
    """Runs the cells of one task."""

    def __init__(
        self,
        config: RunConfig,
        host: PluginHost,
        results: Path,
        task: PreparedTask,
        progress: Progress,
        outcome: Outcome,
    ) -> None:
        self._config, self._host, self._task, self._results = config, host, task, results
        self._progress, self._outcome = progress, outcome
        task.components.results = results
        self._folders = [task.folder(results, cell) for cell in range(len(task.plan.cells))]
        self._journals: dict[int, Journal] = {}
        self._failed: dict[int, str] = {}
        self._names = [cell.name for cell in task.plan.cells]

    def run(self, engine: Engine | None) -> None:
        task = self._task
        pending = []
        for cell, (folder, manifest) in enumerate(zip(self._folders, task.manifests, strict=True)):
            if is_finished(folder, manifest):
                tidy(folder, manifest)
                again = finish_again(folder, manifest, task.ids, task.dataset.task.labels, task.metrics)
                if again is None:
                    self._outcome.already.append(folder)
                else:
                    self._outcome.finished.append(folder)
                    self._note(folder, *again)
            else:
                pending.append(cell)
        if not pending:
            return
        try:
            for cell in pending:
                manifest = task.manifests[cell]
                with timed("journal", [self._names[cell]]):
                    self._journals[cell] = Journal(self._folders[cell] / JOURNAL, manifest.fingerprint)
                    begin(self._folders[cell], manifest)
            total = len(pending) * len(task.ids)
            done = sum(self._count_done(cell) for cell in pending)
            self._progress.start(f"{task.dataset.task.name} {task.dataset.split}", total, done)
            throughput = Throughput(task.pipeline.activity if engine is None else Activity)
            if isinstance(self._progress, Watches):
                self._progress.watch(throughput)
            for line in self._lines(engine):
                with timed("journal", [self._names[line.cell]]):
                    self._journals[line.cell].append(line.identifier, line.content)
                throughput.add(line.tokens)
                self._progress.advance()
            self._finish(pending)
        finally:
            for journal in self._journals.values():
                journal.close()

    def _count_done(self, cell: int) -> int:
        wanted = set(self._task.ids)
        return sum(identifier in wanted for identifier in self._journals[cell].lines)

    def _lines(self, engine: Engine | None) -> Iterator[Line]:
        n = len(self._task.ids)
        if engine is None:
            yield from _answered(self._task, 0, n, self._is_done)
            self._failed = self._task.pipeline.failed
            self._outcome.add_faults(self._task.pipeline.faults)
            return
        profile = self._outcome.profile
        rows = [manifest.fingerprint for manifest in self._task.manifests]
        given = (self._config, self._host.extra, self._task.requested, self._results, rows, profile is not None)
        starts = range(0, n, BATCH)
        batches = ((start, self._done_in(start)) for start in starts)
        answers = compute(engine, _work, batches, len(starts), partial(_start_work, *given))
        for lines, failed, faults, stages in timed_each("waiting", answers, []):
            self._failed |= failed
            self._outcome.add_faults(faults)
            if profile is not None:
                profile.add(stages)
            yield from lines

    def _is_done(self, cell: int, identifier: str) -> bool:
        journal = self._journals.get(cell)
        return journal is None or identifier in journal.lines

    def _done_in(self, start: int) -> dict[int, list[str]]:
        ids = self._task.ids[start : start + BATCH]
        return {cell: [i for i in ids if i in journal.lines] for cell, journal in self._journals.items()}

    def _finish(self, pending: Sequence[int]) -> None:
        task = self._task
        labels = task.dataset.task.labels
        for cell in pending:
            folder = self._folders[cell]
            reason = self._failed.get(cell)
            if reason is not None:
                self._outcome.failed.append((folder, reason))
                continue
            journal = self._journals[cell]
            with timed("metrics", [self._names[cell]]):
                summary, faults = finish(folder, task.manifests[cell], journal, task.ids, labels, task.metrics)
            del self._journals[cell]
            self._outcome.finished.append(folder)
            self._note(folder, summary, faults)
        finished = set(self._outcome.finished)
        for members in task.pipeline.streaming:
            share_time([folder for cell in members if (folder := self._folders[cell]) in finished])

    def _note(self, folder: Path, summary: Summary, faults: Mapping[str, Fault]) -> None:
        """Note which figures a finished row lacks."""
        task = self._task.dataset.task.name
        for name, why in summary.reward_failures.items():
            self._outcome.failed_rewards.setdefault((task, name, why), []).append(folder)
        for name, why in summary.metric_failures.items():
            self._outcome.failed_metrics.setdefault((task, name, why), []).append(folder)
        told = self._outcome.told
        told |= {("metric", metric.name): metric.told for metric in self._task.metrics}
        told |= {("reward", str(choice)): choice.told for choice in self._task.rewards}
        self._outcome.add_faults({f"{told['metric', name]}: {fault}": fault for name, fault in faults.items()})


def _answered(task: PreparedTask, start: int, stop: int, done: Callable[[int, str], bool]) -> Iterator[Line]:
    """The lines of some examples, each yielded as soon as its sample is finished."""
    batches = task.dataset.batches(BATCH, start, stop)
    for result in _rewarded(task.pipeline, task.pipeline.run(batches, done)):
        sample = result.sample
        line = sample_line(sample, result.retrieval, result.rewards, result.reward_failures, result.seconds)
        tokens = 0 if result.seconds is None else sample.completion.tokens or 0
        yield Line(result.cell, sample.prompt.example.id, line, tokens)


def _rewarded(pipeline: Pipeline, results: Iterator[Result]) -> Iterator[Result]:
    """Results with rewards: streamed if there are no rewards, else scored in groups."""
    if not pipeline.rewards:
        yield from results
        return
    while gathered := list(islice(results, BATCH)):
        yield from pipeline.score(gathered)


class _Done:
    """The samples that a worker can skip."""

    def __init__(self, done: dict[int, list[str]]) -> None:
        self._done = {cell: set(ids) for cell, ids in done.items()}

    def __call__(self, cell: int, identifier: str) -> bool:
        return cell not in self._done or identifier in self._done[cell]


_worker: PreparedTask
_profile: Profile | None


def _start_work(
    config: RunConfig, extra: tuple[str, ...], name: str, results: Path, rows: list[str], profiled: bool
) -> None:
    global _worker, _profile
    _worker = prepare_task(config, PluginHost(extra), name)
    if [manifest.fingerprint for manifest in _worker.manifests] != rows:
        for broken in _worker.plan.broken:
            raise broken.fault
        raise RunError("a worker process makes other rows of this run", "use --jobs 1")
    _worker.components.results = results
    _profile = Profile() if profiled else None


def _work(
    batch: tuple[int, dict[int, list[str]]],
) -> tuple[list[Line], dict[int, str], dict[str, Fault], dict[str, dict[str, float]]]:
    start, done = batch
    stop = min(start + BATCH, len(_worker.ids))
    with recording(_profile):
        lines = list(_answered(_worker, start, stop, _Done(done)))
    pipeline = _worker.pipeline
    return lines, pipeline.failed, pipeline.faults, {} if _profile is None else _profile.take()
