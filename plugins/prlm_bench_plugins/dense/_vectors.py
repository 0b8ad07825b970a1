"""From texts to their vectors: those of the cache are read, the others are encoded and cached."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from prlm_bench import Document
from prlm_bench.progress import working

from ._cache import Floats, VectorCache

#: Rows that follow each other, or stand anywhere.
Places = slice | NDArray[np.intp]

#: Maximum bytes of texts and vectors that stay in memory between calls.
MEMORY = 1 << 29
#: Bytes that a text takes besides its characters and its vector.
_ITEM = 64
#: Texts in the first write to the cache, and maximum in one write.
PIECES = (256, 1 << 15)
#: Target seconds of encoding between writes; a killed process loses the unwritten vectors.
_PACE = 20.0


class Encodes(Protocol):
    """The part of an encoder that is used here."""

    def encode(self, texts: Sequence[str]) -> Floats:
        """The vectors of n texts, shape (n, dims)."""
        ...


class TextVectors:
    """The vectors of texts in memory; behind them the cache, and behind it the encoder.

    Args:
        cache: where vectors outlive the process.
        make_encoder: called once, when the first text is missing.
        query_prefix, item_prefix: put before the texts.
        memory: maximum bytes of texts and vectors that stay in memory between calls; beyond it all are dropped.
        pieces: number of texts in the first write to the cache, and maximum in one write; see `_PACE`.
        clock: returns seconds.
    """

    def __init__(
        self,
        cache: VectorCache,
        make_encoder: Callable[[], Encodes],
        query_prefix: str = "",
        item_prefix: str = "",
        *,
        memory: int = MEMORY,
        pieces: tuple[int, int] = PIECES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache, self._make_encoder = cache, make_encoder
        self._query_prefix, self._item_prefix = query_prefix, item_prefix
        self._memory, self._pieces, self._piece, self._clock = memory, pieces, pieces[0], clock
        self._encoder: Encodes | None = None
        #: One row for each text in memory, and the same as bytes.
        self._matrix: Floats = np.empty((0, 0), np.float32)
        self._bytes = memoryview(b"")
        self._forget()

    def _forget(self) -> None:
        #: Rows of the matrix by text, and by the `id` of profiles, which are kept alive for it.
        self._rows: dict[str, int] = {}
        self._profiles: dict[int, tuple[object, Places]] = {}
        self._count = self._used = 0

    def fetch(
        self, profiles: Sequence[tuple[Document, ...]], queries: Sequence[str]
    ) -> Iterator[tuple[Floats, Floats]]:
        """The vectors of each profile's items, shape (items, dims), and of its query, shape (dims,).

        They hold until the next call, and are not to be written to.

        Args:
            profiles: none of them empty.
            queries: one for each profile.

        Raises:
            PrlmBenchError: a text has to be encoded and cannot be, or the cache cannot be used.
        """
        if self._used > self._memory:
            self._forget()
        items = {
            id(profile): [self._item_prefix + item.text for item in profile]
            for profile in profiles
            if id(profile) not in self._profiles
        }
        queries = [self._query_prefix + query for query in queries]
        self._load(list(dict.fromkeys([text for text in chain(*items.values(), queries) if text not in self._rows])))
        for profile in profiles:
            if id(profile) not in self._profiles:
                texts = items[id(profile)]
                self._profiles[id(profile)] = profile, self._places(texts)
                self._used += sum(map(len, texts)) + _ITEM * len(texts)
        places = [self._profiles[id(profile)][1] for profile in profiles]
        # One after the other, since those that have to be copied would take much memory together.
        return ((self._read(own), self._matrix[self._rows[q]]) for own, q in zip(places, queries, strict=True))

    def _read(self, places: Places) -> Floats:
        if isinstance(places, slice):
            return self._matrix[places]
        vectors: Floats = self._matrix.take(places, axis=0)
        return vectors

    def _places(self, texts: list[str]) -> Places:
        rows = np.fromiter(map(self._rows.__getitem__, texts), np.intp, len(texts))
        # A profile whose items were loaded together is read without a copy.
        together = (np.diff(rows) == 1).all()
        return slice(int(rows[0]), int(rows[-1]) + 1) if together else rows

    def _load(self, texts: list[str]) -> None:
        """Bring the vectors of texts that are not in memory there; those that are not cached are encoded."""
        contents = [_utf8(text) for text in texts]
        digests = [blake2b(content, digest_size=16).digest() for content in contents]
        missing = dict(zip(digests, contents, strict=True))
        rows = dict(zip(missing, range(self._count, self._count + len(missing)), strict=True))
        for digest, vector in self._cache.get(list(missing)):
            self._write(rows[digest], vector)
            missing.pop(digest, None)  # a damaged index may give it twice
        for digest, vector in self._encode(missing):
            self._write(rows[digest], vector)
        self._rows.update(zip(texts, map(rows.__getitem__, digests), strict=True))
        self._count += len(rows)
        self._used += sum(map(len, contents)) + _ITEM * len(texts) + len(rows) * self._matrix.strides[0]

    def _write(self, row: int, vector: bytes) -> None:
        width = len(vector)
        if (row + 1) * width > len(self._bytes):
            # Pages of it that are not written to take no memory.
            most = max(row + 1, 2 * len(self._matrix), self._memory // width)
            grown = np.empty((most, width // 4), np.float32)
            if len(self._matrix):
                grown[: len(self._matrix)] = self._matrix
            self._matrix, self._bytes = grown, grown.data.cast("B")
        self._bytes[row * width : (row + 1) * width] = vector

    def _encode(self, missing: dict[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
        """The vectors of texts by digest, as bytes, encoded in pieces each of which is cached at once.

        Before each piece, what other processes have cached meanwhile is left out.
        """
        digests = list(missing)
        with working("encoding, texts", len(digests)) as advance:
            while digests:
                piece, digests = digests[: self._piece], digests[self._piece :]
                count = len(piece)
                found = dict(self._cache.get(piece))
                piece = [digest for digest in piece if digest not in found]
                if piece:
                    vectors = self._encode_piece([missing[digest].decode() for digest in piece])
                    found |= self._cache.put(piece, vectors)
                advance(count)
                yield from found.items()

    def _encode_piece(self, texts: list[str]) -> Floats:
        if self._encoder is None:
            self._encoder = self._make_encoder()
        began = self._clock()
        vectors = self._encoder.encode(texts)
        seconds = max(self._clock() - began, 1e-3)
        wanted = np.clip(len(texts) * _PACE / seconds, self._piece / 2, self._piece * 2)
        self._piece = int(np.clip(int(wanted), *self._pieces))
        return vectors


def _utf8(text: str) -> bytes:
    """`text` as UTF-8, in which each lone surrogate becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
