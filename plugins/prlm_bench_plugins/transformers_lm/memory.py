"""Keys and values with room to grow, so that a new token does not copy those of all tokens before it."""

from __future__ import annotations

from typing import Any

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

#: Tokens of room that a full buffer gets.
_ROOM = 64


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer that grows in place; `keys` and `values` are views of the used part of two larger buffers."""

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
        """Keep some rows."""
        super().batch_select_indices(indices)
        self._buffers = None


def _grown(old: Any, new: Any, used: int, total: int) -> Any:
    """A buffer like `new` with room beyond `total` tokens, which begins with what `old` holds."""
    rows, heads, _, size = new.shape
    buffer = new.new_empty(rows, heads, total + _ROOM, size)
    if used:
        buffer[..., :used, :] = old
    return buffer


def growing_cache(model: Any) -> DynamicCache | None:
    """An empty cache that rows can be taken out of; None for models that remember in another way."""
    cache = DynamicCache(config=model.config)
    if not cache.layers or any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers):
        return None
    make: Any = RoomyLayer
    cache.layers = [make() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
