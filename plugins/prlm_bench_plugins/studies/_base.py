"""What all studies share: their configuration, their registry, and runs through the usual result folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from prlm_bench.data import open_split
from prlm_bench.errors import PrlmBenchError, RunError
from prlm_bench.metrics import Metric
from prlm_bench.progress import Progress
from prlm_bench.results import Stored, load_folders, read_samples
from prlm_bench.running import RunConfig, execute, prepare_tasks
from prlm_bench.tasks import Task

from ._report import StudyReport

if TYPE_CHECKING:
    from prlm_bench.data import Dataset
    from prlm_bench.host import PluginHost

Spec = str | Mapping[str, Any]
Values = NDArray[np.float64]
_Study = TypeVar("_Study", bound=Callable[..., StudyReport])

#: Studies by the name of their command; a study's module registers it when it is imported.
STUDIES: dict[str, Callable[..., StudyReport]] = {}


def study(name: str) -> Callable[[_Study], _Study]:
    """Register a function as the study `name`: it takes a `StudyConfig` and options of its own by keyword."""

    def register(function: _Study) -> _Study:
        STUDIES[name] = function
        return function

    return register


@dataclass(frozen=True)
class StudyConfig:
    """The tasks, the data and the method that a study is about."""

    host: PluginHost
    progress: Progress
    #: Names of tasks, or paths of task files; most studies take one.
    tasks: tuple[str, ...]
    #: Folder of the results.
    results: Path
    #: A folder in LaMP's layout; None for the default root, and for generated tasks.
    data: Path | None = None
    split: str = "dev"
    seeds: tuple[int, ...] = (0,)
    #: Number of questions, the first of the split; None for all.
    limit: int | None = None
    #: Take data of another benchmark than the task's.
    any_task: bool = False
    #: Users per split of generated tasks.
    synth_users: int | None = None
    # The method, where a study is about one.
    retriever: str = "bm25"
    k: int = 4
    reasoner: str = "direct"
    generator: str = "copy"

    @property
    def task_name(self) -> str:
        """The task as the user named it."""
        return self.tasks[0]

    def for_task(self, name: str) -> StudyConfig:
        """The same about a single task."""
        return replace(self, tasks=(name,))

    def of_seed(self, seed: int) -> StudyConfig:
        """The same with a single seed."""
        return replace(self, seeds=(seed,))

    @property
    def task(self) -> Task:
        """The task.

        Raises:
            RunError: there are several.
        """
        if len(self.tasks) != 1:
            raise RunError(f"this study takes one task, not {len(self.tasks)}", "give --task once")
        return self.host.tasks.get(self.tasks[0])

    @property
    def metrics(self) -> list[Metric]:
        """The task's metrics; the first one ranks its tables."""
        return self.host.metrics(self.task.metrics)

    @property
    def metric(self) -> Metric:
        """The metric that ranks the task's tables."""
        return self.host.metrics(self.task.metrics[:1])[0]

    def open(self, split: str | None = None) -> Dataset:
        """The task's data, by default of the study's split."""
        return open_split(
            self.task, split or self.split, self.data, any_task=self.any_task, synth_users=self.synth_users
        )

    def run(self, **grid: Any) -> list[Stored]:
        """Run the method on the task, without controls, and return its results; finished runs are not repeated.

        Args:
            grid: fields of a run config, in place of the config's own: `retrievers`, `k`, `reasoners`, `generators`
                as lists, for example.

        Returns:
            The results in the grid's order.

        Raises:
            RunError: a run failed.
        """
        method = {} if "methods" in grid else self._method()
        fields = {
            "tasks": list(self.tasks),
            "data": self.data,
            "split": self.split,
            "seeds": list(self.seeds),
            "limit": self.limit,
            "any_task": self.any_task,
            "synth_users": self.synth_users,
        }
        config = RunConfig.model_validate({**fields, **method, **grid, "controls": False})
        tasks = prepare_tasks(config, self.host, self.progress)
        outcome = execute(config, self.host, self.results, tasks=tasks, progress=self.progress)
        if outcome.failed:
            raise RunError(outcome.failed[0][1])
        (task,) = tasks
        return load_folders([task.folder(self.results, cell) for cell in range(len(task.plan.cells))])

    def with_retriever(self, retriever: Spec) -> Stored | str:
        """The method behind another retriever, or why it cannot run there."""
        try:
            return self.run(retrievers=[retriever])[0]
        except PrlmBenchError as error:
            return str(error)

    def _method(self) -> dict[str, Any]:
        return {
            "retrievers": [self.retriever],
            "k": [self.k],
            "reasoners": [self.reasoner],
            "generators": [self.generator],
        }


def scores(result: Stored, metric: str) -> tuple[list[str], list[str], Values]:
    """Question ids, users and scores of a result, each of length n; nan for a sample without a score."""
    rows = [(s.id, s.user, s.metrics.get(metric)) for s in read_samples(result.folder)]
    values = np.array([np.nan if value is None else value for _, _, value in rows])
    return [row[0] for row in rows], [row[1] for row in rows], values


def seed_values(family: Sequence[Stored], metric: str) -> list[float]:
    """A metric's value in each of a method's results, one for each seed; 0 for a result without a value."""
    return [float(result.summary.metrics[metric].value or 0.0) for result in family]
