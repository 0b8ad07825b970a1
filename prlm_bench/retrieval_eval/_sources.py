"""Sources of rankings: retrievers, with timings, and run files of other tools."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .._util.text import without_logins
from ..errors import DataError
from ..host import ComponentChoice
from ..interfaces import CachesOnDisk, Fingerprinted, Retriever
from ..records import Example, Ranking
from ..running import Components
from ..running._calls import rank
from ._trec import escaped, read_run

if TYPE_CHECKING:
    from ..data import Dataset


class Source(Protocol):
    """Ranks whole profiles and describes itself."""

    #: Its name in tables.
    name: str

    def rank(self, examples: Sequence[Example]) -> Sequence[Ranking]:
        """One ranking per example, in order."""
        ...

    def describe(self) -> dict[str, Any]:
        """Further information besides the figures, as a JSON object."""
        ...


class RetrieverSource:
    """A retriever as a source.

    Args:
        components: the components of the dataset.
        spec: the retriever, as on the command line, or as the registry gives it.
        seed: random seed.
        first: a question to warm up with, so that one-time work does not count as time per question.

    Raises:
        PrlmBenchError: it cannot be created, or the dataset lacks what it needs.
    """

    def __init__(self, components: Components, spec: str | ComponentChoice, seed: int, first: Example) -> None:
        began = time.perf_counter()
        self._retriever: Retriever = components.ready("retriever", spec, seed)
        rank(self._retriever, [first], None)
        self._setup = time.perf_counter() - began
        self._seconds, self._n = 0.0, 0
        self.name = without_logins(str(spec))

    def rank(self, examples: Sequence[Example]) -> Sequence[Ranking]:
        """Rank whole profiles."""
        began = time.perf_counter()
        rankings = rank(self._retriever, examples, None)
        self._seconds += time.perf_counter() - began
        self._n += len(examples)
        return rankings

    def describe(self) -> dict[str, Any]:
        """Identity, time and size.

        `setup_s`: seconds to create it and rank one question, one-time work included. `ms_per_question`: milliseconds
        for ranking whole profiles in batches. `cache_bytes`: its size on disk; null if unknown (see
        `interfaces.CachesOnDisk`).
        """
        return {
            "fingerprint": self._retriever.fingerprint() if isinstance(self._retriever, Fingerprinted) else "",
            "setup_s": self._setup,
            "ms_per_question": 1000 * self._seconds / self._n if self._n else None,
            "cache_bytes": self._retriever.cache_bytes() if isinstance(self._retriever, CachesOnDisk) else None,
        }


class RunSource:
    """A TREC run file, read as trec_eval reads it: by score, equal scores by descending id, ranks ignored.

    Args:
        path: the file; `.gz` is decompressed.
        dataset: the ranked dataset. Questions without a line have empty rankings.
        escape: the ids were written with `escape`.

    Raises:
        DataError: it is not a run file, or it contains an unknown question.
    """

    def __init__(self, path: Path, dataset: Dataset, escape: bool = False) -> None:
        self.name = path.name
        self._path = path
        self._written: Callable[[str], str] = escaped if escape else str
        self._run = read_run(path)
        known = set(map(self._written, dataset.ids))
        for question in self._run:
            if question not in known:
                message = f"{path}: question {question!r} is not in {dataset.task.name} {dataset.split}"
                raise DataError(message, f"its ids look like {dataset.ids[0]!r}" if len(dataset) else "")

    def rank(self, examples: Sequence[Example]) -> list[Ranking]:
        """The rankings of the file.

        Raises:
            DataError: an item that is not in its question's profile.
        """
        return [self._ranking(example) for example in examples]

    def _ranking(self, example: Example) -> Ranking:
        entries = self._run.get(self._written(example.id), [])
        known = {self._written(item.id): item for item in reversed(example.profile)}
        for _, item in entries:
            if item not in known:
                raise DataError(f"{self._path}: item {item!r} is not in the profile of question {example.id!r}")
        return Ranking(tuple(known[item] for _, item in entries), tuple(score for score, _ in entries))

    def describe(self) -> dict[str, Any]:
        """The file's name."""
        return {"run": self._path.name}
