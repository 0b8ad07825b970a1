"""The generators `majority` and `best-of`: one of several samples of a prompt."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, Self

import numpy as np

from prlm_bench import Answer, Completion, Prompt, Sample
from prlm_bench.interfaces import Context, Reasoner, Samples
from prlm_bench.metrics import Metric, Pairs
from prlm_bench.prompting import find_answer, parse_completion

from ._wrapped import WrappingGenerator


class ChoosingGenerator(WrappingGenerator, ABC):
    """Draws samples of each prompt and gives one of them, unchanged.

    Its tokens and costs are those of all samples together, since all of them were written; its prompt tokens are those
    of one reading. In a row, samples are parsed by the row's reasoner. Elsewhere the answer is what follows the
    reasoning: the answer object of a chat, else the text.

    Args:
        context: the run.
        generator: draws samples, as a spec.
        n: of each prompt.

    Raises:
        ValueError: n is below 1, or the generator draws no samples.
    """

    _reasoner: Reasoner | None = None

    def __init__(self, context: Context, generator: str, n: int) -> None:
        if n < 1:
            raise ValueError("n is at least 1")
        super().__init__(context, generator)
        if not isinstance(self._inner, Samples):
            raise ValueError(f"generator {generator} draws no samples; transformers, openai-api and llama-cpp do")
        self._sampler: Samples = self._inner
        self._n = n

    def reading(self, reasoner: Reasoner) -> Self:
        """The same generator, which reads answers as this reasoner parses them."""
        made = copy.copy(self)
        made._reasoner = reasoner
        return made

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """One of n samples of each prompt."""
        for index, completions in self._sampler.sample(prompts, self._n):
            prompt = prompts[index]
            best = self._choose(prompt, completions, [self._parse(prompt, each) for each in completions])
            tokens = [each.tokens for each in completions]
            costs = [each.cost for each in completions]
            yield (
                index,
                replace(
                    completions[best],
                    tokens=None if None in tokens else sum(filter(None, tokens)),
                    cost=None if None in costs else sum(filter(None, costs)),
                ),
            )

    @abstractmethod
    def _choose(self, prompt: Prompt, completions: Sequence[Completion], answers: Sequence[Answer]) -> int:
        """The number of the sample to give."""

    def _parse(self, prompt: Prompt, completion: Completion) -> Answer:
        if self._reasoner is not None:
            return parse_completion(self._reasoner, prompt, completion)
        key = self._task.prompts.chat.key if prompt.chat else None
        return find_answer(self._task, completion.text, key, cut=completion.finish != "stop")


class Majority(ChoosingGenerator):
    """Self-consistency: the first sample with the answer that most samples give.

    Source: Wang et al. 2023 (arXiv 2203.11171). Samples without a readable answer have no vote. Texts are hardly ever
    the same twice: with `by=overlap` the sample is given whose answer agrees best with the others on average, by the
    task's first metric (minimum Bayes risk decoding, Bertsch et al. 2023, arXiv 2310.01387).

    Args:
        generator: draws samples, such as "transformers:model=DIR,temperature=0.7".
        n: samples of each prompt.
        by: `vote` counts equal answers; `overlap` compares them; `auto` votes on labels and numbers.

    Raises:
        ValueError: the generator draws no samples, or the metric has no value for a single sample.
    """

    def __init__(
        self, context: Context, generator: str, n: int = 8, by: Literal["auto", "vote", "overlap"] = "auto"
    ) -> None:
        super().__init__(context, generator, n)
        compares = by == "overlap" or (by == "auto" and self._task.output == "text")
        self._metric = context.build("metric", self._task.metrics[0]) if compares else None
        if self._metric is not None and not self._metric.is_mean:
            raise ValueError(f"by=overlap: {self._metric.name} has no value for a single sample")

    def _choose(self, prompt: Prompt, completions: Sequence[Completion], answers: Sequence[Answer]) -> int:
        if self._metric is None:
            return most_common(answers)
        return most_agreeing(answers, self._metric, self._task.labels)


def most_common(answers: Sequence[Answer]) -> int:
    """The place of the first answer that most others equal; of equal counts the one that was given first.

    Answers that could not be read have no vote.
    """
    readable = {place: answer.text.strip() for place, answer in enumerate(answers) if answer.parsed is not None}
    if not readable:
        return 0
    most = Counter(readable.values()).most_common(1)[0][0]
    return next(place for place, text in readable.items() if text == most)


def most_agreeing(answers: Sequence[Answer], metric: Metric, labels: Sequence[str] = ()) -> int:
    """The place of the answer that scores best against the others, each taken as the gold once.

    Answers that could not be read do not count.

    Args:
        answers: at least one.
        metric: one that is a mean over samples.
        labels: the task's.
    """
    readable = [place for place, answer in enumerate(answers) if answer.parsed is not None]
    if not readable:
        return 0
    texts = [answers[place].text.strip() for place in readable]
    pairs = Pairs(np.repeat(texts, len(texts)).tolist(), texts * len(texts), labels)
    values = metric.value(metric.statistics(pairs)).reshape(len(texts), len(texts))
    agreement = np.where(np.eye(len(texts), dtype=bool), 0.0, values).sum(axis=1)
    return readable[int(agreement.argmax() if metric.higher_is_better else agreement.argmin())]


class BestOf(ChoosingGenerator):
    """The sample with the highest reward, the first one of a tie.

    The reward sees the prompt, the completion and the parsed answer of each sample, and the question without its
    gold: what chooses by the gold is no method. With `gold=true` it sees the gold too, as `overlap` needs; that is an
    upper bound for any choice among n samples.

    Args:
        generator: draws samples, such as "transformers:model=DIR,temperature=0.7".
        n: samples of each prompt.
        reward: scores samples, as a spec.
        gold: let the reward see the gold.

    Raises:
        ValueError: the generator draws no samples.
    """

    def __init__(
        self, context: Context, generator: str, n: int = 8, reward: str = "format", gold: bool = False
    ) -> None:
        super().__init__(context, generator, n)
        self._reward = context.build("reward", reward)
        self._gold = gold

    def _choose(self, prompt: Prompt, completions: Sequence[Completion], answers: Sequence[Answer]) -> int:
        seen = prompt if self._gold else replace(prompt, example=replace(prompt.example, gold=None))
        samples = [Sample(seen, *pair) for pair in zip(completions, answers, strict=True)]
        values = [-math.inf if value is None or math.isnan(value) else value for value in self._reward.score(samples)]
        return values.index(max(values))
