"""What generators that use another one share, and how an answer is written as the continuation of its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from prlm_bench import Prompt
from prlm_bench.interfaces import Context, Generator, ScoresContinuations, Tokenizer
from prlm_bench.prompting import max_prompt_tokens
from prlm_bench.tasks import Task

Normalize = Literal["sum", "token", "character"]
Form = Literal["auto", "bare", "object"]


class WrappingGenerator:
    """A generator that makes its answers of what another one gives.

    Args:
        context: the run.
        generator: the other one, as a spec.
    """

    def __init__(self, context: Context, generator: str) -> None:
        self._task = context.task
        self._inner: Generator = context.build("generator", generator)

    def fingerprint(self) -> str:
        """Empty: the identity of the other generator is added when this one is built."""
        return ""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The other generator's."""
        return self._inner.tokenizer

    @property
    def max_prompt_tokens(self) -> int | None:
        """The other generator's."""
        return max_prompt_tokens(self._inner)


class AnswerLikelihoods:
    """Log-probabilities of answers after prompts.

    Args:
        task: whose answers they are.
        generator: gives the likelihoods.
        spec: its spec, for messages.
        normalize: `sum` over the tokens of an answer as it is written after the prompt; that divided by the number of
            its tokens, or of the characters of the answer itself (as `acc_norm` of lm_eval).
        form: how an answer is written, see `continuation`.

    Raises:
        ValueError: the generator gives no likelihoods, or no tokenizer to count by.
    """

    def __init__(self, task: Task, generator: Generator, spec: str, normalize: Normalize, form: Form) -> None:
        if not isinstance(generator, ScoresContinuations):
            raise ValueError(f"generator {spec} gives no likelihoods; transformers, lm-eval and llama-cpp do")
        if normalize == "token" and generator.tokenizer is None:
            raise ValueError(f"normalize=token needs a tokenizer to count by, and generator {spec} has none")
        self._task, self._generator, self._normalize, self._form = task, generator, normalize, form
        self._tokenizer = generator.tokenizer

    def of(self, prompts: Sequence[Prompt], answers: Sequence[Sequence[str]]) -> list[list[float]]:
        """For each prompt one number for each of its answers."""
        texts = [
            [continuation(self._task, prompt, answer, self._form) for answer in row]
            for prompt, row in zip(prompts, answers, strict=True)
        ]
        found = self._generator.loglikelihood(prompts, texts)
        return [
            [value / self._length(*pair) for value, *pair in zip(values, row, written, strict=True)]
            for values, row, written in zip(found, answers, texts, strict=True)
        ]

    def _length(self, answer: str, written: str) -> int:
        if self._normalize == "character":
            return max(1, len(answer))
        if self._normalize == "token" and self._tokenizer is not None:
            return max(1, self._tokenizer.count(written) - self._tokenizer.count(""))
        return 1


def continuation(task: Task, prompt: Prompt, answer: str, form: Form = "auto") -> str:
    """An answer as it would be written after a prompt.

    Args:
        task: has the key of its answer objects.
        prompt: says which object it asks for, if any.
        answer: the answer.
        form: `bare`: as it is, after a blank where a plain text goes on; `object`: the object with the task's key, such
            as {'tag': 'comedy'}; `auto`: the object where the prompt asks for it.
    """
    key = {"auto": prompt.key, "bare": None, "object": task.prompts.chat.key}[form]
    if key is not None:
        return repr({key: answer})
    goes_on = not prompt.chat and bool(prompt.text) and not prompt.text[-1].isspace()
    return f" {answer}" if goes_on else answer
