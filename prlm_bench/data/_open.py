"""Opens a split of a task: from files in LaMP's layout, or made here for a synthetic task."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .._util.cache_folder import cache_root
from ..identity import json_digest
from ..progress import ByteProgress, Progress, Silent
from ..tasks import Task

if TYPE_CHECKING:
    from . import Dataset
    from .synth import SynthConfig


def open_split(
    task: Task,
    split: str,
    data: Path | None = None,
    *,
    view: str = "lamp",
    dates: bool = False,
    skip_invalid: bool = False,
    any_task: bool = False,
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
        any_task: take files of another benchmark than the task's; results say so.
        synth_users: users a split of a synthetic task that is made here.
        progress: receives progress updates.

    Raises:
        DataError: the data are not there or cannot be used.
    """
    from . import data_root, open_dataset

    if task.synthetic is not None and data is None:
        from .synth import SynthConfig

        data = synthetic_folder(task, SynthConfig() if synth_users is None else SynthConfig.of(synth_users))
    root = data_root(task, data)
    importing = ByteProgress(progress or Silent(), f"importing {task.name} {split}, bytes")
    return open_dataset(
        task, root, split, view=view, dates=dates, skip_invalid=skip_invalid, any_task=any_task, progress=importing
    )


def synthetic_folder(task: Task, config: SynthConfig) -> Path:
    """The data of a synthetic task, made in the cache where they are not there yet."""
    from .synth import VERSION, write_mini_lamp

    root = cache_root() / "mini-lamp" / json_digest([VERSION, asdict(config)])[:16]
    folder = root / task.folder
    if not (folder / "mini_lamp.json").is_file():
        assert task.synthetic is not None
        write_mini_lamp(root, [task.synthetic], config)
    return folder
