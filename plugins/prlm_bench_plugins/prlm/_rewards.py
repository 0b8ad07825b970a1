"""The rewards of PrLM, for training and as columns of any table, and how a recipe names them.

Source: PrLM (arXiv 2508.07342): 1.0 * accuracy + 0.1 * format + 0.1 * personalization.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from prlm_bench import Sample
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import parse_spec
from prlm_bench.interfaces import Context, Reward

from .._training import MODEL, read_artefact
from ._context import PERSONALIZATION, TrainingContext, is_own_reward
from ._reward_model import RewardModel, load_reward_model, question_text

#: Of the `prlm` protocol.
_OVERLAP = ("rouge-1@prlm", "rouge-2@prlm", "rouge-l@prlm")
#: Some text, a line that closes the reasoning, and some text after it.
_CLOSED = re.compile(r"\S.*\n\s*</think>\s*\S", re.DOTALL)
_CLOSING = "</think>"
#: On LaMP_4 the published code gives this to an empty answer, and to one with the words that its prompt has in the
#: answer's place.
_PENALTY, _PLACEHOLDER = -10.0, "generated title"
#: Variance within a group from which nothing is learned: trl adds 1e-4 to the standard deviation that it divides by.
_NO_SPREAD = 1e-12
#: What our prompt has in the answer's place; other answers may contain it.
_OUR_PLACEHOLDER = "..."


class Accuracy:
    """How right an answer is: rouge-1 + rouge-2 + rouge-l of the `prlm` protocol, from 0 to 3.

    For labels it is 3 if the answer equals the gold and 0 otherwise; for numbers, 3 times 1 - error / range of the
    labels. The paper trains on texts only.
    """

    def __init__(self, context: Context) -> None:
        self._task = context.task
        self._metrics = [context.build("metric", name) for name in _OVERLAP] if context.task.output == "text" else []

    def fingerprint(self) -> str:
        """Empty: the task and the metrics are recorded elsewhere."""
        return ""

    def score(self, samples: Sequence[Sample]) -> list[float]:
        """One number for each sample; 0 for an answer that could not be parsed."""
        from prlm_bench.metrics import Pairs

        golds = [sample.prompt.example.gold for sample in samples]
        if any(gold is None for gold in golds):
            raise ValueError("accuracy needs golds")
        answers = [sample.answer.text for sample in samples]
        if not self._metrics:
            return [3 * self._agreement(answer, gold or "") for answer, gold in zip(answers, golds, strict=True)]
        pairs = Pairs(answers, [gold or "" for gold in golds], self._task.labels)
        return [float(v) for v in np.sum([m.value(m.statistics(pairs)) for m in self._metrics], axis=0)]

    def _agreement(self, answer: str, gold: str) -> float:
        if self._task.output == "label" or not answer:
            return float(answer == gold)
        numbers = [float(label) for label in self._task.labels]
        span = max(numbers) - min(numbers)
        return max(0.0, 1 - abs(float(answer) - float(gold)) / span)


class ClosedReasoning:
    """1 if a completion reasons, closes its reasoning once, by a line that is </think>, and then answers; else 0.

    The published code gives 1 to a completion that closes its reasoning twice too, and so rewards an answer inside the
    reasoning with another one after it.
    """

    def fingerprint(self) -> str:
        """Empty: there are no options."""
        return ""

    def score(self, samples: Sequence[Sample]) -> list[float]:
        """One number for each sample."""
        texts = [sample.completion.text.lstrip().removeprefix("<think>").lstrip() for sample in samples]
        return [float(text.count(_CLOSING) == 1 and _CLOSED.match(text) is not None) for text in texts]


def is_readable(sample: Sample) -> bool:
    """Whether an answer can be parsed, after closed reasoning where the prompt asks for reasoning."""
    closed = not sample.prompt.reasons or ClosedReasoning().score([sample]) == [1.0]
    return closed and sample.answer.parsed is not None


class Personalization:
    """The trained reward model: sigmoid of its score, from 0 to 1; 0 for an answer that could not be parsed.

    Args:
        model: the folder that `prlm-bench train prlm.reward` wrote, or its run's folder; `{seed}` in it stands
            for the run's seed.
        published: as the published code. On LaMP_4, -10 for an empty answer and for one that repeats the placeholder
            of the prompt; on other tasks the model scores an empty answer as any other.

    Raises:
        PrlmBenchError: the folder has no reward model, or one of another task.
    """

    def __init__(self, context: Context, model: str, published: bool = False) -> None:
        run = Path(model.replace("{seed}", str(context.seed)))
        folder = run / "reward" if (run / "reward").is_dir() else run
        artefact = read_artefact(folder, "reward")
        task = artefact.manifest["task"]
        if task != context.task.name:
            raise PrlmBenchError(
                f"the reward model in {folder} was trained for {task}, not for {context.task.name}",
                "train one for this task",
            )
        self._manifest, self._folder = artefact.manifest, folder / MODEL
        self._published, self._penalizes = published, published and context.task.benchmark == "LaMP_4"

    def fingerprint(self) -> str:
        """Hashes of the model's files."""
        return " ".join(f"{name}={value[:16]}" for name, value in self._manifest["files"].items())

    @cached_property
    def _model(self) -> RewardModel:
        return load_reward_model(self._folder, self._manifest["max_length"])

    def score(self, samples: Sequence[Sample]) -> list[float]:
        """One number for each sample."""
        answers = [sample.answer.text.strip() for sample in samples]
        answered = [place for place, answer in enumerate(answers) if answer or self._published]
        profile = bool(self._manifest["profile"])
        texts = []
        for place in answered:
            prompt = samples[place].prompt
            items = [item.text for item in prompt.ranking.items]
            texts.append(question_text(prompt.example.query, items, profile=profile))
        found = [0.0] * len(samples)
        scores = self._model.score(texts, [samples[place].answer.text for place in answered])
        for place, value in zip(answered, scores, strict=True):
            found[place] = float(1 / (1 + np.exp(-value)))
        if self._penalizes:
            for place, answer in enumerate(answers):
                if answer in ("", _OUR_PLACEHOLDER) or _PLACEHOLDER in answer:
                    found[place] = _PENALTY
        return found


