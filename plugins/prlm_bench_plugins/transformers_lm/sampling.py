"""Sampling that depends on the prompt and the seed alone, not on the batch that a prompt happens to be in."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any


def draws(texts: Sequence[str], seed: str, count: int) -> list[list[float]]:
    """`count` numbers from 0 to below 1 for each text, the same for the same text and seed everywhere."""
    rng = (random.Random(f"{seed}\n{text}") for text in texts)
    return [[each.random() for _ in range(count)] for each in rng]


class Sampler:
    """Leaves one token possible for each row: the one that the row's next number falls on.

    A `LogitsProcessor` in all but name, to be used with greedy decoding.

    Args:
        numbers: of shape (rows, most new tokens), from 0 to below 1.
        start: tokens of a row before the first new one.
        temperature: above 0.
        top_p: the most likely tokens with this share of the probability together are kept.
    """

    def __init__(self, numbers: Any, start: int, temperature: float, top_p: float) -> None:
        self._numbers, self._start = numbers, start
        self._temperature, self._top_p = temperature, top_p

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores of shape (rows, vocabulary) with all but the drawn token at minus infinity."""
        import torch

        number = self._numbers[:, input_ids.shape[1] - self._start, None]
        # In double precision the sum over a large vocabulary still reaches every token.
        chances = (scores.double() / self._temperature).softmax(-1)
        ordered, tokens = chances.sort(dim=-1, descending=True)
        sums = ordered.cumsum(-1)
        kept = sums - ordered < self._top_p  # the most likely token always is
        share = torch.where(kept, sums, 0.0).amax(-1, keepdim=True)
        place = torch.searchsorted(sums, number * share, right=True).clamp(max=kept.sum(-1, keepdim=True) - 1)
        drawn = tokens.gather(-1, place)
        return torch.full_like(scores, -torch.inf).scatter(-1, drawn, 0.0)
