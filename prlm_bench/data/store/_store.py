"""Stores of imported data: `items.arrow` (distinct profile items), `questions.arrow` and `meta.json`.

Questions refer to items by row number, in the order of the profile. Texts are UTF-8, as the data has them. A store is
read through the memory map, which holds no more in memory than is being used.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..._util.json_text import load_json
from ...errors import DataError
from ...tasks import Task

#: Changed whenever stores of the same data would differ; old stores are then not found.
VERSION = 2
ITEMS, QUESTIONS, META = "items.arrow", "questions.arrow", "meta.json"
#: Bytes read through the map after which its pages are given back.
_RELEASE = 1 << 25


def item_schema(item_fields: tuple[str, ...]) -> pa.Schema:
    """Columns of `items.arrow`, in the order of `Row.items`: id, the item fields, date."""
    names = ["id", *(f"field:{name}" for name in item_fields), "date"]
    return pa.schema([(name, pa.large_string()) for name in names])


def question_schema() -> pa.Schema:
    """Columns of `questions.arrow`."""
    return pa.schema(
        [
            ("id", pa.large_string()),
            ("user", pa.large_string()),
            ("input", pa.large_string()),
            ("gold", pa.large_string()),
            ("relevant", pa.list_(pa.large_string())),
            ("items", pa.list_(pa.uint32())),
        ]
    )


def store_key(task: Task, sha256: Mapping[str, str]) -> str:
    """The name of the store of these files, given by role, read for this task."""
    identity = {
        "version": VERSION,
        "sha256": dict(sha256),
        "item_fields": task.item_fields,
        "query": task.query.model_dump(),
        # What golds are checked against, and what inputs are counted by.
        "golds": [task.output, task.labels],
        "instruction": [task.benchmark, task.instruction],
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of a store without reading it."""

    key: str
    #: SHA-256 by role: `questions`, `outputs`, `relevance`.
    sha256: dict[str, str]
    #: Bytes of the questions file.
    source_bytes: int
    #: Questions in the file, malformed ones included.
    n_total: int
    #: Malformed questions, which are not in the store.
    n_invalid: int
    #: The first malformed question and what is wrong with it; empty where there is none.
    first_problem: str
    #: The first entry of the golds that belongs to no question, and what is wrong with it; empty where there is none.
    lost_gold: str
    #: What the files say about their benchmark: the fields of `Origin`.
    origin: dict[str, Any]
    #: Questions that name their user.
    n_with_user: int
    #: Distinct items that have a date.
    n_with_date: int
    #: Rows of each record batch.
    item_rows: list[int]
    question_rows: list[int]
    #: Bytes of the two Arrow files.
    bytes: dict[str, int]

    def write(self, folder: Path) -> None:
        """Write `meta.json`."""
        (folder / META).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Meta:
        """Read `meta.json`.

        Raises:
            DataError: it is not there, or not whole.
        """
        return load_json(folder / META, cls)


class BrokenStoreError(Exception):
    """A store that is not whole and has to be made again."""


@dataclass(slots=True)
class QuestionRows:
    """Some questions as columns, each of length n."""

    id: list[str] = field(default_factory=list)
    user: list[str | None] = field(default_factory=list)
    input: list[str] = field(default_factory=list)
    gold: list[str | None] = field(default_factory=list)
    relevant: list[list[str] | None] = field(default_factory=list)
    #: Item numbers of each question, in profile order.
    items: list[NDArray[np.uint32]] = field(default_factory=list)


