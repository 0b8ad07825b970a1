"""Which texts go through a model together, and how they are padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def token_batches(
    lengths: Sequence[int], budget: int, *, shortest_first: bool = False, same_length: bool = False
) -> Iterator[list[int]]:
    """Positions of texts in batches of like lengths.

    Args:
        lengths: of n texts, in tokens.
        budget: tokens of a batch at most, padding included; a text that alone has more is a batch of its own.
        shortest_first: the order of the batches and of the texts in them; by default the longest come first, so that
            memory runs out at once if at all. Equal lengths keep their order.
        same_length: texts of different lengths are never together, so that none is padded.

    Yields:
        Positions in `lengths`, each position once.
    """
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place] if shortest_first else -lengths[place]):
        longest = lengths[place] if shortest_first or not batch else lengths[batch[0]]
        apart = same_length and batch and lengths[place] != lengths[batch[0]]
        if batch and (apart or (len(batch) + 1) * longest > budget):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def pad_ids(rows: Sequence[Sequence[int]], pad: int, *, left: bool, width: int | None = None) -> tuple[Any, Any]:
    """Token ids of n texts as a tensor, and the mask of what is not padding; both int64, shape (n, width).

    Args:
        rows: the ids of each text; at least one text.
        pad: the id that fills up.
        left: whether padding goes before a text (to continue it) or behind it.
        width: tokens of a row; by default those of the longest.
    """
    import torch

    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    width = int(lengths.max()) if width is None else width
    ids = np.full((len(rows), width), pad)
    for own, row in zip(ids, rows, strict=True):
        own[width - len(row) if left else 0 :][: len(row)] = row
    places, lengths = np.arange(width), lengths[:, None]
    mask = places >= width - lengths if left else places < lengths
    return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))
