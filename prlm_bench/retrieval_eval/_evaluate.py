"""Ranks a split with all sources, batch by batch, and computes the figures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..metrics._retrieval import retrieval_scores
from ..progress import Progress, Silent
from ..records import Example, Ranking
from ..results import ClusterEstimates, Estimate, as_mean
from ._agreement import FIGURES, agreement
from ._sources import Source

if TYPE_CHECKING:
    from ..data import Dataset

#: The default measures.
MEASURES = ("nDCG@5", "R@5", "RR")
#: The recall curve ends here, or at the size of the largest profile.
CURVE = 50
CHANCE = "random order"
_BATCH = 128


@dataclass
class Evaluation:
    """The results; `to_dict` is the output of `--json`."""

    task: str
    split: str
    fingerprint: str
    n: int
    n_users: int
    #: Questions with at least one relevant item.
    n_judged: int
    measures: list[str]
    #: By source, then by measure; empty without relevance labels.
    figures: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    #: By source except the first: differences from the first source, paired by question.
    differences: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    #: By source, and for a random order: recall at 1, 2, 3, ...
    recall: dict[str, list[Estimate]] = field(default_factory=dict)
    #: Agreement figures by pair of sources.
    agreement: dict[tuple[str, str], dict[str, Estimate]] = field(default_factory=dict)
    #: By source: identity, time and size.
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything as a JSON object."""
        names = ("task", "split", "fingerprint", "n", "n_users", "n_judged", "measures", "sources")
        plain = {name: getattr(self, name) for name in names}
        return plain | {
            "figures": {name: _dumped(found) for name, found in self.figures.items()},
            "differences": {name: _dumped(found) for name, found in self.differences.items()},
            "recall": {name: [point.model_dump() for point in curve] for name, curve in self.recall.items()},
            "agreement": [{"of": list(pair), **_dumped(found)} for pair, found in self.agreement.items()],
        }


def _dumped(figures: dict[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.model_dump() for name, estimate in figures.items()}


def check_measures(measures: Sequence[str]) -> None:
    """Check that these measures exist, before the work begins.

    Raises:
        PrlmBenchError: one of them does not exist.
    """
    retrieval_scores([], [], measures)


def evaluate(
    dataset: Dataset,
    sources: Sequence[Source],
    measures: Sequence[str] = MEASURES,
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate sources on a split, with user-clustered 95 % intervals.

    Args:
        dataset: the questions and profiles.
        sources: retrievers and run files; their names must differ.
        measures: ir_measures names.
        limit: maximum number of questions, taken from the start.
        progress: receives progress updates.

    Raises:
        PrlmBenchError: a source cannot rank, a measure is unknown, or there is nothing to evaluate.
    """
    count = min(limit or len(dataset), len(dataset))
    if not count:
        raise DataError(f"{dataset.task.name} {dataset.split} has no questions")
    names = [source.name for source in sources]
    if not sources:
        raise DataError("nothing to evaluate", "give --retriever or --run")
    if len(set(names)) < len(names):
        raise DataError(f"sources with the same name: {', '.join(names)}")
    check_measures(measures)
    progress = progress or Silent()
    progress.start(f"{dataset.task.name} {dataset.split}", count)
    columns = _Columns(names, measures)
    for examples in dataset.batches(_BATCH, 0, count):
        columns.add(examples, [list(source.rank(examples)) for source in sources])
        progress.advance(len(examples))
    users = dataset.users[:count]
    found = Evaluation(
        dataset.task.name, dataset.split, dataset.fingerprint(), count, len(set(users)), columns.n_judged, [*measures]
    )
    columns.summarize(users, found)
    found.sources = {source.name: source.describe() for source in sources}
    return found


class _Columns:
    """Collects the figures of single questions by name."""

    def __init__(self, names: Sequence[str], measures: Sequence[str]) -> None:
        self._names, self._measures = names, measures
        self._measured: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._agreed: dict[tuple[tuple[str, str], str], list[float]] = defaultdict(list)
        self._recall: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        self._deepest = 1
        self.n_judged = 0

    def add(self, examples: Sequence[Example], rankings: Sequence[Sequence[Ranking]]) -> None:
        """Add one batch with the rankings of each source."""
        relevant = [example.relevant or frozenset() for example in examples]
        self.n_judged += sum(map(bool, relevant))
        self._deepest = max([self._deepest, *(len(example.profile) for example in examples)])
        for name, found in zip(self._names, rankings, strict=True):
            ranked = [list(dict.fromkeys(item.id for item in ranking.items)) for ranking in found]
            for measure, values in retrieval_scores(ranked, relevant, self._measures).items():
                self._measured[name, measure] += values
            self._recall[name] += [_recall(ids, known) for ids, known in zip(ranked, relevant, strict=True)]
        for example, known in zip(examples, relevant, strict=True):
            size = len({item.id for item in example.profile})
            steps = np.minimum(np.arange(1, CURVE + 1) / max(size, 1), 1.0)
            self._recall[CHANCE].append(steps if known else np.full(CURVE, math.nan))
        for (one, first), (other, second) in combinations(zip(self._names, rankings, strict=True), 2):
            for example, a, b in zip(examples, first, second, strict=True):
                for figure, value in agreement(example, a, b).items():
                    self._agreed[(one, other), figure].append(value)

    def summarize(self, users: Sequence[str], into: Evaluation) -> None:
        """Compute means and intervals, all from the same resamples of users."""
        figures = ClusterEstimates(users)
        if self.n_judged:
            for (name, measure), values in self._measured.items():
                figures.add(f"measure {name} {measure}", as_mean(values))
                gaps = np.subtract(values, self._measured[self._names[0], measure])
                figures.add(f"difference {name} {measure}", as_mean(gaps.tolist()))
            for name, rows in self._recall.items():
                for k, column in enumerate(np.array(rows).T[: self._deepest]):
                    figures.add(f"recall {name} {k}", as_mean(column.tolist()))
        for (pair, figure), values in self._agreed.items():
            figures.add(f"agreement {pair} {figure}", as_mean(values))
        if not self.n_judged and not self._agreed:
            return
        found = figures.estimates()
        for pair in dict.fromkeys(pair for pair, _ in self._agreed):
            into.agreement[pair] = {figure: found[f"agreement {pair} {figure}"] for figure in FIGURES}
        if self.n_judged:
            depth = min(self._deepest, CURVE)
            for place, name in enumerate(self._names):
                into.figures[name] = {m: found[f"measure {name} {m}"] for m in self._measures}
                if place:
                    into.differences[name] = {m: found[f"difference {name} {m}"] for m in self._measures}
            into.recall = {name: [found[f"recall {name} {k}"] for k in range(depth)] for name in self._recall}


def _recall(ids: Sequence[str], relevant: frozenset[str]) -> NDArray[np.float64]:
    """Recall at 1 to `CURVE`; nan if nothing is relevant."""
    if not relevant:
        return np.full(CURVE, math.nan)
    hits = np.zeros(CURVE)
    for place, identifier in enumerate(ids[:CURVE]):
        hits[place] = identifier in relevant
    return np.asarray(np.cumsum(hits) / len(relevant))
