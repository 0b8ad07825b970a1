"""Mini-LaMP of a trainer's own seed, as the questions that it learns from and those that it is judged on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from prlm_bench import Example
from prlm_bench.data.synth import VERSION, Preferences, SynthConfig, truth, write_mini_lamp
from prlm_bench.tasks import Task

if TYPE_CHECKING:
    from prlm_bench.progress import Progress


@dataclass(frozen=True, slots=True)
class Book:
    """The questions of one task."""

    task: Task
    examples: Sequence[Example]
    #: What was planted, by user.
    truth: Mapping[str, Preferences] = field(default_factory=dict)


def make_books(
    tasks: Sequence[Task], config: SynthConfig, progress: Progress
) -> tuple[list[Book], list[Book], dict[str, Any]]:
    """Training and held-out questions of tasks of mini-LaMP, and what they are known by.

    Args:
        tasks: tasks with a number of mini-LaMP.
        config: seed, users of the splits `train` and `dev`, and the rest.
        progress: told about each task.
    """
    from prlm_bench.data import open_dataset  # brings pyarrow, which a list of trainers does without

    splits: dict[str, list[Book]] = {"train": [], "dev": []}
    sha256: dict[str, str] = {}
    progress.start("making mini-LaMP, tasks", len(tasks))
    with TemporaryDirectory() as scratch:
        for task in tasks:
            (folder,) = write_mini_lamp(Path(scratch), [task.synthetic or 0], config)
            planted = truth(folder)
            for split, books in splits.items():
                dataset = open_dataset(task, folder, split, cache=Path(scratch) / "cache")
                books.append(Book(task, [example for batch in dataset.batches(512) for example in batch], planted))
                sha256 |= {f"{task.folder}/{name}": value for name, value in dataset.sha256.items()}
            progress.advance()
    data = {"mini_lamp": VERSION, "config": asdict(config), "sha256": sha256}
    return splits["train"], splits["dev"], data
