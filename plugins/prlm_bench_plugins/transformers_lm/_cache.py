"""What a causal model keeps of the tokens that it has read: a cache whose rows can be selected, and reading into it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from prlm_bench.errors import PrlmBenchError

from .._hf import pad_ids
from ._loading import LoadedModel

#: Tokens of each prompt that a CPU reads at a time: attention is then computed for what has been read so far, not for
#: all pairs of tokens, and what passes between layers stays in the processor's caches.
PREFILL_CHUNK = 64
#: Tokens that a full buffer of keys or values grows by.
_GROWTH = 64
#: Parameters of forward passes, by the class of the model.
_KNOWN: WeakKeyDictionary[Any, frozenset[str]] = WeakKeyDictionary()


class PreallocatedCacheLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer that grows in place, so that a new token does not copy the keys and values of all tokens before it.

    `keys` and `values` are views of the used part of two larger buffers.
    """

    _buffers: tuple[Any, Any] | None = None

    def update(self, key_states: Any, value_states: Any, *arguments: Any, **options: Any) -> tuple[Any, Any]:
        """Append states of shape (rows, heads, new tokens, size), and return all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        used = self.get_seq_length()
        total = used + key_states.shape[-2]
        if self._buffers is None or total > self._buffers[0].shape[-2]:
            old = (self.keys, self.values) if used else (None, None)
            new = (key_states, value_states)
            self._buffers = (_grown(old[0], new[0], used, total), _grown(old[1], new[1], used, total))
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., used:total, :] = states
        self.keys, self.values = (buffer[..., :total, :] for buffer in self._buffers)
        return self.keys, self.values

    def batch_select_indices(self, indices: Any) -> None:
        """Keep some rows, and the space behind them."""
        if self._buffers is not None and self.is_initialized:
            used = self.get_seq_length()
            self._buffers = (self._buffers[0][indices], self._buffers[1][indices])
            self.keys, self.values = (buffer[..., :used, :] for buffer in self._buffers)


def _grown(old: Any, new: Any, used: int, total: int) -> Any:
    """A buffer like `new` with space beyond `total` tokens, which begins with what `old` holds."""
    rows, heads, _, size = new.shape
    buffer = new.new_empty(rows, heads, total + _GROWTH, size)
    if used:
        buffer[..., :used, :] = old
    return buffer


def preallocated_cache(model: Any) -> DynamicCache | None:
    """An empty cache from which rows can be removed; None for models that keep their state in another way."""
    cache = DynamicCache(config=model.config)
    if not cache.layers or any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers):
        return None
    make: Any = PreallocatedCacheLayer
    cache.layers = [make() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def can_share(model: Any) -> bool:
    """Whether a causal model keeps its prompts in a cache whose rows can be selected, and nowhere else."""
    return "past_key_values" in _parameters(model) and preallocated_cache(model) is not None


def read_prompts(loaded: LoadedModel, prompts: Sequence[Sequence[int]], *, chunks: bool) -> tuple[Any, Any, Any]:
    """Read prompts in one batch.

    Args:
        loaded: a causal model that `can_share`.
        prompts: token ids, at least one each.
        chunks: a CPU reads them in pieces.

    Returns:
        The cache of their keys and values; the mask of what is no padding, on the left, of shape (rows, tokens); and
        the logits behind the last token, of shape (rows, vocabulary).
    """
    model = loaded.model
    ids, mask = (part.to(model.device) for part in pad_ids(prompts, loaded.pad_id, left=True))
    cache = preallocated_cache(model)
    width = ids.shape[1]
    step = PREFILL_CHUNK if chunks and model.device.type == "cpu" else width
    for start in range(0, width, step):
        end = min(start + step, width)
        output = forward(model, ids[:, start:end], mask[:, :end], cache=cache, keep=1)
    return cache, mask, output.logits[:, -1]


def select_rows(cache: Any, rows: Any) -> Any:
    """Some rows of a cache, each as often as it is named, as a cache of its own; the given one stays as it is."""
    made = copy.copy(cache)
    made.layers = [copy.copy(layer) for layer in cache.layers]
    made.batch_select_indices(rows)
    return made


def forward(model: Any, ids: Any, mask: Any, *, cache: Any = None, keep: int | None = None) -> Any:
    """A causal model's output for the last `ids.shape[1]` tokens of a mask, with the logits of the last `keep`."""
    known = _parameters(model)
    options: dict[str, Any] = {"use_cache": cache is not None}
    if cache is not None:
        options["past_key_values"] = cache
    if "position_ids" in known:
        options["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    if keep is not None and "logits_to_keep" in known:
        options["logits_to_keep"] = keep
    return model(input_ids=ids, attention_mask=mask, **options)


def _parameters(model: Any) -> frozenset[str]:
    """The names of what a model's forward pass takes."""
    kind: Any = type(model)
    if kind not in _KNOWN:
        _KNOWN[kind] = frozenset(inspect.signature(kind.forward).parameters)
    return _KNOWN[kind]


def no_memory(tokens: int, *, writes: bool = True) -> PrlmBenchError:
    """The error where not even one prompt fits into memory.

    Args:
        tokens: of the prompt.
        writes: the model writes an answer to it, which takes memory too.
    """
    hint = f"a smaller dtype{', max_new_tokens' if writes else ''} or max_length of the reasoner, or another device"
    return PrlmBenchError(f"not enough memory for a prompt of {tokens} tokens", hint)
