"""What a study is asked about: one method on one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prlm_bench.errors import PrlmBenchError
from prlm_bench.metrics import Metric
from prlm_bench.progress import Progress
from prlm_bench.results import Stored, read_samples

from .cells import run_cells

if TYPE_CHECKING:
    from prlm_bench.host import PluginHost

Spec = str | Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """One method on one task, and where its results are kept."""

    host: PluginHost
    task: str
    data: Path | None
    split: str
    retriever: str
    k: int
    reasoner: str
    generator: str
    seed: int
    limit: int | None
    synth_users: int | None
    results: Path
    progress: Progress

    def run(
        self,
        retrievers: Sequence[Spec] | None = None,
        ks: Sequence[int] | None = None,
        reasoners: Sequence[Spec] | None = None,
        generators: Sequence[Spec] | None = None,
    ) -> list[Stored]:
        """Run a grid around the method and return its results, in the grid's order; what is finished is not run again.

        Args:
            retrievers, ks, reasoners, generators: what varies; the method's own part by default.

        Raises:
            RunError: a cell failed.
        """
        return run_cells(
            self.host,
            self.results,
            self.progress,
            tasks=[self.task],
            data=self.data,
            split=self.split,
            retrievers=list(retrievers or [self.retriever]),
            k=list(ks if ks is not None else [self.k]),
            reasoners=list(reasoners or [self.reasoner]),
            generators=list(generators or [self.generator]),
            seeds=[self.seed],
            limit=self.limit,
            synth_users=self.synth_users,
        )

    def with_retriever(self, retriever: Spec) -> Stored | str:
        """The method behind another retriever, or why it cannot run there."""
        try:
            return self.run(retrievers=[retriever])[0]
        except PrlmBenchError as error:
            return str(error)

    @property
    def metric(self) -> Metric:
        """The metric that ranks the task's first table."""
        return self.host.metrics([self.host.tasks.get(self.task).metrics[0]])[0]

    @property
    def labels(self) -> tuple[str, ...]:
        """The task's label list."""
        return self.host.tasks.get(self.task).labels


def scores(result: Stored, metric: str) -> tuple[list[str], list[str], np.typing.NDArray[np.float64]]:
    """Question ids, users and scores of a result, each of length n; nan where a sample has no score."""
    rows = [(s.id, s.user, s.metrics.get(metric)) for s in read_samples(result.folder)]
    values = np.array([np.nan if value is None else value for _, _, value in rows])
    return [row[0] for row in rows], [row[1] for row in rows], values
