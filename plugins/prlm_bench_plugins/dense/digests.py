"""Names texts by 128-bit digests and finds them again, in 24 bytes a text."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

#: Digests as rows of two words, high and low: shape (n, 2).
Digests = NDArray[np.uint64]
Places = NDArray[np.int64]


def readable(text: str) -> str:
    """`text` as UTF-8 can hold it: each lone surrogate becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def digests_of(texts: Sequence[str]) -> Digests:
    """The digests of n texts, shape (n, 2); texts that `readable` makes equal have one digest."""
    try:
        contents = [text.encode() for text in texts]
    except UnicodeEncodeError:
        contents = [readable(text).encode() for text in texts]
    joined = b"".join([blake2b(content, digest_size=16).digest() for content in contents])
    return np.frombuffer(joined, ">u8").astype(np.uint64).reshape(-1, 2)


class DigestTable:
    """From digests to places, as sorted arrays. Of equal digests the one that was added first counts."""

    def __init__(self) -> None:
        self._high = np.empty(0, np.uint64)
        self._low = np.empty(0, np.uint64)
        self._place = np.empty(0, np.int64)

    def __len__(self) -> int:
        return self._high.size

    def add(self, digests: Digests, places: Places) -> None:
        """Add n digests with their places, shape (n,)."""
        order = np.argsort(digests[:, 0], kind="stable")
        high = digests[order, 0]
        at = np.searchsorted(self._high, high, side="right")
        self._high = np.insert(self._high, at, high)
        self._low = np.insert(self._low, at, digests[order, 1])
        self._place = np.insert(self._place, at, places[order])

    def find(self, digests: Digests) -> Places:
        """The places of m digests, shape (m,); -1 where one is not here."""
        high, low = digests[:, 0], digests[:, 1]
        found = np.full(len(digests), -1, np.int64)
        at = np.searchsorted(self._high, high)
        open_ = np.arange(len(digests))
        # More than one round only where different digests share their high word.
        while open_.size:
            open_ = open_[at[open_] < self._high.size]
            open_ = open_[self._high[at[open_]] == high[open_]]
            same = self._low[at[open_]] == low[open_]
            found[open_[same]] = self._place[at[open_[same]]]
            open_ = open_[~same]
            at[open_] += 1
        return found

    def drop(self, first: int, last: int) -> None:
        """Forget every digest whose place is from `first` to before `last`."""
        keep = (self._place < first) | (self._place >= last)
        self._high, self._low, self._place = self._high[keep], self._low[keep], self._place[keep]
