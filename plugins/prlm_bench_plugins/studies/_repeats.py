"""The study `repeats`: several samples of each question, and what a choice among them could gain."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np

from prlm_bench import Answer, Sample, Session
from prlm_bench.errors import DataError, RunError
from prlm_bench.metrics import Metric, Pairs
from prlm_bench.results import ClusterEstimates, as_mean, limits_of

from ..choosing import most_agreeing, most_common
from ._base import StudyConfig, Values, study
from ._report import StudyReport, spread


@study("repeats")
def repeats(config: StudyConfig, samples: int = 8, at: Sequence[int] | None = None) -> StudyReport:
    """Draw samples of each question, and reduce their scores in three ways.

    - mean: what one sample scores.
    - best of k: the expected best score of k samples, unbiased from all n as pass@k is (Chen et al. 2021, arXiv
      2107.03374), which it equals where a score is 0 or 1. It chooses by the gold: a bound, not a method.
    - majority: the answer that most samples give; for texts the one that agrees best with the others.

    Args:
        config: the method; its generator draws samples.
        samples: of each question.
        at: values of k; by default 2, 4, 8 and so on, and the number of samples.

    Raises:
        RunError: fewer samples than the largest k, or the generator draws none.
        DataError: a question has no gold, or no metric of the task has a value for a single sample.
    """
    depths = sorted(set(at or [2**power for power in range(1, 20) if 2**power < samples] + [samples]))
    if samples < 1 or depths[0] < 1 or depths[-1] > samples:
        raise RunError(f"the best of {depths[-1]} needs as many samples, not {samples}", "raise --samples")
    drawn = _draw(config, samples)
    metrics = [metric for metric in config.metrics if metric.is_mean]
    if not metrics:
        raise DataError(f"no metric of {config.task_name} has a value for a single sample")
    labels = config.task.labels
    figures = ClusterEstimates([row[0].prompt.example.user for row in drawn])
    for metric in metrics:
        values = _values(metric, drawn, labels)
        reduced = {"mean": values.mean(axis=1)}
        reduced |= {f"best of {k}": best_of(values, k, higher=metric.higher_is_better) for k in depths}
        voted = [_vote([sample.answer for sample in row], config.task.output, metric, labels) for row in drawn]
        reduced["majority"] = values[np.arange(len(drawn)), voted]
        for name, column in reduced.items():
            figures.add(
                f"{metric.name} {name}",
                as_mean(column.tolist()),
                errors=not metric.higher_is_better,
                limits=limits_of(metric),
            )
    found = figures.estimates()
    names = ["mean", *(f"best of {k}" for k in depths), "majority"]
    rows = [[metric.name, name, *spread(found[f"{metric.name} {name}"])] for metric in metrics for name in names]
    first = {row[1]: row[2] for row in rows if row[0] == metrics[0].name}
    most = f"best of {depths[-1]}"
    finding = (
        f"{metrics[0].name}: one sample scores {first['mean']:.4f}, the majority of {samples} {first['majority']:.4f}, "
        f"a choice by the gold among {depths[-1]} would score {first[most]:.4f}."
    )
    return StudyReport(
        "repeats",
        f"{config.task_name}: {samples} samples of each of {len(drawn)} questions by {config.generator}",
        ["metric", "samples reduced to", "value", "low", "high"],
        rows,
        [finding],
    )


def best_of(values: Values, k: int, *, higher: bool = True) -> Values:
    """The expected best of k of the n scores of each row, unbiased; shape (rows,).

    Args:
        values: shape (rows, n).
        k: from 1 to n.
        higher: whether higher scores are better.
    """
    n = values.shape[1]
    ordered = np.sort(values if higher else -values, axis=1)
    # The i-th smallest (from 0) is the best of k where the other k - 1 are below it.
    shares = np.array([comb(place, k - 1) / comb(n, k) for place in range(n)])
    best = np.asarray(ordered @ shares)
    return best if higher else -best


def _draw(config: StudyConfig, samples: int) -> list[list[Sample]]:
    with Session(
        config.task_name,
        data=config.data,
        split=config.split,
        seed=config.seeds[0],
        limit=config.limit,
        any_task=config.any_task,
        synth_users=config.synth_users,
        progress=config.progress,
        host=config.host,
    ) as session:
        prompts = session.prompts(config.retriever, config.k, config.reasoner, config.generator)
        if any(prompt.example.gold is None for prompt in prompts):
            raise DataError(f"questions of {config.task_name} {config.split} have no golds")
        return session.sample(prompts, config.generator, samples)


def _values(metric: Metric, drawn: Sequence[Sequence[Sample]], labels: Sequence[str]) -> Values:
    """Scores of shape (questions, samples)."""
    flat = [sample for row in drawn for sample in row]
    pairs = Pairs([each.answer.text for each in flat], [each.prompt.example.gold or "" for each in flat], labels)
    return np.asarray(metric.value(metric.statistics(pairs))).reshape(len(drawn), -1)


def _vote(answers: Sequence[Answer], output: str, metric: Metric, labels: Sequence[str]) -> int:
    return int(most_agreeing(answers, metric, labels) if output == "text" else most_common(answers))
