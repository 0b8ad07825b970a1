"""One method on one or more tasks, planned as `prlm-bench run` plans it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from prlm_bench.errors import RunError
from prlm_bench.running import BATCH, prepare_tasks, read_run_config

if TYPE_CHECKING:
    from prlm_bench.host import PluginHost
    from prlm_bench.progress import Progress
    from prlm_bench.running import PreparedTask


class Methods:
    """A method, ready for each of its tasks.

    Args:
        flags: fields of a study, with one retriever, k, reasoner, generator and seed, or one named method.
        host: the loaded plugins.
        progress: told about long work.

    Raises:
        PrlmBenchError: it cannot run on one of the tasks.
    """

    def __init__(self, flags: Mapping[str, Any], host: PluginHost, progress: Progress) -> None:
        study = read_run_config(None, {**flags, "controls": False})
        #: What was asked for, without what was left open.
        self.flags = study.model_dump(mode="json", exclude_defaults=True)
        self.host, self._progress = host, progress
        #: By the name of the task; each has one cell.
        self.benches: dict[str, PreparedTask] = {}
        for bench in prepare_tasks(study, host, progress):
            if len(bench.plan.cells) != 1:
                reasons = [f": {s.what} {s.why}" for s in bench.plan.skipped[:1]] or [", but several were asked for"]
                raise RunError(f"one method is needed on {bench.dataset.task.name}{reasons[0]}")
            if "golds" not in bench.dataset.has:
                where = f"{bench.dataset.task.name} {bench.dataset.split}"
                raise RunError(f"the golds of {where} are withheld, so lm_eval has nothing to score", "--split dev")
            self.benches[bench.dataset.task.name] = bench

    def answers(self, task: str, ids: Collection[str]) -> dict[str, str]:
        """The method's answers by question id, as its reasoner read them; empty where it could not.

        Raises:
            RunError: a component failed.
        """
        bench, wanted = self.benches[task], frozenset(ids)
        self._progress.start(f"{task} {bench.dataset.split}", len(wanted))
        found: dict[str, str] = {}
        for batch in bench.dataset.batches(BATCH, 0, len(bench.ids)):
            examples = [example for example in batch if example.id in wanted]
            for result in bench.pipeline.run(examples, lambda cell, identifier: False):
                found[result.sample.prompt.example.id] = result.sample.answer.text
                self._progress.advance()
            for reason in bench.pipeline.failed.values():
                raise RunError(reason)
        return found
