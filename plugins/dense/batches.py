"""Which texts go through the encoder together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

#: Fewest tokens of one pass. Below it, matrix kernels for small shapes give other last bits.
FEWEST = 64


def same_length(lengths: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.intp]]:
    """Groups of texts of one length each, longest first, so that nothing is padded.

    Without padding a text's vector does not depend on what else was in its batch.

    Args:
        lengths: tokens of n texts, shape (n,).
        budget: most tokens a group holds; one text alone may exceed it.

    Yields:
        Positions in `lengths`, each position once; texts of length 0 are left out.
    """
    order = np.argsort(-lengths, kind="stable")
    order = order[: np.count_nonzero(lengths)]
    edges = np.flatnonzero(np.diff(lengths[order])) + 1
    for group in np.split(order, edges):
        if group.size:
            size = max(1, budget // int(lengths[group[0]]))
            yield from (group[start : start + size] for start in range(0, group.size, size))


def repeats(texts: int, length: int) -> int:
    """How many times a group of `texts` texts of `length` tokens has to stand in a pass to reach `FEWEST` tokens."""
    return max(1, -(-FEWEST // (texts * length)))
