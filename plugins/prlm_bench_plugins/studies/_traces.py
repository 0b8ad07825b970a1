"""The study `traces`: does the answer rest on the reasoning before it, and is what the reasoning says true?"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prlm_bench import Prompt, Sample, Session
from prlm_bench.errors import DataError, RunError
from prlm_bench.metrics import Metric, Pairs
from prlm_bench.report import on_trainings
from prlm_bench.results import ClusterEstimates, Estimate, as_mean, mean_value
from prlm_bench.stats import Difference, Floats, holm, paired_difference, user_totals

from .._training import read_artefact
from ..prlm._trace_rules import TraceRules
from ._base import StudyConfig, Values, study
from ._report import StudyReport, draw_intervals

#: What stands before the answer: the trace that the method wrote, nothing, and that of a question of another user.
ARMS = ("own", "erased", "another user's")
_LEVEL = 0.05
#: An opening mark, the trace, and the mark that closes it.
_CLOSED = re.compile(r"(\s*(?:<think>\s*)?)(.*?)(\s*</think>)", re.DOTALL)
_SENTENCE_END = re.compile(r"\n+|(?<=[.!?])\s+")


@dataclass(frozen=True)
class _Trace:
    """The reasoning of a completion, which is closed: with what stands before it and what closes it.

    White space behind the closing mark is left to the model, since a tokenizer may join it with the mark.
    """

    before: str
    text: str
    after: str

    def beginning(self, text: str) -> str:
        """The beginning of the completion with another trace."""
        return f"{self.before}{text}{self.after}"


@dataclass(frozen=True)
class _Training:
    """One training's samples of the questions that are compared, by arm, and its traces."""

    samples: dict[str, list[Sample]]
    traces: list[_Trace]
    others: list[_Trace]
    #: Share of the answers that differ from those that the method gave before its own trace was put to it again.
    unfaithful: float


@study("traces")
def traces(
    config: StudyConfig, checkpoint: str | None = None, stage: str = "policy", keep: Collection[str] = ()
) -> StudyReport:
    """Put the same questions with the method's own reasoning, without it, and with that of another user's question.

    The model goes on after the reasoning is closed, with the same prompt. If the answer rests on the reasoning, the
    score falls. The method's own reasoning is put to it again too, so that all answers are made in the same way.
    Questions whose reasoning is not closed are left out. Statements of a form that can be checked are compared with the
    items that the prompt shows; those of another user's reasoning tell how many are true of any user.

    Args:
        config: the method, and the seeds of its trainings.
        checkpoint: take the method of a training instead: the folder that `prlm-bench train` wrote; `{seed}` in it
            stands for the seed.
        stage: of the training.
        keep: fields of the config's own method to keep, such as `k`.

    Raises:
        RunError: the generator cannot go on with a completion.
        DataError: a question has no gold, or the metric has no value for a single sample.
    """
    if checkpoint is not None:
        method = method_of(checkpoint, stage, config.seeds[0])
        config = replace(config, **{name: value for name, value in method.items() if name not in keep})
    metric = config.metric
    if not metric.is_mean:
        raise DataError(f"{metric.name} has no value for a single sample")
    title = (
        f"{config.task_name} {config.split}: {config.reasoner} × {config.generator}, other reasoning before the answer"
    )
    columns = ["reasoning", "n", "users", metric.name, "answer changed", "minus own", "low", "high", "p (Holm)", "true"]
    asked = [_answered(config, seed) for seed in config.seeds]
    count = len(asked[0])
    closed = [place for place in range(count) if all(_trace(samples[place]) is not None for samples in asked)]
    users = [asked[0][place].prompt.example.user for place in closed]
    left_out = f"{count - len(closed)} of {count} questions are left out: their reasoning is not closed"
    if len(set(users)) < 2:
        return StudyReport("traces", title, columns, [], [f"Nothing to compare: {left_out}."])
    trainings = [
        _changed(config, seed, [samples[place] for place in closed])
        for seed, samples in zip(config.seeds, asked, strict=True)
    ]
    rows, differences = _rows(config, metric, users, trainings)
    findings = [
        *(_finding(row, found, metric, len(trainings)) for row, found in zip(rows[1:], differences, strict=True)),
        _truth(config, trainings, users),
        f"{left_out}." if len(closed) < count else "",
        _check_own(trainings),
    ]
    return StudyReport(
        "traces",
        title,
        columns,
        rows,
        [text for text in findings if text],
        lambda axes: draw_intervals(
            axes, ARMS[1:], [row[5:8] for row in rows[1:]], f"{metric.name}, minus own reasoning"
        ),
    )


