"""Writes the completions of a step: each question is read once for all completions of its group.

trl has the model read a prompt again for each completion of the group, and goes on with rows that have ended
until the longest ends. Here the key-value cache of a prompt is computed once and repeated, only the last
position is projected onto the vocabulary, and ended rows are taken out of the batch as they become many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from .chat import encode_prompts

#: Ended rows are taken out when they are this share of the batch.
_ENDED = 0.25


def rollout(most: int, temperature: float) -> Callable[[Sequence[Any], Any], dict[str, Any]]:
    """A function as trl's `rollout_func`.

    Args:
        most: tokens of a completion at most.
        temperature: of the sampling.
    """

    def write(prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        tokenizer = trainer.processing_class
        distinct, counts = _runs(prompts)
        ids = encode_prompts(tokenizer, distinct)
        model = trainer.accelerator.unwrap_model(trainer.model)
        completions = sample_groups(
            model, ids, counts, most, temperature, trainer.eos_token_ids, tokenizer.pad_token_id, trainer.args.bf16
        )
        asked = [row for row, count in zip(ids, counts, strict=True) for _ in range(count)]
        return {"prompt_ids": asked, "completion_ids": completions, "logprobs": None}

    return write


def _runs(prompts: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """Prompts with how often each is repeated in a row."""
    runs = [(prompt, len(list(same))) for prompt, same in groupby(prompts)]
    return [prompt for prompt, _ in runs], [count for _, count in runs]


def sample_groups(
    model: Any,
    prompts: Sequence[Sequence[int]],
    counts: Sequence[int],
    most: int,
    temperature: float,
    ends: Sequence[int],
    pad: int,
    bf16: bool = False,
) -> list[list[int]]:
    """Sampled completions, in the order of the prompts, each to its end token or to `most` tokens.

    Args:
        model: a causal model of transformers.
        prompts: token ids.
        counts: how many completions of each.
        most: tokens of a completion at most.
        temperature: above 0.
        ends: ids that end a completion.
        pad: id that fills up.
        bf16: compute in bfloat16 where autocast does.
    """
    import torch
    from transformers import DynamicCache

    device = model.device
    ids, mask = _padded(prompts, pad, device)
    repeats = torch.tensor(list(counts), device=device)
    ending = torch.tensor(list(ends), device=device)
    rows = [[] for _ in range(int(repeats.sum()))]  # type: list[list[int]]
    training = model.training
    model.eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        cache = DynamicCache(config=model.config)
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        out = model(input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, logits_to_keep=1)
        choice = torch.repeat_interleave(torch.arange(len(prompts), device=device), repeats)
        cache.batch_select_indices(choice)
        logits, mask, place = out.logits[choice, -1], mask[choice], places[choice, -1:] + 1
        alive = torch.arange(len(rows), device=device)
        ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
        for step in range(most):
            chances = torch.softmax(logits.float() / temperature, -1)
            token = torch.multinomial(chances, 1)
            for row, value, over in zip(alive.tolist(), token[:, 0].tolist(), ended.tolist(), strict=True):
                if not over:
                    rows[row].append(value)
            ended = ended | torch.isin(token[:, 0], ending)
            if bool(ended.all()) or step + 1 == most:
                break
            if float(ended.float().mean()) >= _ENDED:
                kept = (~ended).nonzero()[:, 0]
                cache.batch_select_indices(kept)
                alive, token, mask, place, ended = alive[kept], token[kept], mask[kept], place[kept], ended[kept]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
            out = model(input_ids=token, attention_mask=mask, position_ids=place, past_key_values=cache)
            logits, place = out.logits[:, -1], place + 1
    model.train(training)
    return rows


def _padded(prompts: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Any, Any]:
    """Ids padded at the left, and the mask of what is no padding, both of shape (prompts, longest)."""
    import torch

    width = max(map(len, prompts))
    ids = [[pad] * (width - len(row)) + list(row) for row in prompts]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
