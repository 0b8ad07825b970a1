"""From texts to their vectors: what the cache holds is read, what it lacks is encoded and kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import numpy as np

from prlm_bench import Document
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
    """Vectors of queries and profile items, each distinct text encoded once.

    Args:
        store: the cache.
        load: makes the encoder; called when the first text is missing, and once.
        query_prefix, item_prefix: put before the texts.
    """

    def __init__(
        self, store: VectorStore, load: Callable[[], Encodes], query_prefix: str = "", item_prefix: str = ""
    ) -> None:
        self._store, self._load = store, load
        self._query_prefix, self._item_prefix = query_prefix, item_prefix
        self._encoder: Encodes | None = None
        self._memory = Memory()
        self._generation = -1
        self._texts = _FIRST

    def fetch(self, profiles: Sequence[tuple[Document, ...]], queries: Sequence[str]) -> tuple[list[Rows], list[Rows]]:
        """The rows of each profile's items, none of them empty, and of each query, in order.

        Raises:
            PrlmBenchError: a text has to be encoded and cannot be, or the cache cannot be used.
        """
        wanted: dict[Hashable, Group] = {}
        for profile in profiles:
            if id(profile) not in self._memory:
                wanted[id(profile)] = Group(profile, self._item_prefix, [item.text for item in profile])
        for query in queries:
            if query not in self._memory:
                wanted[query] = Group(query, self._query_prefix, [query])
        fresh = self._resolve(wanted) if wanted else {}

        def rows(key: Hashable) -> Rows:
            return fresh[key] if key in fresh else self._memory[key]

        found = [rows(id(profile)) for profile in profiles], [rows(query) for query in queries]
        for key, own in fresh.items():
            self._memory.keep(key, wanted[key], own)
        return found

    def release(self, rows: int) -> None:
        """Tell that so many rows have been read; mapped pages are given back after many."""
        self._store.release(rows)

    def _resolve(self, wanted: dict[Hashable, Group]) -> dict[Hashable, Rows]:
        numbers: dict[str, dict[str, int]] = {}
        for group in wanted.values():
            numbers.setdefault(group.prefix, {}).update(dict.fromkeys(group.texts, 0))
        distinct = [prefix + text for prefix, own in numbers.items() for text in own]
        count = 0
        for own in numbers.values():
            own.update(zip(own, range(count, count + len(own)), strict=True))
            count += len(own)
        places = self._places(distinct)
        matrices = [segment.vectors for segment in self._store.segments]
        rows = {}
        for key, group in wanted.items():
            at = np.fromiter(map(numbers[group.prefix].__getitem__, group.texts), np.intp, len(group.texts))
            rows[key] = rows_of(matrices, *self._store.split(places[at]))
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
