"""The `rank-options` generator: no free text, but the most likely of a question's options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from prlm_bench import Completion, Prompt
from prlm_bench.interfaces import Context

from ._wrapped import AnswerLikelihoods, Form, Normalize, WrappingGenerator


class RankOptions(WrappingGenerator):
    """Answers with the label that another generator finds the most likely; the first one of a tie.

    No answer is unreadable then, and a score (LaMP_3) is one of those that the task knows.

    Args:
        generator: gives likelihoods: transformers, lm-eval or llama-cpp, as a spec.
        normalize: what is compared: `sum`, the log-probability of an option; or that by its `token` or `character`,
            so that options of many tokens are not the less likely ones for that alone.
        options: `labels`; or `candidates`, the texts in the question that the labels stand for (LaMP_1).
        form: `object`: an option is written as the answer object; `bare`: as it is; `auto`: as the prompt asks.

    Raises:
        ValueError: the generator gives no likelihoods, or the question names no candidates.
    """

    def __init__(
        self,
        context: Context,
        generator: str,
        normalize: Normalize = "sum",
        options: Literal["labels", "candidates"] = "labels",
        form: Form = "auto",
    ) -> None:
        super().__init__(context, generator)
        if options == "candidates" and len(self._task.query.quoted or ()) != len(self._task.labels):
            raise ValueError(f"options=candidates: questions of {self._task.name} name no candidate for each label")
        self._candidates = options == "candidates"
        self._likelihoods = AnswerLikelihoods(self._task, self._inner, generator, normalize, form)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """One label for each prompt; nothing is written, so an answer has no tokens."""
        options = [self._options(prompt) for prompt in prompts]
        for index, values in enumerate(self._likelihoods.of(prompts, options)):
            label = self._task.labels[values.index(max(values))]
            yield index, Completion(label, is_answer=True, finish="stop", tokens=0)

    def _options(self, prompt: Prompt) -> Sequence[str]:
        return self._task.query.parts(prompt.example.input) if self._candidates else self._task.labels
