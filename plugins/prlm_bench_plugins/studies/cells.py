"""How a study gets its results: through the same runs and journals as any table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prlm_bench.errors import RunError
from prlm_bench.progress import Progress
from prlm_bench.results import Stored, load_folders
from prlm_bench.running import RunConfig, execute, prepare_tasks

if TYPE_CHECKING:
    from prlm_bench.host import PluginHost


def run_cells(host: PluginHost, results: Path, progress: Progress, **fields: Any) -> list[Stored]:
    """Run a grid on one task, without controls, and return its results in the grid's order.

    What is finished is not run again.

    Args:
        host, results, progress: as for any run.
        fields: of the `Study`.

    Raises:
        RunError: a cell failed.
    """
    study = RunConfig.model_validate({**fields, "controls": False})
    benches = prepare_tasks(study, host, progress)
    outcome = execute(study, host, results, benches=benches, progress=progress)
    if outcome.failed:
        raise RunError(outcome.failed[0][1])
    (bench,) = benches
    return load_folders([bench.folder(results, cell) for cell in range(len(bench.plan.cells))])


def seed_values(family: Sequence[Stored], metric: str) -> list[float]:
    """A metric's value in each of a method's results, one for each seed; 0 where it has none."""
    return [float(result.summary.metrics[metric].value or 0.0) for result in family]
