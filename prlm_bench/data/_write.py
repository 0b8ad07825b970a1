"""Writes a store, a batch of questions at a time."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from ._check import Row
from ._digests import DigestIndex
from ._layout import ITEMS, QUESTIONS, item_schema, question_schema

#: Profile items (repeated ones included), questions and source bytes after which a batch is written.
_BATCH_ITEMS, _BATCH_QUESTIONS, _BATCH_BYTES = 1 << 14, 1 << 13, 1 << 23


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
