"""Questions as lm_eval asks them, and the project's metrics over what is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from prlm_bench.metrics import Metric, Pairs
from prlm_bench.stats import user_totals

if TYPE_CHECKING:
    from prlm_bench.host import PluginHost
    from prlm_bench.running import PreparedTask

#: What our tasks are called in lm_eval: this, and their own name.
PREFIX = "prlm_"


@dataclass(frozen=True)
class Judged:
    """Questions with golds, and what judges the answers.

    Args:
        name: of the task in lm_eval.
        docs: with `id`, `user`, `task`, `protocol`, `fingerprint`, `prompt` and `gold`, all text. The protocol is
            `plain` or `chat` where the prompt is what a model reads, and `question` where a pipeline makes it.
        metrics: of the task.
        labels: of the task.
        answer: reads the answer to a question, by id, out of a completion.
        max_new_tokens: a completion's tokens at most.
        about: what lm_eval's results say of the questions.
    """

    name: str
    docs: Sequence[Mapping[str, str]]
    metrics: Sequence[Metric]
    labels: Sequence[str]
    answer: Callable[[str, str], str]
    max_new_tokens: int
    about: Mapping[str, Any]

    def statistics(self, identifier: str, completion: str) -> dict[str, list[Any]]:
        """For each metric, by name, the user and the sufficient statistics of this one answer."""
        doc = self._docs[identifier]
        pair = Pairs([self.answer(identifier, completion)], [doc["gold"]], self.labels)
        return {metric.name: [doc["user"], *metric.statistics(pair)[0].tolist()] for metric in self.metrics}

    @cached_property
    def _docs(self) -> Mapping[str, Mapping[str, str]]:
        return {doc["id"]: doc for doc in self.docs}


def total(metric: Metric, items: Sequence[Sequence[Any]]) -> float:
    """A metric over all samples, summed user by user as the project's own tables are.

    Args:
        metric: the measure.
        items: what `statistics` gave for it, one for each sample.
    """
    rows = np.array([item[1:] for item in items], dtype=np.float64)
    return float(metric.value(user_totals(rows, [item[0] for item in items]).sum(axis=0)))


def questions(bench: PreparedTask, host: PluginHost) -> Judged:
    """The questions of a bench, to be answered by its pipeline."""
    task, manifest = bench.dataset.task, bench.manifests[0]
    shared = {"task": task.name, "protocol": "question", "fingerprint": manifest.fingerprint}
    docs = [
        {"id": example.id, "user": example.user, **shared, "prompt": example.input, "gold": str(example.gold)}
        for batch in bench.dataset.batches(256, 0, len(bench.ids))
        for example in batch
    ]
    about = {"split": manifest.split, "fingerprint": manifest.fingerprint}
    metrics = host.metrics(task.metrics)
    return Judged(PREFIX + task.name, docs, metrics, task.labels, lambda identifier, answer: answer, 1, about)
