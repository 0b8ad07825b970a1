"""From texts to their vectors: those of the cache are read, the others are encoded and cached."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Protocol

import numpy as np

from ._cache import Floats, VectorCache

#: Bytes of texts and vectors that stay in memory.
MEMORY = 1 << 29
#: Texts of the first write to the cache, and the most of one.
PIECES = (256, 1 << 15)
#: Seconds of encoding between two writes: a killed process loses what it has not written.
_PACE = 20.0


class Encodes(Protocol):
    """What is needed of an encoder."""

    def encode(self, texts: Sequence[str]) -> Floats:
        """The vectors of n texts, shape (n, dims)."""
        ...


class TextVectors:
    """The vectors of texts in memory; behind them the cache, and behind it the encoder.

    Args:
        cache: where vectors outlive the process.
        make_encoder: called once, when the first text is missing.
        memory: bytes of texts and vectors that stay in memory. Where they are used up, all but those of the present
            call are forgotten.
        pieces: texts of the first write to the cache, and the most of one; see `_PACE`.
        clock: gives seconds.
    """

    def __init__(
        self,
        cache: VectorCache,
        make_encoder: Callable[[], Encodes],
        *,
        memory: int = MEMORY,
        pieces: tuple[int, int] = PIECES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache, self._make_encoder, self._clock = cache, make_encoder, clock
        self._encoder: Encodes | None = None
        self._memory, self._free = memory, 0
        self._rows: dict[str, int] = {}
        self._matrix: Floats = np.empty((0, 0), np.float32)
        self._pieces, self._piece = pieces, pieces[0]

    def load(self, texts: Sequence[str]) -> None:
        """Bring the vectors of texts into memory; those that are not in the cache are encoded.

        Raises:
            PrlmBenchError: a text has to be encoded and cannot be, or the cache cannot be used.
        """
        new = list(dict.fromkeys([text for text in texts if text not in self._rows]))
        if new:
            self._remember(texts, new, self._fetch(new))

    def rows(self, texts: Sequence[str]) -> Floats:
        """The vectors of n loaded texts, shape (n, dims)."""
        rows = np.fromiter(map(self._rows.__getitem__, texts), np.intp, len(texts))
        vectors: Floats = self._matrix.take(rows, axis=0)
        return vectors

    def _remember(self, texts: Sequence[str], new: list[str], vectors: Floats) -> None:
        cost = vectors.nbytes + sum(map(len, new))
        if cost > self._free:
            known = list(dict.fromkeys([text for text in texts if text in self._rows]))
            if known:
                new, vectors = known + new, np.concatenate([self.rows(known), vectors])
                cost = vectors.nbytes + sum(map(len, new))
            self._rows, self._free = {}, max(self._memory, cost)
            # Pages of it that are not written to take no memory.
            self._matrix = np.empty((self._free // (4 * vectors.shape[1]), vectors.shape[1]), np.float32)
        start = len(self._rows)
        self._matrix[start : start + len(new)] = vectors
        self._rows.update(zip(new, range(start, start + len(new)), strict=True))
        self._free -= cost

    def _fetch(self, texts: list[str]) -> Floats:
        """The vectors of n distinct texts, shape (n, dims), all of them in the cache afterwards."""
        contents = [_utf8(text) for text in texts]
        digests = [blake2b(content, digest_size=16).digest() for content in contents]
        found = self._cache.get(digests)
        missing = {digest: content for digest, content in zip(digests, contents, strict=True) if digest not in found}
        if missing:
            found |= self._encode(missing)
        return np.frombuffer(b"".join([found[digest] for digest in digests]), "<f4").reshape(len(texts), -1)

    def _encode(self, missing: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """The vectors of texts by digest, as bytes, encoded in pieces each of which is cached at once.

        Before each piece, what other processes have cached meanwhile is left out.
        """
        digests = list(missing)
        found: dict[bytes, bytes] = {}
        while digests:
            piece, digests = digests[: self._piece], digests[self._piece :]
            found |= self._cache.get(piece)
            piece = [digest for digest in piece if digest not in found]
            if piece:
                vectors = self._encode_piece([missing[digest].decode() for digest in piece])
                self._cache.put(piece, vectors)
                found |= {digest: vector.tobytes() for digest, vector in zip(piece, vectors, strict=True)}
                # What another process wrote first stays, and counts here too: its last bits may differ.
                found |= self._cache.get(piece)
        return found

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
