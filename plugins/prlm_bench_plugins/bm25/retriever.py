"""The `bm25` retriever."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

from prlm_bench import Document, Example, Ranking
from prlm_bench.interfaces import SameResults
from prlm_bench.prompting import by_score

from .backend import Backend, Index, IndexBuilder

#: Indexes kept for questions that share a profile.
_KEPT = 64


class BM25:
    """Okapi BM25 over the question's own profile, exactly as in rank_bm25 0.2.2.

    Args:
        k1: saturation of term frequency, 0 or more.
        b: strength of length normalization, from 0 to 1.
        epsilon: floor of negative idf values, as a share of the mean idf, 0 or more.
        ties: `profile` orders equal scores as the profile does; `numpy` as the reference does on this
            machine, whose order depends on the processor's vector units.
        backend: `numba` is several times faster than `numpy` and gives the same numbers, bit for bit; `auto`
            takes it where it is installed and there is enough to do.

    Raises:
        ValueError: an option is out of its bounds.
        MissingDependencyError: `numba` is asked for and not installed.
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
        self._parameters = (float(k1), float(b), float(epsilon))
        self._numpy_ties = ties == "numpy"
        self._builder = IndexBuilder(backend)
        self._indexes: OrderedDict[tuple[str, ...], Index] = OrderedDict()

    def fingerprint(self) -> str:
        """The numpy release, where it decides the order of ties."""
        return f"numpy {np.__version__}" if self._numpy_ties else ""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; an index is shared by examples whose profiles have the same texts."""
        return [self._rank(example, k) for example in examples]

    def _rank(self, example: Example, k: int | None) -> Ranking:
        scores = self._index(example.profile).scores(example.query)
        if not self._numpy_ties:
            return by_score(example.profile, scores, k)
        order = np.argsort(scores)[::-1][:k]
        return Ranking(tuple(example.profile[i] for i in order.tolist()), tuple(scores[order].tolist()))

    def _index(self, profile: tuple[Document, ...]) -> Index:
        key = tuple([item.text for item in profile])
        index = self._indexes.get(key)
        if index is None:
            index = self._builder.build(key, *self._parameters)
            self._indexes[key] = index
            if len(self._indexes) > _KEPT:
                self._indexes.popitem(last=False)
        else:
            self._indexes.move_to_end(key)
        return index
