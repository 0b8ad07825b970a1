"""Numbers distinct 128-bit digests in about 20 bytes each, where a Python dict would take 150."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Numbers = NDArray[np.uint32]

_SHARD_BITS = 6
#: Digests in the small run before it is merged into the shards; it grows with them.
_RECENT = 1 << 16


def _no_words() -> Words:
    return np.empty(0, np.uint64)


@dataclass(slots=True)
class _Run:
    """Digests in ascending order, as high and low words, with their numbers; each array has shape (n,)."""

    high: Words
    low: Words
    number: Numbers

    @classmethod
    def empty(cls) -> _Run:
        return cls(_no_words(), _no_words(), np.empty(0, np.uint32))

    def find(self, high: Words, low: Words) -> NDArray[np.int64]:
        """Numbers of m digests, shape (m,); -1 where one is not here."""
        found = np.full(high.size, -1, np.int64)
        at = np.searchsorted(self.high, high)
        open_ = np.arange(high.size)
        # More than one round only where different digests share their high word.
        while True:
            open_ = open_[at[open_] < self.high.size]
            open_ = open_[self.high[at[open_]] == high[open_]]
            if not open_.size:
                return found
            same = self.low[at[open_]] == low[open_]
            found[open_[same]] = self.number[at[open_[same]]]
            open_ = open_[~same]
            at[open_] += 1

    def insert(self, high: Words, low: Words, number: Numbers) -> None:
        """Add digests that are not here yet, themselves in ascending order."""
        at = np.searchsorted(self.high, high)
        self.high = np.insert(self.high, at, high)
        self.low = np.insert(self.low, at, low)
        self.number = np.insert(self.number, at, number)


class DigestIndex:
    """Gives each distinct digest the next number: 0, 1, 2, ... in order of first appearance."""

    def __init__(self) -> None:
        self._recent = _Run.empty()
        self._shards = [_Run.empty() for _ in range(1 << _SHARD_BITS)]
        #: How many distinct digests there are.
        self.size = 0

    def assign(self, keys: Sequence[bytes]) -> tuple[Numbers, NDArray[np.intp]]:
        """Number some digests.

        Args:
            keys: m digests of 16 bytes.

        Returns:
            Their numbers, shape (m,), and the positions in `keys` of those met for the first time, ascending.

        Raises:
            OverflowError: more than 2**32 distinct digests.
        """
        words = np.frombuffer(b"".join(keys), dtype=">u8").astype(np.uint64).reshape(-1, 2)
        order = np.lexsort((words[:, 1], words[:, 0]))
        ordered = words[order]
        begins = np.ones(len(order), dtype=bool)
        begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        # lexsort is stable, so the first of each group of equals is the one met first.
        first = order[begins]
        high, low = ordered[begins, 0].copy(), ordered[begins, 1].copy()
        numbers = self._find(high, low)
        new = np.flatnonzero(numbers < 0)
        by_appearance = new[np.argsort(first[new])]
        numbers[by_appearance] = self.size + np.arange(new.size)
        self.size += new.size
        if self.size > 1 << 32:
            raise OverflowError("more than 2**32 distinct profile items")
        self._insert(high[new], low[new], numbers[new].astype(np.uint32))
        result = np.empty(len(order), np.uint32)
        result[order] = numbers[np.cumsum(begins) - 1]
        return result, first[by_appearance]

    def _find(self, high: Words, low: Words) -> NDArray[np.int64]:
        found = self._recent.find(high, low)
        for shard, part in self._parts(high):
            if shard.high.size and part.stop > part.start:
                np.maximum(found[part], shard.find(high[part], low[part]), out=found[part])
        return found

    def _insert(self, high: Words, low: Words, number: Numbers) -> None:
        recent = self._recent
        recent.insert(high, low, number)
        if recent.high.size < max(_RECENT, self.size // 16):
            return
        for shard, part in self._parts(recent.high):
            shard.insert(recent.high[part], recent.low[part], recent.number[part])
        self._recent = _Run.empty()

    def _parts(self, high: Words) -> list[tuple[_Run, slice]]:
        """Each shard with the slice of the ascending `high` that belongs to it."""
        edges = np.arange(1, len(self._shards), dtype=np.uint64) << np.uint64(64 - _SHARD_BITS)
        cuts = [0, *np.searchsorted(high, edges).tolist(), high.size]
        return [(shard, slice(cuts[place], cuts[place + 1])) for place, shard in enumerate(self._shards)]
