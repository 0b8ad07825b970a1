"""Base classes of retrievers that are composed of others, and the pool of items that several rankings hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prlm_bench import Document, Example, Ranking
from prlm_bench.errors import DataError
from prlm_bench.interfaces import Context, Retriever

Floats = NDArray[np.float64]


class ComposedRetriever:
    """A retriever that ranks by what other retrievers rank.

    Args:
        context: the run.
        specs: the other retrievers, as on the command line.
    """

    def __init__(self, context: Context, specs: Sequence[str]) -> None:
        self._inner: list[tuple[str, Retriever]] = [(spec, context.build("retriever", spec)) for spec in specs]

    def fingerprint(self) -> str:
        """Empty: the identities of the other retrievers are added to that of the composed one when it is built."""
        return ""

    def cache_bytes(self) -> int | None:
        """Bytes that the other retrievers keep on disk, as far as they report it; None where none does."""
        reports = [getattr(retriever, "cache_bytes", None) for _, retriever in self._inner]
        sizes = [report() for report in reports if callable(report)]
        known = [size for size in sizes if size is not None]
        return sum(known) if known else None

    def _rankings(self, examples: Sequence[Example]) -> list[list[Ranking]]:
        """Of each retriever, a ranking of the whole profile for each example.

        Raises:
            DataError: there are not as many, or a score is not a finite number.
        """
        return [_checked(spec, list(retriever.rank(examples, None)), examples) for spec, retriever in self._inner]


class ReorderingRetriever(ComposedRetriever, ABC):
    """A retriever that changes the order of one other retriever's rankings.

    Args:
        context: the run.
        of: the other retriever.
    """

    def __init__(self, context: Context, of: str) -> None:
        super().__init__(context, [of])

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; the other retriever ranks all of it, so that no place depends on k."""
        (rankings,) = self._rankings(examples)
        return [self._reorder(example, ranking, k) for example, ranking in zip(examples, rankings, strict=True)]

    @abstractmethod
    def _reorder(self, example: Example, ranking: Ranking, k: int | None) -> Ranking:
        """The first k items of a ranking's new order; all for None."""


def _checked(spec: str, rankings: list[Ranking], examples: Sequence[Example]) -> list[Ranking]:
    if len(rankings) != len(examples):
        raise DataError(f"retriever {spec} gave {len(rankings)} rankings for {len(examples)} questions")
    for example, ranking in zip(examples, rankings, strict=True):
        if not np.isfinite(ranking.scores).all():
            raise DataError(f"retriever {spec} gave question {example.id} a score that is not finite")
    return rankings


@dataclass(frozen=True)
class Pool:
    """Every item that one of several rankings of a question holds, and where each ranking has it.

    Items are in profile order, which decides between equal scores; what a ranking holds from outside the profile
    follows in order of first appearance.
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