def spread_of_groups(
    scores: Mapping[str, Sequence[float]], weights: Sequence[float], group: int
) -> tuple[dict[str, float], float]:
    """What each reward contributes to the differences that a policy learns from.

    A reward's share in a group is the covariance of its weighted scores with the weighted sum, over the variance of the
    sum: shares sum to 1, and one that works against the sum is negative. Groups count alike, as they do where
    advantages are divided by their group's standard deviation.

    Args:
        scores: by reward; rows of a group follow each other.
        weights: of the rewards, in the same order.
        group: number of completions of a question.

    Returns:
        The mean share of each reward over the groups with spread, empty if there are none; and the share of the groups
        without spread.
    """
    columns = np.array(
        [np.asarray(values, float) * weight for values, weight in zip(scores.values(), weights, strict=True)]
    )
    columns = columns.reshape(len(columns), -1, group)
    within = columns - columns.mean(-1, keepdims=True)
    total = within.sum(0)
    variance = (total**2).mean(-1)
    spread = variance > _NO_SPREAD
    if not spread.any():
        return {}, 1.0
    shares = (within * total).mean(-1)[:, spread] / variance[spread]
    return dict(zip(scores, shares.mean(-1).tolist(), strict=True)), float(1 - spread.mean())


def reward_names(rewards: Mapping[str, float]) -> dict[str, str]:
    """The name of each spec in figures: its component, or the whole spec if several are of one component."""
    components = Counter(spec.partition(":")[0] for spec in rewards)
    return {spec: spec if components[spec.partition(":")[0]] > 1 else spec.partition(":")[0] for spec in rewards}


def build_rewards(
    ctx: TrainingContext, rewards: Mapping[str, float], folder: Path | None = None
) -> dict[str, tuple[Reward, float]]:
    """Rewards with their weights by their names in figures; `personalization` without a model is that of the training.

    Args:
        ctx: the training.
        rewards: weights by spec.
        folder: of the training's reward model; None for the usual one.
    """
    model = str(folder or ctx.output / "reward")
    made = {}
    for spec, name in reward_names(rewards).items():
        own = {**parse_spec(spec).options, "name": f"prlm-bench/{PERSONALIZATION}", "model": model}
        made[name] = (ctx.context.build("reward", own if is_own_reward(spec) else spec), rewards[spec])
    return made


def needs_reward_model(rewards: Mapping[str, float]) -> bool:
    """Whether one of the rewards is the reward model of the same training."""
    return any(map(is_own_reward, rewards))
