"""Prepares the tasks of a run: dataset, cells, identities and manifests. Models are loaded with the first batch."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._util.cache_folder import cache_root
from .._util.text import MAX_ANSWER, length_problem
from ..data import open_split
from ..errors import DataError
from ..host import CheckedMetric, ComponentChoice, PluginFault, PluginHost
from ..metrics import Pairs
from ..progress import Progress, Silent
from ..results import Manifest, folder_name, make_manifest
from ..results._manifest import method_folder
from ._components import Components
from ._config import RunConfig
from ._pipeline import Pipeline
from ._plan import Broken, Cell, Plan, check_names, check_requested, plan_cells

if TYPE_CHECKING:
    from ..data import Dataset


@dataclass
class PreparedTask:
    """The cells of a task and their manifests, ready to run."""

    dataset: Dataset
    plan: Plan
    components: Components
    rewards: list[ComponentChoice]
    metrics: list[CheckedMetric]
    manifests: list[Manifest]
    #: The task as the config names it: a name, or the path of a task file.
    requested: str
    #: Characters of an answer at most.
    max_answer: int = MAX_ANSWER

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline of the cells, created on first use."""
        return Pipeline(self.plan.cells, self.rewards, self.components, self.max_answer)

    @property
    def ids(self) -> list[str]:
        """The questions to answer, in order."""
        return self.dataset.ids[: self.manifests[0].data.n] if self.manifests else []

    def broken_folder(self, results: Path, cell: Cell) -> Path:
        """Where the results of a cell would be that cannot run, without the digits of a fingerprint."""
        parts = (str(cell.retriever), cell.k, str(cell.reasoner), str(cell.generator), cell.seed)
        return results / method_folder(cell.task, self.dataset.split, *parts)

    def folder(self, results: Path, cell: int) -> Path:
        """The result folder of a cell."""
        return results / folder_name(self.manifests[cell])


def prepare_tasks(config: RunConfig, host: PluginHost, progress: Progress | None = None) -> list[PreparedTask]:
    """Plan every task of a run.

    Raises:
        PrlmBenchError: the config cannot run.
    """
    check_names(config, host)
    prepared = [prepare_task(config, host, name, progress) for name in config.tasks]
    check_requested(config, [task.plan for task in prepared], host)
    return prepared


def prepare_task(config: RunConfig, host: PluginHost, name: str, progress: Progress | None = None) -> PreparedTask:
    """Open a task's data, plan its cells, and identify their components.

    Raises:
        PrlmBenchError: a part of the config cannot run.
    """
    task = host.tasks.get(name)
    dataset = open_split(
        task,
        config.split,
        config.data,
        view=config.view,
        dates=config.dates,
        skip_invalid=config.skip_invalid,
        any_task=config.any_task,
        synth_users=config.synth_users,
        progress=progress or Silent(),
    )
    if not len(dataset):
        raise DataError(f"{task.name} {config.split} has no questions")
    plan = plan_cells(config, host, dataset)
    components = Components(host, dataset, cache_root())
    rewards = [host.registry.choose("reward", spec) for spec in config.rewards]
    metrics = [host.metric(each) for each in task.metrics]
    _check_lengths(dataset, config.max_answer)
    _try_golds([metric for metric, _ in metrics], dataset)
    identify = _Identify(config, dataset, components, rewards, [identity for _, identity in metrics])
    manifests: list[Manifest] = []
    whole, broken = [], []
    for cell in plan.cells:
        try:
            manifests.append(identify.manifest(cell))
            whole.append(cell)
        except PluginFault as fault:
            broken.append(Broken(cell, fault))
    plan = replace(plan, cells=whole, broken=broken)
    metrics_made = [metric for metric, _ in metrics]
    return PreparedTask(dataset, plan, components, rewards, metrics_made, manifests, name, config.max_answer)


def _check_lengths(dataset: Dataset, most: int) -> None:
    for question, gold in zip(dataset.ids, dataset.golds, strict=True):
        problem = length_problem(gold or "", most)
        if problem:
            raise DataError(f"{dataset.task.name} {dataset.split}: the gold of question {question!r} {problem}")


def _try_golds(metrics: Sequence[CheckedMetric], dataset: Dataset) -> None:
    """Refuse golds that a metric would refuse when everything has been generated.

    Raises:
        DataError: the metric's, with the question's id.
    """
    strict = [metric for metric in metrics if metric.reads_labels]
    golds: dict[str, str] = {}
    for question, gold in zip(dataset.ids, dataset.golds, strict=True) if strict else ():
        if gold is not None:
            golds.setdefault(gold, question)
    for metric in strict:
        for gold, question in golds.items():
            try:
                metric.statistics(Pairs([gold], [gold], dataset.task.labels))
            except DataError as error:
                where = f"{dataset.task.name} {dataset.split}, question {question!r}, {metric.name}"
                raise DataError(f"{where}: {error.message}", error.hint) from None
            except Exception:  # it costs the metric's column when the answers are there
                break


@dataclass
class _Identify:
    """Creates the manifests of the cells of one task."""

    config: RunConfig
    dataset: Dataset
    components: Components
    rewards: Sequence[ComponentChoice]
    metrics: Sequence[dict[str, str]]
    _rewards: list[dict[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self._rewards = [self.components.reward(choice)[1] for choice in self.rewards]

    def manifest(self, cell: Cell) -> Manifest:
        """The manifest of a cell."""
        method: dict[str, Any] = {
            kind: self.components.make(getattr(cell, kind), cell.seed)[1]
            for kind in ("retriever", "reasoner", "generator")
        }
        return make_manifest(
            self.dataset,
            self.config.limit,
            {**method, "k": cell.k},
            self.metrics,
            self._rewards,
            seed=cell.seed,
            control=cell.is_control,
            command=_command(cell, self.config, self.dataset),
            name=cell.label,
        )


def _command(cell: Cell, config: RunConfig, dataset: Dataset) -> str:
    words = ["prlm-bench", "run", "--task", cell.task]
    if config.data is not None:
        words += ["--data", config.data.name or "."]
    words += ["--split", config.split, "--retriever", str(cell.retriever), "-k", str(cell.k)]
    words += ["--reasoner", str(cell.reasoner), "--generator", str(cell.generator), "--seed", str(cell.seed)]
    words += ["--name", cell.label] if cell.label else []
    for reward in config.rewards:
        words += ["--reward", str(reward)]
    if config.limit is not None:
        words += ["--limit", str(config.limit)]
    if config.view != "lamp":
        words += ["--view", config.view]
    words += ["--dates"] * config.dates + ["--skip-invalid"] * config.skip_invalid
    words += ["--any-task"] * (dataset.other_task is not None)
    if config.max_answer != MAX_ANSWER:
        words += ["--max-answer", str(config.max_answer)]
    if config.synth_users is not None:
        words += ["--synth-users", str(config.synth_users)]
    return shlex.join([*words, "--no-controls"])
