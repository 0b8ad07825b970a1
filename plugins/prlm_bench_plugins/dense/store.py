"""The vectors of one model under one set of settings: a folder of segments, read as if they were one.

Segments are never changed. Each process writes files of its own and reads everybody's, so that none waits for
another, and a killed one leaves at most an unfinished temporary file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

import numpy as np

from .digests import Digests, DigestTable, Places
from .merge import merge_crowd
from .segment import BrokenSegmentError, Floats, Segment, write_segment

SUFFIX = ".vectors"
#: A place is a segment's number and, in the low bits, a row.
_ROW_BITS = 32
#: Bytes that may stay mapped. Giving pages back costs as much as finding them again.
_MAPPED = 1 << 29
#: Seconds after which a temporary file is taken for a killed process's.
_ABANDONED = 3600


class VectorStore:
    """Vectors by digest.

    Args:
        folder: where the segments are; made when the first is written.
        identity: 32 bytes that name the model and its settings; segments of another are never read.
        about: the same in words, written beside the segments for people.
    """

    def __init__(self, folder: Path, identity: bytes, about: str = "") -> None:
        self.folder = folder
        self._about = about
        self._identity = identity
        #: Grows when places that were given out are void.
        self.generation = 0
        self._clear()

    def _clear(self) -> None:
        self.segments: list[Segment] = []
        self._names: set[str] = set()
        self._table = DigestTable()
        self._read = 0

    def size(self) -> int:
        """Bytes of the segments on disk, everybody's."""
        total = 0
        for path in self.folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # merged meanwhile
                total += path.stat().st_size
        return total

    def refresh(self) -> None:
        """Take in the segments that have appeared since, and put many small ones together.

        Raises:
            OSError: the folder cannot be read.
        """
        if not self.segments:
            self._sweep()
        if merge_crowd(self.folder, SUFFIX, self._identity) and self.segments:
            self._clear()
            self.generation += 1
        digests, places = [], []
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            segment = None if path.name in self._names else self._open(path)
            if segment is not None:
                digests.append(segment.digests)
                places.append((len(self.segments) << _ROW_BITS) + np.arange(len(segment.digests)))
                self.segments.append(segment)
        if digests:
            self._table.add(np.concatenate(digests), np.concatenate(places))

    def _open(self, path: Path) -> Segment | None:
        try:
            segment = Segment(path, self._identity)
        except FileNotFoundError:
            return None  # another process has just merged it; its rows are found under another name next time
        except BrokenSegmentError:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        self._names.add(path.name)
        return segment

    def _sweep(self) -> None:
        for path in self.folder.glob(f".*{SUFFIX}.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()

    def find(self, digests: Digests) -> Places:
        """The places of m digests, shape (m,); -1 where there is no vector, or none that is sound."""
        while True:
            places = self._table.find(digests)
            if not self._drop_damaged(places):
                return places

    def _drop_damaged(self, places: Places) -> bool:
        known = np.unique(places[places >= 0])
        numbers = known >> _ROW_BITS
        dropped = False
        for number in np.unique(numbers).tolist():
            base = number << _ROW_BITS
            for first, last in self.segments[number].damaged(known[numbers == number] - base):
                self._table.drop(base + first, base + last)
                dropped = True
        return dropped

    def add(self, digests: Digests, vectors: Floats) -> None:
        """Keep n vectors, shape (n, dims), under their digests, shape (n, 2).

        Raises:
            OSError: they cannot be written.
        """
        if not len(digests):
            return
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "about.txt").write_text(self._about + "\n", encoding="utf-8")
        # Names sort by time: of two vectors for one text the older counts, for every reader.
        path = self.folder / f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        write_segment(path, self._identity, digests, vectors.shape[1], lambda first, last: vectors[first:last])
        self.refresh()

    def split(self, places: Places) -> tuple[Places, Places]:
        """Segment numbers and rows of n places, each of shape (n,)."""
        return places >> _ROW_BITS, places & ((1 << _ROW_BITS) - 1)

    def release(self, rows: int) -> None:
        """Tell that so many rows have been read; in a large cache, pages are given back after many.

        They stay in the system's cache, but no longer count as this process's memory.
        """
        if sum(segment.mapped for segment in self.segments) <= _MAPPED:
            return
        self._read += rows * self.segments[0].vectors.strides[0]
        if self._read > _MAPPED:
            self._read = 0
            for segment in self.segments:
                segment.release()
