"""What a study of trained methods is asked about: trainings, one for each seed, and the methods that come of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prlm_bench.data import open_split
from prlm_bench.errors import PluginError
from prlm_bench.files import cache_root
from prlm_bench.metrics import Metric
from prlm_bench.progress import Progress
from prlm_bench.results import Stored
from prlm_bench.running import Components

from .cells import run_cells

if TYPE_CHECKING:
    from prlm_bench.host import PluginHost

Method = Mapping[str, Any]


@dataclass(frozen=True)
class Training:
    """A trainer on one or several tasks, with several seeds."""

    host: PluginHost
    tasks: Sequence[str]
    data: Path | None
    split: str
    #: The trainer's spec, with all of its options.
    trainer: Mapping[str, Any]
    seeds: Sequence[int]
    #: Where trainings are kept, each in `<task>/<seed>`.
    runs: Path
    limit: int | None
    synth_users: int | None
    results: Path
    progress: Progress

    def train(self, task: str) -> dict[str, Method]:
        """Train with each seed; what is finished is not trained again.

        Returns:
            The methods that the trainer's manifest names, by label, with `{seed}` where the seed stands in paths.

        Raises:
            PluginError: a trainer whose manifest names no methods.
        """
        methods: dict[str, Method] = {}
        for seed in self.seeds:
            folder = self.runs / task / str(seed)
            dataset = open_split(
                self.host.tasks.get(task), "train", self.data, synth_users=self.synth_users, progress=self.progress
            )
            components = Components(self.host, dataset, cache_root())
            self.progress.note(f"{self.trainer['name']} on {task}, seed {seed}")
            manifest = components.ready("trainer", self.trainer, seed).train(folder, self.progress)
            named = manifest.get("methods")
            if not named:
                raise PluginError(
                    f"trainer {self.trainer['name']} names no methods", "see docs/tutorials/write-a-plugin.md"
                )
            place, general = str(folder), str(self.runs / task / "{seed}")
            methods = {
                label: {
                    part: value.replace(place, general) if isinstance(value, str) else value
                    for part, value in method.items()
                }
                for label, method in named.items()
            }
        return methods

    def run(self, task: str, method: Method) -> list[Stored]:
        """A method's results on a task, one for each seed; what is finished is not run again.

        Raises:
            RunError: it failed.
        """
        return run_cells(
            self.host,
            self.results,
            self.progress,
            tasks=[task],
            data=self.data,
            split=self.split,
            retrievers=[method.get("retriever", "none")],
            k=[method.get("k", 0)],
            reasoners=[method["reasoner"]],
            generators=[method["generator"]],
            seeds=list(self.seeds),
            limit=self.limit,
            synth_users=self.synth_users,
        )

    def metric(self, task: str) -> Metric:
        """The metric that ranks a task's first table."""
        return self.host.metrics([self.host.tasks.get(task).metrics[0]])[0]
