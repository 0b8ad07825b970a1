"""The rewards `likelihood` and `prefers-own`: what a model makes of texts, without having to write them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from prlm_bench import Sample
from prlm_bench.interfaces import Context

from ._wrapped import AnswerLikelihoods, Form, Normalize


class Likelihood:
    """The log-probability of each answer after its prompt, by a generator; of the gold with `of=gold`.

    With `of=gold` and the generator of the row it says how well the prompt, and so the items in it, prepares for what
    the user wrote, whatever the generator itself would answer.

    Args:
        generator: gives likelihoods: transformers, lm-eval or llama-cpp, as a spec.
        of: `answer`, or `gold`.
        normalize: `token`, the mean over the tokens; `character`; or `sum`.
        form: `object`: the text is written as the answer object; `bare`: as it is; `auto`: as the prompt asks.

    Raises:
        ValueError: the generator gives no likelihoods.
    """

    def __init__(
        self,
        context: Context,
        generator: str,
        of: Literal["answer", "gold"] = "answer",
        normalize: Normalize = "token",
        form: Form = "auto",
    ) -> None:
        inner = context.build("generator", generator)
        self._likelihoods = AnswerLikelihoods(context.task, inner, generator, normalize, form)
        self._of_gold = of == "gold"

    def fingerprint(self) -> str:
        """Empty: the identity of the generator is added when the reward is built."""
        return ""

    def score(self, samples: Sequence[Sample]) -> list[float]:
        """One number for each sample, at most 0; nan where there is no readable answer, or no gold."""
        texts = [sample.prompt.example.gold if self._of_gold else sample.answer.text for sample in samples]
        rows = [[text] if text else [] for text in texts]
        found = self._likelihoods.of([sample.prompt for sample in samples], rows)
        return [row[0] if row else float("nan") for row in found]


class PrefersOwn:
    """Pair accuracy: 1 if the user's gold is more likely after the prompt than another user's, 0 if less, else 0.5.

    The other text is the gold of another user's question, drawn for each question, the same one for all rows. Its
    mean is the share of pairs that a model orders rightly with the items of a prompt. The question itself gives much
    away: how much comes from the user's items is the difference to the rows without items and with another user's
    (`--retriever none`, `--retriever other-user`), as `compare` tests it over users.

    Args:
        generator: gives likelihoods: transformers, lm-eval or llama-cpp, as a spec.
        normalize: what is compared: log-probability by `token`, by `character`, or its `sum`. With `sum` the shorter
            text is mostly the more likely one.
        give: `pair`, as above; or `margin`, the difference between the two.
        form: `object`: texts are written as the answer object; `bare`: as they are; `auto`: as the prompt asks.

    Raises:
        ValueError: the generator gives no likelihoods.
    """

    def __init__(
        self,
        context: Context,
        generator: str,
        normalize: Normalize = "token",
        give: Literal["pair", "margin"] = "pair",
        form: Form = "auto",
    ) -> None:
        inner = context.build("generator", generator)
        self._likelihoods = AnswerLikelihoods(context.task, inner, generator, normalize, form)
        self._dataset, self._seed, self._margin = context.dataset, context.seed, give == "margin"

    def fingerprint(self) -> str:
        """The data's, since the other texts come from all of its questions."""
        return self._dataset.fingerprint()

    def score(self, samples: Sequence[Sample]) -> list[float]:
        """One number for each sample; nan where there is no gold, or no other user has a different one."""
        rows = [self._pair(sample) for sample in samples]
        found = self._likelihoods.of([sample.prompt for sample in samples], rows)
        return [self._value(*row) if row else float("nan") for row in found]

    def _value(self, own: float, other: float) -> float:
        return own - other if self._margin else 0.5 + 0.5 * ((own > other) - (own < other))

    def _pair(self, sample: Sample) -> list[str]:
        """The user's gold and another's; nothing where there is no such pair."""
        example = sample.prompt.example
        golds, users = self._dataset.golds, self._dataset.users
        start = random.Random(f"{self._seed}:{example.id}").randrange(len(users))
        for step in range(len(users)):
            place = (start + step) % len(users)
            other = golds[place]
            if example.gold and other and users[place] != example.user and other != example.gold:
                return [example.gold, other]
        return []
