"""A retriever inside another, and the items of several rankings brought together."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prlm_bench import Document, Example, Ranking
from prlm_bench.errors import DataError
from prlm_bench.interfaces import Context, Retriever

Floats = NDArray[np.float64]


class Inner:
    """A retriever that another one asks for whole rankings.

    Args:
        context: the run.
        spec: the retriever, as on the command line.
    """

    def __init__(self, context: Context, spec: str) -> None:
        self.spec = spec
        self._retriever: Retriever = context.build("retriever", spec)

    def fingerprint(self) -> str:
        """What tells its rankings from another's: its spec, a hash of its code, and its own fingerprint."""
        return f"{self.spec} {self._source} {self._retriever.fingerprint()}".strip()

    @cached_property
    def _source(self) -> str:
        file = getattr(sys.modules.get(type(self._retriever).__module__), "__file__", None)
        if file is None:
            return ""
        folder = Path(file).parent
        files = sorted(folder.glob("*.py")) if (folder / "__init__.py").is_file() else [Path(file)]
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]

    def rank(self, examples: Sequence[Example]) -> list[Ranking]:
        """A ranking of everything for each example.

        Raises:
            DataError: there are not as many, or a score is not a finite number.
        """
        rankings = list(self._retriever.rank(examples, None))
        if len(rankings) != len(examples):
            raise DataError(f"retriever {self.spec} gave {len(rankings)} rankings for {len(examples)} questions")
        for example, ranking in zip(examples, rankings, strict=True):
            if not np.isfinite(ranking.scores).all():
                raise DataError(f"retriever {self.spec} gave question {example.id} a score that is not finite")
        return rankings

    def cache_bytes(self) -> int | None:
        """Bytes that the retriever keeps on disk; None where it does not tell."""
        tell = getattr(self._retriever, "cache_bytes", None)
        return tell() if callable(tell) else None


@dataclass(frozen=True)
class Pool:
    """Every item that one of several rankings of a question holds, and where each ranking has it.

    Items stand in profile order, so that equal scores are ordered by the house policy; what a ranking
    holds from outside the profile follows in order of first appearance.
    """

    #: n items.
    items: list[Document]
    #: For each ranking the items it holds, best first, as indices into `items`.
    orders: list[NDArray[np.int64]]

    @staticmethod
    def of(example: Example, rankings: Sequence[Ranking]) -> Pool:
        """Bring rankings of one question together; items count as the same by identity, else by id and text."""
        items = list(example.profile)
        places: dict[int, list[int]] = {}
        alike: dict[tuple[str, str], int] = {}
        for place, item in enumerate(items):
            places.setdefault(id(item), []).append(place)
            alike.setdefault((item.id, item.text), place)
        orders = []
        for ranking in rankings:
            # A profile may hold one item several times; each time it is ranked is another of its places.
            left = {key: list(found) for key, found in places.items()}
            order = []
            for item in ranking.items:
                known = left.get(id(item))
                if known:
                    order.append(known.pop(0))
                    continue
                place = alike.setdefault((item.id, item.text), len(items))
                if place == len(items):
                    items.append(item)
                order.append(place)
            orders.append(np.array(order, dtype=np.int64))
        held = np.zeros(len(items), dtype=bool)
        for indices in orders:
            held[indices] = True
        kept = np.cumsum(held) - 1
        return Pool([items[i] for i in np.flatnonzero(held).tolist()], [kept[indices] for indices in orders])


def min_max(scores: Floats) -> Floats:
    """Scores brought to [0, 1]; all 0 where they are equal. Shape (n,)."""
    if len(scores) == 0 or scores.max() == scores.min():
        return np.zeros_like(scores)
    return np.asarray((scores - scores.min()) / (scores.max() - scores.min()))
