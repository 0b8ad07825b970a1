"""One file of vectors: written once, whole or not there, and checked before it is believed.

Layout, little-endian: a head of 128 bytes (magic, identity, dims, rows a block, rows, SHA-256 of the rest of the
head and of both tables); the digests of the texts; a CRC-32 for each block of rows; from the next multiple of 64
on, the rows as float32.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .digests import Digests

Floats = NDArray[np.float32]

_MAGIC = b"PRLMEMB1"
_HEAD = struct.Struct("<8s32sIIQ")
_HEAD_BYTES = 128
#: Rows that share a checksum.
BLOCK = 256
#: A file up to this size is read instead of mapped: each map keeps a file open.
_SMALL = 1 << 20


class BrokenSegmentError(Exception):
    """A file that is no segment of this identity, or not whole."""


class Segment:
    """A segment, opened.

    Args:
        path: the file.
        identity: 32 bytes that name the model and its settings.

    Raises:
        BrokenSegmentError: the file is damaged, or another model's.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, identity: bytes) -> None:
        self.path = path
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(_HEAD_BYTES)
            if len(head) < _HEAD_BYTES:
                raise BrokenSegmentError(f"{path}: too short")
            magic, owner, dims, block, rows = _HEAD.unpack_from(head)
            if (magic, owner) != (_MAGIC, identity):
                raise BrokenSegmentError(f"{path}: another format or another model")
            if min(dims, block, rows) == 0 or size != _start(rows, block) + rows * dims * 4:
                raise BrokenSegmentError(f"{path}: other size than noted")
            tables = file.read(16 * rows + 4 * -(-rows // block))
            if _seal(head[: _HEAD.size], tables) != head[_HEAD.size : _HEAD.size + 32]:
                raise BrokenSegmentError(f"{path}: its head or its tables are damaged")
            self.digests: Digests = np.frombuffer(tables, "<u8", 2 * rows).astype(np.uint64).reshape(rows, 2)
            self._sums = np.frombuffer(tables, "<u4", offset=16 * rows)
            start = _start(rows, block)
            self._map = None if size <= _SMALL else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            file.seek(start)
            content = file.read() if self._map is None else self._map
            #: The rows, shape (rows, dims), not to be written to.
            self.vectors: Floats = np.frombuffer(content, "<f4", rows * dims, start if self._map else 0)
            self.vectors = self.vectors.reshape(rows, dims)
        self._block = block
        self._sound = np.zeros(len(self._sums), bool)

    @property
    def mapped(self) -> int:
        """Bytes of the map; 0 for a segment in memory."""
        return 0 if self._map is None else len(self._map)

    def release(self) -> None:
        """Give back the pages that have been read."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)

    def damaged(self, rows: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Those blocks of `rows` that are not as they were written, as pairs of first and one past the last row.

        A block is read for this once.
        """
        blocks = np.unique(rows // self._block)
        bad = []
        for block in blocks[~self._sound[blocks]].tolist():
            first = block * self._block
            part = self.vectors[first : first + self._block]
            if zlib.crc32(part.data) == self._sums[block]:
                self._sound[block] = True
            else:
                bad.append((first, first + len(part)))
        return bad


def write_segment(path: Path, identity: bytes, digests: Digests, dims: int, read: Callable[[int, int], Floats]) -> None:
    """Write a segment under a temporary name and rename it.

    Args:
        path: the file to make, whose folder exists.
        identity: 32 bytes that name the model and its settings.
        digests: of the texts, shape (n, 2), n at least 1.
        dims: numbers a vector has.
        read: gives the vectors from one row to before another, shape (m, dims); asked for ascending pieces.

    Raises:
        OSError: the file cannot be written.
    """
    rows = len(digests)
    scratch = path.with_name(f".{path.name}.tmp")
    sums = []
    try:
        with scratch.open("wb") as file:
            file.seek(_start(rows, BLOCK))
            for first in range(0, rows, BLOCK):
                part = np.ascontiguousarray(read(first, min(first + BLOCK, rows)), "<f4")
                sums.append(zlib.crc32(part.data))
                file.write(part.data)
            tables = digests.astype("<u8").tobytes() + np.array(sums, "<u4").tobytes()
            head = _HEAD.pack(_MAGIC, identity, dims, BLOCK, rows)
            file.seek(0)
            file.write((head + _seal(head, tables)).ljust(_HEAD_BYTES, b"\0") + tables)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _start(rows: int, block: int) -> int:
    """The byte at which the vectors begin."""
    return -(-(_HEAD_BYTES + 16 * rows + 4 * -(-rows // block)) // 64) * 64


def _seal(head: bytes, tables: bytes) -> bytes:
    return hashlib.sha256(head + tables).digest()
