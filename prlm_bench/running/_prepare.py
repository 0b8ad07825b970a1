"""One task of a study, made ready: dataset, plan, components and manifests."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .._util.cache_folder import cache_root
from .._util.files import digest
from ..errors import DataError
from ..host._host import PluginHost
from ..progress import ByteProgress, Progress, Silent
from ..results._manifest import folder_name, make_manifest
from ..results._schema import Manifest
from ..tasks import Task
from ._config import RunConfig
from ._pipeline import Pipeline
from ._plan import Plan, plan_cells

if TYPE_CHECKING:
    from ..data import Dataset
    from ..data.synth import SynthConfig


def open_split(
    task: Task,
    split: str,
    data: Path | None = None,
    *,
    view: str = "lamp",
    dates: bool = False,
    skip_invalid: bool = False,
    synth_users: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """A split of a task: from `data`, from the default data root, or, for a synthetic task, made here.

    Args:
        task: the task.
        split: `train`, `dev` or `test`.
        data: a folder in LaMP's layout, or its parent.
        view, dates: what retrieval reads.
        skip_invalid: go on without malformed questions.
        synth_users: users a split of a synthetic task that is made here.
        progress: told about long work.

    Raises:
        DataError: the data are not there or cannot be used.
    """
    from ..data import data_root, open_dataset

    if task.synthetic is not None and data is None:
        from ..data.synth import SynthConfig

        data = synthetic_folder(task, SynthConfig() if synth_users is None else SynthConfig.of(synth_users))
    root = data_root(task, data)
    told = ByteProgress(progress or Silent(), f"importing {task.name} {split}, bytes")
    return open_dataset(task, root, split, view=view, dates=dates, skip_invalid=skip_invalid, progress=told)


def synthetic_folder(task: Task, config: SynthConfig) -> Path:
    """The data of a synthetic task, made in the cache where they are not there yet."""
    from ..data.synth import VERSION, write_mini_lamp

    root = cache_root() / "mini-lamp" / digest([VERSION, asdict(config)])[:16]
    folder = root / task.folder
    if not (folder / "mini_lamp.json").is_file():
        assert task.synthetic is not None
        write_mini_lamp(root, [task.synthetic], config)
    return folder


@dataclass
class PreparedTask:
    """A task's cells, ready to run."""

    dataset: Dataset
    plan: Plan
    pipeline: Pipeline
    manifests: list[Manifest]
    #: The task as the study names it: a name, or the path of a task file.
    asked: str

    @property
    def ids(self) -> list[str]:
        """The questions to ask, in order."""
        return self.dataset.ids[: self.manifests[0].data.n] if self.manifests else []

    def folder(self, results: Path, cell: int) -> Path:
        """The result folder of a cell."""
        return results / folder_name(self.manifests[cell])


def prepare_task(study: RunConfig, host: PluginHost, task_name: str, progress: Progress | None = None) -> PreparedTask:
    """Open a task's data, plan its cells and make their components.

    Raises:
        PrlmBenchError: anything that the user asked for and that cannot be done.
    """
    task = host.tasks.get(task_name)
    progress = progress or Silent()
    dataset = open_split(
        task,
        study.split,
        study.data,
        view=study.view,
        dates=study.dates,
        skip_invalid=study.skip_invalid,
        synth_users=study.synth_users,
        progress=progress,
    )
    if not len(dataset):
        raise DataError(f"{task.name} {study.split} has no questions")
    plan = plan_cells(study, host, dataset)
    rewards = [host.registry.choose("reward", spec) for spec in study.rewards]
    pipeline = Pipeline(plan.cells, rewards, host, dataset, cache_root())
    manifests = [
        make_manifest(cell, parts, pipeline.reward_identities, list(task.metrics), study, dataset)
        for cell, parts in zip(plan.cells, pipeline.parts, strict=True)
    ]
    return PreparedTask(dataset, plan, pipeline, manifests, task_name)
