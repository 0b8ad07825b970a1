"""Completions of a model in training, several of each prompt, by the static engine that also runs models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ._buckets import Limits
from ._decoding import Decoding
from ._engine import Request
from ._loading import LoadedModel, ordinary_tokens
from ._static_check import same_as_generate, why_ordinary
from ._static_engine import MOST_ROWS, StaticEngine

__all__ = ["GroupSampler"]

#: Tokens of the rows that a CPU samples together; a GPU has its memory, half of which is left to the training.
_CPU_TOKENS, _GPU_SHARE = 1 << 18, 0.5


class GroupSampler:
    """Samples completions from a causal model that is being trained.

    The prompt of a group is read once, and its keys and values are copied to the rows of the group. The weights are
    those of the live model: an optimizer changes them in place, so that CUDA graphs go on reading them, LoRA layers
    stay as they are, and graphs are captured anew if weights have moved. Where a group is larger than a bucket, its
    prompt is read once for each refill.

    Args:
        model: of transformers; without the wrapper of peft.
        max_tokens: of a completion at most.
        temperature: 0 takes the most likely token each time.
        end_ids: tokens that end a completion.
        bf16: compute in bfloat16 where autocast does.
    """

    def __init__(
        self, model: Any, max_tokens: int, temperature: float, end_ids: Sequence[int], bf16: bool = False
    ) -> None:
        self._max_tokens, self._draws, self._device = max_tokens, temperature > 0, model.device
        on_gpu = self._device.type == "cuda"
        limits = Limits(MOST_ROWS["cuda"], None if on_gpu else _CPU_TOKENS, share=_GPU_SHARE)
        loaded = LoadedModel(model, tuple(end_ids), 0)
        decoding = Decoding(max_tokens, temperature)
        self._engine = StaticEngine(loaded, decoding, limits, bf16=bf16, numbers=self._take_numbers)
        self._drawn: Any = None

    @staticmethod
    def takes(model: Any, tokenizer: Any) -> bool:
        """Whether the static engine computes what `generate()` does for this model; in evaluation mode.

        Args:
            model: of transformers; without the wrapper of peft.
            tokenizer: the model's.
        """
        loaded = LoadedModel(model, (), 0)
        return why_ordinary(loaded) is None and same_as_generate(loaded, "the model", ordinary_tokens(model, tokenizer))

    def sample(self, prompts: Sequence[Sequence[int]], counts: Sequence[int]) -> list[list[int]]:
        """Completions in the order of the prompts, each up to its end token; drawn by torch's random numbers.

        Args:
            prompts: token ids.
            counts: number of completions of each prompt.
        """
        rows = [list(ids) for ids, count in zip(prompts, counts, strict=True) for _ in range(count)]
        # From the generator of the CPU, which a checkpoint of the training holds, whatever the device is.
        # Greedy answers take none, so that an evaluation leaves the training as it was.
        self._drawn = torch.rand(len(rows), self._max_tokens, dtype=torch.double) if self._draws else None
        found: list[list[int]] = [[] for _ in rows]
        for output in self._engine.answers(iter([Request(place, "", ids) for place, ids in enumerate(rows)])):
            found[output.index] = output.ids
        self._leave_room()
        return found

    def _leave_room(self) -> None:
        """Give up the buckets where most of a GPU's memory is taken: the step of the training needs it."""
        if self._device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self._device)
            if 2 * free < total:
                self._engine.pool.release()

    def _take_numbers(self, requests: Sequence[Request]) -> Any:
        return self._drawn[torch.tensor([request.index for request in requests])]