def method_of(checkpoint: str, stage: str, seed: int) -> dict[str, Any]:
    """Retriever, k, reasoner and generator of a trained method, as it was trained.

    Args:
        checkpoint: the training's folder; `{seed}` in it stands for the seed.
        stage: such as `policy`.
        seed: one of the training's.

    Raises:
        PrlmBenchError: there is no such training.
    """
    run = Path(checkpoint.replace("{seed}", str(seed)))
    identity = read_artefact(run / stage, stage).manifest["identity"]
    return {
        "retriever": identity["retriever"]["spec"],
        "k": identity["k"],
        "reasoner": identity["reasoner"]["spec"],
        "generator": f"trained:checkpoint={checkpoint},stage={stage}",
    }


def _session(config: StudyConfig, seed: int) -> Session:
    return Session(
        config.task_name,
        data=config.data,
        split=config.split,
        seed=seed,
        limit=config.limit,
        any_task=config.any_task,
        synth_users=config.synth_users,
        progress=config.progress,
        host=config.host,
    )


def _answered(config: StudyConfig, seed: int) -> list[Sample]:
    with _session(config, seed) as session:
        prompts = session.prompts(config.retriever, config.k, config.reasoner, config.generator)
        if any(prompt.example.gold is None for prompt in prompts):
            raise DataError(f"questions of {config.task_name} {config.split} have no golds")
        return session.generate(prompts, config.generator)


def _trace(sample: Sample) -> _Trace | None:
    found = _CLOSED.match(sample.completion.text)
    return None if found is None or not found[2] else _Trace(*found.groups())


def _known_trace(sample: Sample) -> _Trace:
    found = _trace(sample)
    if found is None:
        raise RunError(f"the reasoning of question {sample.prompt.example.id} is not closed")
    return found


def _changed(config: StudyConfig, seed: int, samples: Sequence[Sample]) -> _Training:
    own = [_known_trace(sample) for sample in samples]
    users = [sample.prompt.example.user for sample in samples]
    others = [own[_of_another(place, samples, users, seed)] for place in range(len(samples))]
    prompts: list[Prompt] = [sample.prompt for sample in samples]
    beginnings = {
        "own": [trace.beginning(trace.text) for trace in own],
        "erased": [trace.beginning("") for trace in own],
        "another user's": [trace.beginning(other.text) for trace, other in zip(own, others, strict=True)],
    }
    with _session(config, seed) as session:
        continued = {
            arm: session.continued(prompts, each, config.generator, config.reasoner) for arm, each in beginnings.items()
        }
    return _Training(continued, own, others, float(np.mean(_differ(samples, continued["own"]))))


def _of_another(place: int, samples: Sequence[Sample], users: Sequence[str], seed: int) -> int:
    rng = random.Random(f"{seed}:{samples[place].prompt.example.id}")
    return rng.choice([other for other, user in enumerate(users) if user != users[place]])


