"""Chooses between the two indexes, which give the same numbers: numpy's, and the one that numba compiles."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from typing import Literal, Protocol

from prlm_bench.errors import MissingDependencyError

from .okapi import Floats, OkapiIndex

Backend = Literal["auto", "numpy", "numba"]

#: Seconds that `auto` builds indexes with numpy before it loads numba: about what loading takes, which is half a
#: second, or a few where the code has yet to be compiled.
_PATIENCE = 1.0
#: Texts of more characters than this might have more bytes than the compiled index can number.
_MOST = 1 << 29


class Index(Protocol):
    """What both indexes are."""

    def scores(self, query: str) -> Floats:
        """The score of every text for `query`, shape (n,)."""
        ...


class IndexBuilder:
    """Builds indexes.

    Args:
        backend: `numba` or `numpy`; `auto` begins with numpy and goes on with numba where it is installed, when
            there is enough to do.

    Raises:
        MissingDependencyError: `numba` is asked for and not installed.
    """

    def __init__(self, backend: Backend) -> None:
        if backend == "numba" and compiled_index() is None:
            raise MissingDependencyError("bm25:backend=numba", "numba", "fast")
        self._patience = {"auto": _PATIENCE, "numpy": float("inf"), "numba": 0.0}[backend]
        self._spent = 0.0

    def build(self, texts: Sequence[str], k1: float, b: float, epsilon: float) -> Index:
        """An index over n texts; arguments as in `OkapiIndex`."""
        if self._spent >= self._patience:
            compiled = compiled_index()
            if compiled is not None and sum(map(len, texts)) < _MOST:
                return compiled(texts, k1, b, epsilon)
        began = time.perf_counter()
        index = OkapiIndex(texts, k1, b, epsilon)
        self._spent += time.perf_counter() - began
        return index


class _Compiled(Protocol):
    def __call__(self, texts: Sequence[str], k1: float, b: float, epsilon: float) -> Index: ...


@cache
def compiled_index() -> _Compiled | None:
    """The class of compiled indexes; None where numba is missing, or does not go with this numpy."""
    try:
        from .compiled import CompiledIndex
    except ImportError:
        return None
    return CompiledIndex
