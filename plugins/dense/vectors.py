"""From texts to their vectors: what the cache holds is read, what it lacks is encoded and kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from prlm_bench.errors import PrlmBenchError

from .digests import Digests, Places, digests_of, readable
from .memory import Group, Memory
from .rows import Rows, rows_of
from .segment import Floats
from .store import VectorStore

#: Seconds of encoding between two writes: a kill costs what was not written.
_PACE = 20.0
#: Texts of the first write, and the most of one.
_FIRST, _MOST = 256, 1 << 15


class Encodes(Protocol):
    """What is needed of an encoder."""

    def encode(self, texts: Sequence[str]) -> Floats:
        """The vectors of n texts, shape (n, dims)."""
        ...


class TextVectors:
    """Vectors of texts, each encoded once.

    Args:
        store: the cache.
        load: makes the encoder; called when the first text is missing, and once.
    """

    def __init__(self, store: VectorStore, load: Callable[[], Encodes]) -> None:
        self._store, self._load = store, load
        self._encoder: Encodes | None = None
        self._memory = Memory()
        self._generation = -1
        self._texts = _FIRST

    def fetch(self, groups: Sequence[Group]) -> list[Rows]:
        """The rows of each group's texts, in order; a group has at least one text.

        Raises:
            PrlmBenchError: a text has to be encoded and cannot be, or the cache cannot be used.
        """
        missing = [group for group in groups if group not in self._memory]
        fresh = self._resolve(list(dict.fromkeys(missing))) if missing else {}
        rows = [fresh[group] if group in fresh else self._memory[group] for group in groups]
        for group, own in fresh.items():
            self._memory.keep(group, own)
        return rows

    def _resolve(self, groups: list[Group]) -> dict[Group, Rows]:
        numbers: dict[str, dict[str, int]] = {}
        for prefix, texts in groups:
            numbers.setdefault(prefix, {}).update(dict.fromkeys(texts, 0))
        distinct = [prefix + text for prefix, own in numbers.items() for text in own]
        count = 0
        for own in numbers.values():
            own.update(zip(own, range(count, count + len(own)), strict=True))
            count += len(own)
        places = self._places(distinct)
        matrices = [segment.vectors for segment in self._store.segments]
        rows = {}
        for prefix, texts in groups:
            at = np.fromiter(map(numbers[prefix].__getitem__, texts), np.intp, len(texts))
            rows[prefix, texts] = rows_of(matrices, *self._store.split(places[at]))
        return rows

    def _places(self, texts: list[str]) -> Places:
        """The places of n distinct texts, all of them in the cache afterwards."""
        digests = digests_of(texts)
        try:
            if self._generation < 0:
                self._store.refresh()
            places = self._store.find(digests)
            missing = np.flatnonzero(places < 0)
            if missing.size:
                self._encode([readable(texts[at]) for at in missing.tolist()], digests[missing])
                places = self._store.find(digests)
        except OSError as error:
            reason = error.strerror or str(error)
            hint = "PRLM_BENCH_CACHE names a folder that can be written and has room"
            raise PrlmBenchError(f"cannot use the embedding cache {self._store.folder}: {reason}", hint) from None
        if (places < 0).any():
            raise PrlmBenchError(f"the embedding cache {self._store.folder} does not keep what is written to it")
        if self._generation != self._store.generation:
            self._memory.clear()
            self._generation = self._store.generation
        return places

    def _encode(self, texts: list[str], digests: Digests) -> None:
        """Encode n texts, in pieces that are kept as they are finished.

        Texts that stand together are kept together, so that a profile can be read as one slice. Before each
        piece, what other processes have finished meanwhile is left out.
        """
        start = 0
        while start < len(texts):
            stop = min(start + self._texts, len(texts))
            if start or self._encoder is None:
                self._store.refresh()
            part = digests[start:stop]
            _, firsts = np.unique(part, axis=0, return_index=True)
            todo = np.sort(firsts)[self._store.find(part[np.sort(firsts)]) < 0]
            if todo.size:
                self._encode_piece([texts[start + at] for at in todo.tolist()], part[todo])
            start = stop

    def _encode_piece(self, texts: list[str], digests: Digests) -> None:
        if self._encoder is None:
            self._encoder = self._load()
        began = time.monotonic()
        self._store.add(digests, self._encoder.encode(texts))
        seconds = max(time.monotonic() - began, 1e-3)
        self._texts = int(np.clip(len(texts) * _PACE / seconds, self._texts / 2, self._texts * 2))
        self._texts = int(np.clip(self._texts, _FIRST, _MOST))