def _differ(first: Sequence[Sample], second: Sequence[Sample]) -> Values:
    return np.array(
        [_plain(one.answer.text) != _plain(two.answer.text) for one, two in zip(first, second, strict=True)], float
    )


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _rows(
    config: StudyConfig, metric: Metric, users: Sequence[str], trainings: Sequence[_Training]
) -> tuple[list[list[Any]], list[Difference]]:
    """A row of the table for each arm, and the differences of the others to the first."""
    labels = config.task.labels
    totals = {
        arm: [user_totals(as_mean(_scores(metric, each.samples[arm], labels)), users) for each in trainings]
        for arm in ARMS
    }
    sizes = user_totals(np.ones((len(users), 1)), users)[:, 0]
    differences = [paired_difference(totals[arm], totals["own"], mean_value, sizes) for arm in ARMS[1:]]
    corrected = holm([found.p for found in differences])
    true = {arm: _share_true(config, trainings, users, arm).value for arm in ("own", "another user's")}
    head = [len(users), len(set(users))]
    rows: list[list[Any]] = [["own", *head, differences[0].second, 0.0, None, None, None, None, true["own"]]]
    for arm, found, p in zip(ARMS[1:], differences, corrected, strict=True):
        changed = float(np.mean([_differ(each.samples["own"], each.samples[arm]) for each in trainings]))
        rows.append([arm, *head, found.first, changed, found.difference, *found.ends, p, true.get(arm)])
    return rows, differences


def _scores(metric: Metric, samples: Sequence[Sample], labels: Sequence[str]) -> list[float]:
    pairs = Pairs([each.answer.text for each in samples], [each.prompt.example.gold or "" for each in samples], labels)
    return [float(value) for value in metric.value(metric.statistics(pairs))]


def _share_true(config: StudyConfig, trainings: Sequence[_Training], users: Sequence[str], arm: str) -> Estimate:
    """The share of true statements among those that can be checked."""
    figures = ClusterEstimates(users)
    counts = [user_totals(_counts(config, each, arm)[:, :2], users) for each in trainings]
    figures.add_totals("true", counts, mean_value, "share")
    return figures.estimates()["true"]


def _counts(config: StudyConfig, training: _Training, arm: str) -> Floats:
    """Statements that are true, that can be checked, and all, for each question; shape (n, 3)."""
    rules, rows = TraceRules(config.task), []
    for sample, trace in zip(
        training.samples["own"], training.traces if arm == "own" else training.others, strict=True
    ):
        items = [*sample.prompt.shown_items.values()]
        statements = [text.strip() for text in _SENTENCE_END.split(trace.text) if text.strip()]
        checked = [rules.check(statement, items) for statement in statements]
        rows.append(
            [sum(found is True for found in checked), sum(found is not None for found in checked), len(checked)]
        )
    return np.array(rows, dtype=np.float64)


def _finding(row: Sequence[Any], found: Difference, metric: Metric, seeds: int) -> str:
    arm, p = row[0], row[8]
    sign = 1 if metric.higher_is_better else -1
    ends = f"({found.why})" if found.why else f"[{found.low:+.4f}, {found.high:+.4f}]"
    figures = f"{metric.name} {found.difference:+.4f} {ends} {on_trainings(seeds)}"
    what = "without its reasoning" if arm == "erased" else "with another user's reasoning"
    if found.why or p >= _LEVEL:
        return f"It is not shown that the answer gets worse or better {what}: {figures}."
    worse = sign * found.difference < 0
    return f"The answer gets {'worse' if worse else 'better'} {what}: {figures}."


def _truth(config: StudyConfig, trainings: Sequence[_Training], users: Sequence[str]) -> str:
    own = sum(_counts(config, each, "own").sum(axis=0) for each in trainings)
    true, checked, all_of_them = (int(count) for count in np.asarray(own))
    if not checked:
        return f"None of the {all_of_them} statements of the reasoning is of a form that can be checked."
    found, other = (_share_true(config, trainings, users, arm) for arm in ("own", "another user's"))
    ends = (
        f"[{100 * found.low:.1f}, {100 * found.high:.1f}]" if found.low is not None and found.high is not None else ""
    )
    text = f"Of {all_of_them} statements {checked} can be checked, and {true} are true of the items: "
    beside = "" if other.value is None else f"; of those in another user's reasoning, {100 * other.value:.1f} %"
    return f"{text}{100 * true / checked:.1f} % {ends}".rstrip() + f"{beside}."


def _check_own(trainings: Sequence[_Training]) -> str:
    differ = float(np.mean([each.unfaithful for each in trainings]))
    if not differ:
        return ""
    return f"Put to it again, its own reasoning leads to another answer in {100 * differ:.1f} % of the questions."
