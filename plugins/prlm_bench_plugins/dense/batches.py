"""Which texts go through the encoder together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

#: Texts are padded to the next multiple of so many tokens: more would waste work, fewer leave small batches.
STEP = 8
#: Fewest tokens of one pass. Below it, matrix kernels for small shapes give other last bits.
FEWEST = 64


def padded(lengths: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """To how many tokens texts are padded, shape (n,): the next multiple of `STEP`, but not beyond `most`."""
    return np.minimum(-(-lengths // STEP) * STEP, most)


def groups(widths: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.intp]]:
    """Groups of texts of one padded length each, longest first.

    How far a text is padded depends on its own length alone, so its vector does not depend on its group.

    Args:
        widths: padded lengths of n texts in tokens, shape (n,).
        budget: most tokens a group holds; one text alone may exceed it.

    Yields:
        Positions in `widths`, each position once; texts without a token are left out.
    """
    order = np.argsort(-widths, kind="stable")
    order = order[: np.count_nonzero(widths)]
    edges = np.flatnonzero(np.diff(widths[order])) + 1
    for group in np.split(order, edges):
        if group.size:
            size = max(1, budget // int(widths[group[0]]))
            yield from (group[start : start + size] for start in range(0, group.size, size))


def repeats(texts: int, width: int) -> int:
    """How many times a group of `texts` texts of `width` tokens has to stand in a pass to reach `FEWEST` tokens."""
    return max(1, -(-FEWEST // (texts * width)))
