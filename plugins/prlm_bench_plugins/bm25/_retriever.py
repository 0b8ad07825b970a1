"""The `bm25` retriever, and its choice between the numpy index and the one that numba compiles."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Literal, Protocol

import numpy as np

from prlm_bench import Document, Example, Ranking
from prlm_bench.errors import MissingDependencyError
from prlm_bench.interfaces import SameResults
from prlm_bench.prompting import by_score

from ._okapi import Floats, OkapiIndex

Backend = Literal["auto", "numpy", "numba"]


class Index(Protocol):
    """An index over n texts."""

    def scores(self, query: str) -> Floats:
        """The score of every text for `query`, shape (n,)."""
        ...


class _Compiled(Protocol):
    def __call__(self, texts: Sequence[str], k1: float, b: float, epsilon: float) -> Index: ...


@cache
def compiled_index() -> _Compiled | None:
    """The class of compiled indexes; None if numba is missing or does not support the installed numpy."""
    try:
        from ._compiled import CompiledIndex
    except ImportError:
        return None
    return CompiledIndex


class IndexBuilder:
    """Builds indexes with the chosen backend.

    Args:
        backend: `numba` or `numpy`; `auto` starts with numpy and changes to numba, where it is installed, after
            `patience` seconds of building.
        patience: about the seconds that loading numba takes: half a second, or a few if its code has yet to be
            compiled.
        max_characters: texts with more characters in total are indexed by numpy, since they could have more bytes
            than the compiled index can number.

    Raises:
        MissingDependencyError: `numba` is chosen and not installed.
    """

    def __init__(self, backend: Backend, *, patience: float = 1.0, max_characters: int = 1 << 29) -> None:
        if backend == "numba" and compiled_index() is None:
            raise MissingDependencyError("bm25:backend=numba", "numba", "fast")
        self._patience = {"auto": patience, "numpy": math.inf, "numba": 0.0}[backend]
        self._max_characters = max_characters
        self._spent = 0.0

    def build(self, texts: Sequence[str], k1: float, b: float, epsilon: float) -> Index:
        """An index over n texts; arguments as in `OkapiIndex`."""
        if self._spent >= self._patience:
            compiled = compiled_index()
            if compiled is not None and sum(map(len, texts)) < self._max_characters:
                return compiled(texts, k1, b, epsilon)
        began = time.perf_counter()
        index = OkapiIndex(texts, k1, b, epsilon)
        self._spent += time.perf_counter() - began
        return index


class IndexCache:
    """The indexes of the profiles used last, since questions of one user share theirs.

    Args:
        builder: builds what is missing.
        parameters: k1, b and epsilon of `OkapiIndex`.
        capacity: number of indexes kept; the least recently used is dropped first.
    """

    def __init__(self, builder: IndexBuilder, parameters: tuple[float, float, float], capacity: int = 64) -> None:
        self._builder, self._parameters, self._capacity = builder, parameters, capacity
        self._indexes: OrderedDict[tuple[str, ...], Index] = OrderedDict()

    def get(self, texts: tuple[str, ...]) -> Index:
        """The index over these texts, in their order."""
        index = self._indexes.get(texts)
        if index is None:
            index = self._builder.build(texts, *self._parameters)
            self._indexes[texts] = index
            if len(self._indexes) > self._capacity:
                self._indexes.popitem(last=False)
        else:
            self._indexes.move_to_end(texts)
        return index


class BM25:
    """Okapi BM25 over the question's own profile, exactly as in rank_bm25 0.2.2.

    Args:
        k1: saturation of term frequency, 0 or more.
        b: strength of length normalization, from 0 to 1.
        epsilon: floor of negative idf values, as a share of the mean idf, 0 or more.
        ties: `profile` orders equal scores as the profile does; `numpy` as the reference does on this
            machine, whose order depends on the processor's vector units.
        backend: `numba` is several times faster than `numpy` and gives the same numbers, bit for bit; `auto`
            changes to it where it is installed and there is enough to do.

    Raises:
        ValueError: an option is out of its bounds.
        MissingDependencyError: `numba` is chosen and not installed.
    """

    def __init__(
        self,
        k1: float = 1.5,
        b: float = 0.75,
        epsilon: float = 0.25,
        ties: Literal["profile", "numpy"] = "profile",
        backend: Annotated[Backend, SameResults] = "auto",
    ) -> None:
        for name, value, most in (("k1", k1, math.inf), ("b", b, 1), ("epsilon", epsilon, math.inf)):
            if not 0 <= value <= most or math.isinf(value):
                bounds = "0 or more" if most == math.inf else f"from 0 to {most}"
                raise ValueError(f"{name} is {value}, but must be a finite number, {bounds}")
        self._numpy_ties = ties == "numpy"
        self._indexes = IndexCache(IndexBuilder(backend), (float(k1), float(b), float(epsilon)))

    def fingerprint(self) -> str:
        """The numpy release, where it decides the order of ties."""
        return f"numpy {np.__version__}" if self._numpy_ties else ""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; examples whose profiles have the same texts share an index."""
        return [self._rank(example, k) for example in examples]

    def _rank(self, example: Example, k: int | None) -> Ranking:
        scores = self._indexes.get(_texts(example.profile)).scores(example.query)
        if not self._numpy_ties:
            return by_score(example.profile, scores, k)
        order = np.argsort(scores)[::-1][:k]
        return Ranking(tuple(example.profile[i] for i in order.tolist()), tuple(scores[order].tolist()))


def _texts(profile: Sequence[Document]) -> tuple[str, ...]:
    return tuple([item.text for item in profile])
