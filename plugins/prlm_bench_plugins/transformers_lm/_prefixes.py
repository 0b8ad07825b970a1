"""Reads the prompts of a batch on a CPU: what all of them begin with once, and then a few rows at a time.

The prompts of a run begin alike: with the turns and the instruction of the chat template, and with more where several
ask about the same items. What a causal model keeps of such a beginning is the same in each row, so it is read in one
row and copied. The rest is read for a few rows at a time, whose intermediate results stay in the processor's caches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from .._hf import pad_ids


@dataclass(frozen=True)
class Reading:
    """When prompts are read apart from the rest of the batch's work.

    Args:
        rows: of a batch that are read at a time.
        saved: tokens that a common beginning must save in a batch; for fewer, another call of the model costs more.
        chunk: tokens of each row that are read at a time; in smaller pieces, keys are copied for each piece.
    """

    rows: int = 8
    saved: int = 64
    chunk: int = 256


USUAL = Reading()


def shared_tokens(prompts: Sequence[list[int]], saved: int = 0) -> int:
    """How many tokens all prompts begin with, where reading them once saves more than `saved`; else 0.

    One token of each prompt is never counted, so that each has one to go on from.
    """
    first, last = min(prompts), max(prompts)  # in the order of a dictionary, the two that differ first
    most = min(map(len, prompts)) - 1
    count = next((place for place in range(most) if first[place] != last[place]), max(most, 0))
    return count if count * (len(prompts) - 1) > saved else 0


def padded(prompts: Sequence[list[int]], pad_id: int, shared: int, *, left: bool = True) -> tuple[Any, Any]:
    """Ids and mask of shape (rows, tokens): `shared` tokens, the padding if it is `left`, the rest of each prompt."""
    ids, mask = pad_ids([prompt[shared:] for prompt in prompts], pad_id, left=left)
    if not shared:
        return ids, mask
    begin = torch.tensor([prompt[:shared] for prompt in prompts], dtype=ids.dtype)
    return torch.cat([begin, ids], dim=1), torch.cat([torch.ones_like(begin, dtype=mask.dtype), mask], dim=1)


def read(model: Any, ids: Any, mask: Any, shared: int, reading: Reading, empty: Callable[[], Any]) -> Any:
    """What a model keeps of all tokens but the last, as a filled cache of all rows.

    Args:
        model: a causal model whose layers all keep each token.
        ids: of shape (rows, tokens), at least two tokens, laid out by `padded`.
        mask: of the same shape.
        shared: tokens at the beginning that are the same in all rows.
        reading: how much is read at a time.
        empty: makes an empty cache.
    """
    begin = empty()
    if shared:
        _append(model, begin, ids[:1, :shared], mask[:1, :shared], reading.chunk)
    parts = []
    for place in range(0, len(ids), reading.rows):
        some = slice(place, place + reading.rows)
        count, columns = len(ids[some]), _columns(mask[some], shared)
        cache = empty()
        if shared:
            for number, layer in enumerate(begin.layers):
                cache.update(layer.keys.expand(count, -1, -1, -1), layer.values.expand(count, -1, -1, -1), number)
        if len(columns) > shared:
            _append(model, cache, ids[some][:, columns], mask[some][:, columns], reading.chunk)
        parts.append(_Part(count, columns, cache))
    return _joined(parts, ids.shape[1] - 1, empty())


def _columns(mask: Any, shared: int) -> Any:
    """The columns that some rows need: those of the beginning, and from where the longest rest begins; not the last."""
    used = mask[:, :-1].any(dim=0)
    used[:shared] = True
    return used.nonzero().squeeze(-1)


def _append(model: Any, cache: Any, ids: Any, mask: Any, chunk: int) -> None:
    """Read the tokens that a cache lacks. `generate()` does it, since it knows what each model wants to be given."""
    config = deepcopy(model.generation_config)
    config.update(max_new_tokens=1, max_length=None, do_sample=False, num_beams=1)
    config.update(prefill_chunk_size=chunk, pad_token_id=0, eos_token_id=None)
    # A prompt that has no more to read ends with padding here. It would be warned of, and nothing comes behind it.
    mask = mask.clone()
    mask[:, -1] = 1
    model.generate(input_ids=ids, attention_mask=mask, past_key_values=cache, generation_config=config)


@dataclass(frozen=True)
class _Part:
    """Some rows of a batch, which have been read."""

    count: int
    #: Of the batch, that they have been read in; none for prompts of one token, whose cache is empty.
    columns: Any
    cache: Any


def _joined(parts: Sequence[_Part], width: int, cache: Any) -> Any:
    """One cache with the rows of several, each at its columns. Padding is zero: what is masked must still be finite."""
    for number in range(len(cache.layers)):
        cache.update(_states(parts, number, "keys", width), _states(parts, number, "values", width), number)
    return cache


def _states(parts: Sequence[_Part], number: int, name: str, width: int) -> Any:
    """Keys or values of a layer."""
    found = [getattr(part.cache.layers[number], name) if len(part.columns) else None for part in parts]
    one = next(states for states in found if states is not None)
    whole = one.new_zeros(sum(part.count for part in parts), one.shape[1], width, one.shape[-1])
    place = 0
    for part, states in zip(parts, found, strict=True):
        if states is not None:
            whole[place : place + part.count, :, part.columns] = states
        place += part.count
    return whole