class Table:
    """An Arrow file in memory-mapped record batches.

    Args:
        path: the file.
        schema: the columns it must have.
        rows: the rows that each of its record batches must have.

    Raises:
        BrokenStoreError: it is not such a file.
    """

    def __init__(self, path: Path, schema: pa.Schema, rows: list[int]) -> None:
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            reader = pa.ipc.open_file(pa.py_buffer(self._map))
            self.batches = [reader.get_batch(place) for place in range(reader.num_record_batches)]
        except (OSError, ValueError, pa.ArrowException) as error:
            raise BrokenStoreError(f"{path}: {error}") from None
        if not reader.schema.equals(schema) or [batch.num_rows for batch in self.batches] != rows:
            raise BrokenStoreError(f"{path}: other columns or rows than noted")
        #: The row at which each batch begins, and the number of rows; shape (batches + 1,).
        self.starts = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)]).astype(np.int64)
        self._touched = 0

    def span(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """The rows from `start` to before `stop`, in pieces."""
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        for place in range(first, len(self.batches)):
            begin = int(self.starts[place])
            if begin >= stop:
                return
            low, high = max(start - begin, 0), min(stop - begin, self.batches[place].num_rows)
            piece = self.batches[place].slice(low, high - low)
            self._touched += piece.nbytes
            yield piece

    def take(self, numbers: NDArray[np.uint32]) -> Iterator[pa.RecordBatch]:
        """The rows `numbers`, which ascend, in pieces."""
        cuts = np.searchsorted(numbers, self.starts)
        for place in np.flatnonzero(np.diff(cuts)).tolist():
            wanted = numbers[cuts[place] : cuts[place + 1]] - np.uint32(self.starts[place])
            whole = int(wanted[-1]) - int(wanted[0]) + 1 == wanted.size
            batch = self.batches[place]
            piece = batch.slice(int(wanted[0]), wanted.size) if whole else batch.take(pa.array(wanted))
            self._touched += piece.nbytes
            yield piece

    def column(self, name: str) -> Iterator[list[Any]]:
        """The values of one column, a record batch at a time."""
        for batch in self.batches:
            yield values(batch.column(name))

    def release(self) -> None:
        """Give back the mapped pages after many have been read; they stay in the system's cache."""
        if self._touched >= _RELEASE:
            self._touched = 0
            if hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)


class Store:
    """A whole store.

    Args:
        folder: where it is.

    Raises:
        BrokenStoreError: it is not there, or not whole.
    """

    def __init__(self, folder: Path, item_fields: tuple[str, ...]) -> None:
        self.folder = folder
        try:
            self.meta = Meta.read(folder)
            sizes = {name: (folder / name).stat().st_size for name in (ITEMS, QUESTIONS)}
        except (DataError, OSError, ValueError) as error:
            raise BrokenStoreError(f"{folder}: {error}") from None
        if self.meta.key != folder.name or sizes != self.meta.bytes:
            raise BrokenStoreError(f"{folder}: other sizes than noted")
        self._items = Table(folder / ITEMS, item_schema(item_fields), self.meta.item_rows)
        self._questions = Table(folder / QUESTIONS, question_schema(), self.meta.question_rows)

    @property
    def n_items(self) -> int:
        """How many distinct items there are."""
        return int(self._items.starts[-1])

    def column(self, name: str) -> list[Any]:
        """One column of all questions."""
        return [value for part in self._questions.column(name) for value in part]

    def questions(self, start: int, stop: int) -> QuestionRows:
        """The questions from row `start` to before `stop`."""
        rows = QuestionRows()
        for piece in self._questions.span(start, stop):
            for name in ("id", "user", "input", "gold"):
                getattr(rows, name).extend(values(piece.column(name)))
            rows.relevant += piece.column("relevant").to_pylist()
            lists = piece.column("items")
            offsets = lists.offsets.to_numpy()
            numbers = lists.values.to_numpy()[offsets[0] : offsets[-1]]
            rows.items += np.split(numbers, offsets[1:-1] - offsets[0])
        return rows

    def items(self, numbers: NDArray[np.uint32]) -> list[list[Any]]:
        """Id, item fields and date of the items `numbers` (ascending, without repetition), as columns."""
        columns: list[list[Any]] = [[] for _ in self._items.batches[0].schema] if self._items.batches else []
        for piece in self._items.take(numbers):
            for column, part in zip(columns, piece.columns, strict=True):
                column += values(part)
        return columns

    def release(self) -> None:
        """Give back mapped pages that have been read."""
        self._items.release()
        self._questions.release()

    def profile_sizes(self) -> NDArray[np.int64]:
        """Number of profile items of each question, shape (questions,)."""
        lengths = [pc.list_value_length(batch.column("items")).to_numpy() for batch in self._questions.batches]
        return np.concatenate(lengths).astype(np.int64) if lengths else np.empty(0, np.int64)

    def date_range(self) -> tuple[str, str] | None:
        """The smallest and the largest date, as text; None where no item has one."""
        ranges = [pc.min_max(batch.column("date")).as_py() for batch in self._items.batches]
        known = [bounds for bounds in ranges if bounds["min"] is not None]
        return (min(bounds["min"] for bounds in known), max(bounds["max"] for bounds in known)) if known else None


def values(array: pa.Array) -> list[Any]:
    """The values of an Arrow array of texts; None where there is none."""
    return list(array.to_numpy(zero_copy_only=False).tolist())
