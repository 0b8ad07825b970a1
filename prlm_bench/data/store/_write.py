"""Writes a store, a batch of questions at a time, each distinct profile item once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ._store import ITEMS, QUESTIONS, item_schema, question_schema

Words = NDArray[np.uint64]
Numbers = NDArray[np.uint32]

_SHARD_BITS = 6
#: Profile items (repeated ones included), questions and source bytes after which a batch is written.
_BATCH_ITEMS, _BATCH_QUESTIONS, _BATCH_BYTES = 1 << 14, 1 << 13, 1 << 23


class Row(NamedTuple):
    """A sound question, ready to be stored."""

    id: str
    user: str | None
    input: str
    gold: str | None
    relevant: list[str] | None
    #: For each profile item: its id, then the task's item fields, then its date.
    items: list[tuple[str | None, ...]]
    #: For each profile item: the 128-bit digest of that content.
    keys: list[bytes]


class StoreWriter:
    """Turns rows into `items.arrow` and `questions.arrow`; use it as a context.

    Args:
        folder: where to write; it exists.
        item_fields: the task's item fields.
    """

    def __init__(self, folder: Path, item_fields: tuple[str, ...]) -> None:
        self._schemas = item_schema(item_fields), question_schema()
        self._items = pa.ipc.new_file(str(folder / ITEMS), self._schemas[0])
        self._questions = pa.ipc.new_file(str(folder / QUESTIONS), self._schemas[1])
        self._index = DigestIndex()
        self._rows: list[Row] = []
        self._held = 0
        self._begun = 0
        #: Rows of each record batch so far.
        self.item_rows: list[int] = []
        self.question_rows: list[int] = []
        self.n_with_user = 0
        self.n_with_date = 0

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._items.close()
        self._questions.close()

    def add(self, row: Row, position: int) -> None:
        """Add a question; `position` is how many bytes of the source have been read."""
        self._rows.append(row)
        self._held += len(row.keys)
        self.n_with_user += row.user is not None
        full = self._held >= _BATCH_ITEMS or len(self._rows) >= _BATCH_QUESTIONS
        if full or position - self._begun >= _BATCH_BYTES:
            self._flush()
            self._begun = position

    def _flush(self) -> None:
        rows, self._rows, self._held = self._rows, [], 0
        if not rows:
            return
        numbers, new = self._index.assign([key for row in rows for key in row.keys])
        contents = [item for row in rows for item in row.items]
        self._write_items([contents[place] for place in new.tolist()])
        offsets = np.zeros(len(rows) + 1, np.int32)
        np.cumsum([len(row.keys) for row in rows], out=offsets[1:])
        texts = [pa.array(column, pa.large_string()) for column in zip(*(row[:4] for row in rows), strict=True)]
        relevant = pa.array([row.relevant for row in rows], pa.list_(pa.large_string()))
        items = pa.ListArray.from_arrays(pa.array(offsets), pa.array(numbers))
        self._write(self._questions, [*texts, relevant, items], self._schemas[1], self.question_rows)

    def _write_items(self, contents: list[tuple[str | None, ...]]) -> None:
        if contents:
            columns = [pa.array(column, pa.large_string()) for column in zip(*contents, strict=True)]
            self.n_with_date += len(contents) - columns[-1].null_count
            self._write(self._items, columns, self._schemas[0], self.item_rows)

    @staticmethod
    def _write(sink: Any, columns: list[Any], schema: pa.Schema, rows: list[int]) -> None:
        batch = pa.record_batch(columns, schema=schema)
        sink.write_batch(batch)
        rows.append(batch.num_rows)


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
    """Numbers distinct 128-bit digests 0, 1, 2, ... in order of first appearance.

    It takes about 20 bytes for each, where a dict would take 150.

    Args:
        recent: digests in the small run before it is merged into the shards; it grows with them.
    """

    def __init__(self, recent: int = 1 << 16) -> None:
        self._most = recent
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
        if recent.high.size < max(self._most, self.size // 16):
            return
        for shard, part in self._parts(recent.high):
            shard.insert(recent.high[part], recent.low[part], recent.number[part])
        self._recent = _Run.empty()

    def _parts(self, high: Words) -> list[tuple[_Run, slice]]:
        """Each shard with the slice of the ascending `high` that belongs to it."""
        edges = np.arange(1, len(self._shards), dtype=np.uint64) << np.uint64(64 - _SHARD_BITS)
        cuts = [0, *np.searchsorted(high, edges).tolist(), high.size]
        return [(shard, slice(cuts[place], cuts[place + 1])) for place, shard in enumerate(self._shards)]
