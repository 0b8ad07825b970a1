"""Questions as docs of lm_eval, the project's metrics over their answers, and the method that answers them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from prlm_bench.errors import RunError
from prlm_bench.metrics import Metric, Pairs
from prlm_bench.running import BATCH, prepare_tasks, read_run_config
from prlm_bench.stats import user_totals

if TYPE_CHECKING:
    from prlm_bench.host import PluginHost
    from prlm_bench.progress import Progress
    from prlm_bench.running import PreparedTask

#: Prefix of our tasks' names in lm_eval.
PREFIX = "prlm_"


@dataclass(frozen=True)
class ScoredDocs:
    """Questions with golds, and the metrics that score answers to them.

    Args:
        name: the task's name in lm_eval.
        docs: mappings with `id`, `user`, `task`, `protocol`, `fingerprint`, `prompt` and `gold`, all text. The
            protocol is `plain` or `chat` if a model reads the prompt, and `question` if a method makes its own.
        metrics: the task's metrics.
        labels: the task's labels.
        answer: reads the answer to a question, by id, out of a completion.
        max_new_tokens: token limit of a completion.
        about: metadata for lm_eval's results.
    """

    name: str
    docs: Sequence[Mapping[str, str]]
    metrics: Sequence[Metric]
    labels: Sequence[str]
    answer: Callable[[str, str], str]
    max_new_tokens: int
    about: Mapping[str, Any]

    def statistics(self, identifier: str, completion: str) -> dict[str, list[Any]]:
        """For each metric, by name, the user and the sufficient statistics of one answer."""
        doc = self._docs[identifier]
        pair = Pairs([self.answer(identifier, completion)], [doc["gold"]], self.labels)
        return {metric.name: [doc["user"], *metric.statistics(pair)[0].tolist()] for metric in self.metrics}

    @cached_property
    def _docs(self) -> Mapping[str, Mapping[str, str]]:
        return {doc["id"]: doc for doc in self.docs}


def aggregate(metric: Metric, items: Sequence[Sequence[Any]]) -> float:
    """A metric's value over all samples, summed user by user as in the project's own tables.

    Args:
        metric: the metric.
        items: what `ScoredDocs.statistics` returned for it, one for each sample.
    """
    rows = np.array([item[1:] for item in items], dtype=np.float64)
    return float(metric.value(user_totals(rows, [item[0] for item in items]).sum(axis=0)))


def question_docs(bench: PreparedTask, host: PluginHost) -> ScoredDocs:
    """The questions of a bench, for its own pipeline to answer."""
    task, manifest = bench.dataset.task, bench.manifests[0]
    shared = {"task": task.name, "protocol": "question", "fingerprint": manifest.fingerprint}
    docs = [
        {"id": example.id, "user": example.user, **shared, "prompt": example.input, "gold": str(example.gold)}
        for batch in bench.dataset.batches(256, 0, len(bench.ids))
        for example in batch
    ]
    about = {"split": manifest.split, "fingerprint": manifest.fingerprint}
    metrics = host.metrics(task.metrics)
    return ScoredDocs(PREFIX + task.name, docs, metrics, task.labels, lambda identifier, answer: answer, 1, about)


class PlannedMethod:
    """One method on one or more tasks, planned as `prlm-bench run` plans it.

    Args:
        flags: fields of a study, with one retriever, k, reasoner, generator and seed, or one named method.
        host: the loaded plugins.
        progress: receives progress updates.

    Raises:
        PrlmBenchError: it cannot run on one of the tasks.
    """

    def __init__(self, flags: Mapping[str, Any], host: PluginHost, progress: Progress) -> None:
        study = read_run_config(None, {**flags, "controls": False})
        #: The fields that differ from their defaults.
        self.flags = study.model_dump(mode="json", exclude_defaults=True)
        self.host, self._progress = host, progress
        #: By task name; each bench has one cell.
        self.benches: dict[str, PreparedTask] = {}
        for bench in prepare_tasks(study, host, progress):
            for broken in bench.plan.broken:
                raise broken.fault
            if len(bench.plan.cells) != 1:
                reasons = [f": {s.what} {s.why}" for s in bench.plan.skipped[:1]] or [", but several were given"]
                raise RunError(f"one method is needed on {bench.dataset.task.name}{reasons[0]}")
            if "golds" not in bench.dataset.has:
                where = f"{bench.dataset.task.name} {bench.dataset.split}"
                raise RunError(f"the golds of {where} are withheld, so lm_eval has nothing to score", "--split dev")
            self.benches[bench.dataset.task.name] = bench

    def answers(self, task: str, ids: Collection[str]) -> dict[str, str]:
        """The method's answers by question id, as its reasoner parsed them; empty where it could not.

        Raises:
            RunError: a component failed.
        """
        bench, wanted = self.benches[task], frozenset(ids)
        self._progress.start(f"{task} {bench.dataset.split}", len(wanted))
        found: dict[str, str] = {}
        batches = bench.dataset.batches(BATCH, 0, len(bench.ids))
        questions = ([example for example in batch if example.id in wanted] for batch in batches)
        for result in bench.pipeline.run(questions, lambda cell, identifier: False):
            found[result.sample.prompt.example.id] = result.sample.answer.text
            self._progress.advance()
        for reason in bench.pipeline.failed.values():
            raise RunError(reason)
        return found
