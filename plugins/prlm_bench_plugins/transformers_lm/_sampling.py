"""Draws tokens by random numbers that belong to a prompt, so that neither the batch nor the engine decides."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessor


def row_numbers(texts: Sequence[str], seed: str, count: int) -> list[list[float]]:
    """`count` random numbers in [0, 1) for each text, the same for the same text and seed everywhere."""
    rngs = (random.Random(f"{seed}\n{text}") for text in texts)
    return [[rng.random() for _ in range(count)] for rng in rngs]


class RowSampler(LogitsProcessor):
    """Leaves one token possible for each row: the one that the row's next random number falls on.

    To be used with greedy decoding.

    Args:
        numbers: of shape (rows, max new tokens), in [0, 1).
        start: tokens of a row before the first new one.
        temperature: above 0.
        top_p: the most likely tokens with this share of the probability together are kept.
    """

    def __init__(self, numbers: Any, start: int, temperature: float, top_p: float) -> None:
        self._numbers, self._start = numbers, start
        self._temperature, self._top_p = temperature, top_p

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores of shape (rows, vocabulary) with all but the drawn token at minus infinity."""
        number = self._numbers[:, input_ids.shape[1] - self._start, None]
        drawn = draw(scores, number, self._temperature, self._top_p)
        return torch.full_like(scores, -torch.inf).scatter(-1, drawn, 0.0)


def draw(scores: Any, number: Any, temperature: float, top_p: float) -> Any:
    """The token of each row that its random number falls on, among the tokens in the order of their probability.

    Args:
        scores: of shape (rows, vocabulary).
        number: in [0, 1), of shape (rows, 1).
        temperature: above 0.
        top_p: the most likely tokens with this share of the probability together are kept.

    Returns:
        Token ids of shape (rows, 1).
    """
    # In double precision the sum over a large vocabulary still reaches every token.
    probabilities = (scores.double() / temperature).softmax(-1)
    ordered, tokens = probabilities.sort(dim=-1, descending=True)
    sums = ordered.cumsum(-1)
    kept = sums - ordered < top_p  # the most likely token always is
    share = torch.where(kept, sums, 0.0).amax(-1, keepdim=True)
    place = torch.searchsorted(sums, number * share, right=True).clamp(max=kept.sum(-1, keepdim=True) - 1)
    return tokens.gather(-1, place)


def draw_unordered(scores: Any, number: Any, temperature: float) -> Any:
    """As `draw` without `top_p`, among the tokens in the order of their ids: another draw, as random, and faster."""
    sums = (scores.double() / temperature).softmax(-1).cumsum(-1)
    place = torch.searchsorted(sums, number * sums[:, -1:], right=True)
    return place.clamp(max=scores.shape[-1] - 1)
