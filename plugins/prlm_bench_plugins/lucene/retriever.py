"""The `lucene` retriever."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prlm_bench import Document, Example, Ranking
from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import Context
from prlm_bench.prompting import by_score

from .analysis import Analysis, AnalyzerName
from .build import build_index
from .collection import RM3, Collection
from .formula import Statistics, TokenCounts, scores
from .java import find_jar, find_java, java_errors
from .stored import folder_bytes, stored_folder

#: Raised when the files of an index change their meaning.
_FORMAT = 1
#: Counted profiles kept for questions that share one.
_KEPT = 64


class Lucene:
    """BM25 as Lucene computes it, over Anserini's analyzers; not the BM25 of published LaMP figures.

    Against `bm25`: words are lower-cased and stemmed and stop words left out (english), idf is never negative,
    there is no factor k1 + 1, lengths are rounded to one byte. Items without a word of the query score 0.

    Args:
        scope: profile takes the statistics (idf, mean length) from the question's own profile; collection from
            every distinct item of the split, by one index on disk and a filter.
        k1, b: Anserini's defaults; Lucene's own are 1.2 and 0.75.
        analyzer: english (Porter stems), krovetz, unstemmed, or whitespace.
        rm3: expand each query by the terms of its first items; only with scope=collection.
        rm3_terms, rm3_items: how many terms, from how many items.
        rm3_original: the weight of the query itself.
    """

    def __init__(
        self,
        context: Context,
        scope: Literal["profile", "collection"] = "profile",
        k1: float = 0.9,
        b: float = 0.4,
        analyzer: AnalyzerName = "english",
        rm3: bool = False,
        rm3_terms: int = 10,
        rm3_items: int = 10,
        rm3_original: float = 0.5,
    ) -> None:
        if not 0 <= k1 < float("inf") or not 0 <= b <= 1:
            raise ValueError("k1 is 0 or more, b between 0 and 1")
        if rm3 and scope != "collection":
            raise ValueError("rm3 needs scope=collection")
        if rm3_terms < 1 or rm3_items < 1 or not 0 <= rm3_original <= 1:
            raise ValueError("rm3_terms and rm3_items are at least 1, rm3_original between 0 and 1")
        find_java(find_jar())
        self._dataset, self._root = context.dataset, context.cache_dir / "lucene"
        self._scope, self._k1, self._b, self._analyzer = scope, k1, b, analyzer
        self._rm3 = (rm3_terms, rm3_items, rm3_original) if rm3 else None
        self._counted: OrderedDict[tuple[str, ...], tuple[TokenCounts, Statistics]] = OrderedDict()

    def fingerprint(self) -> str:
        """The jar's name, which holds its version, and the split where its statistics count."""
        return find_jar().name + (f" {self._dataset.fingerprint()}" if self._scope == "collection" else "")

    def cache_bytes(self) -> int:
        """Bytes of the index on disk; 0 for scope=profile, which keeps none."""
        return folder_bytes(self._root / self._key) if self._scope == "collection" else 0

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; equal scores, so those of 0 too, go by profile order.

        Raises:
            PrlmBenchError: with rm3, a profile that no question of the split has; Java fails.
        """
        with java_errors():
            return [by_score(example.profile, self._scores(example), k) for example in examples]

    def _scores(self, example: Example) -> NDArray[np.float64]:
        if self._scope == "profile":
            return self._by_formula(example, None)
        found = self._collection.scores(example.profile, example.query)
        if found is not None:
            return found
        if self._rm3 is not None:
            message = f"question {example.id}: lucene:scope=collection,rm3=true knows only the profiles of its split"
            raise PrlmBenchError(message, "leave rm3 out")
        return self._by_formula(example, self._collection.statistics())

    def _by_formula(self, example: Example, collection: Statistics | None) -> NDArray[np.float64]:
        counts, own = self._count(example.profile)
        query = self._analysis.tokens(example.query)
        return scores(query, counts, own if collection is None else collection, self._k1, self._b)

    def _count(self, profile: Sequence[Document]) -> tuple[TokenCounts, Statistics]:
        key = tuple(item.text for item in profile)
        if key not in self._counted:
            counts = TokenCounts.of([self._analysis.tokens(text) for text in key])
            self._counted[key] = counts, counts.statistics()
            if len(self._counted) > _KEPT:
                self._counted.popitem(last=False)
        self._counted.move_to_end(key)
        return self._counted[key]

    @cached_property
    def _analysis(self) -> Analysis:
        return Analysis(self._analyzer)

    @cached_property
    def _collection(self) -> Collection:
        analyzer = self._analysis.analyzer

        def make(folder: Path) -> None:
            build_index(folder, self._dataset, analyzer, vectors=self._rm3 is not None)

        folder = stored_folder(self._root, self._key, make)
        rm3 = RM3(analyzer, *self._rm3) if self._rm3 else None
        return Collection(folder, analyzer, self._k1, self._b, rm3)

    @property
    def _key(self) -> str:
        """The name of the index: everything that decides what is in it, and not how it is searched."""
        parts = [_FORMAT, self._dataset.fingerprint(), self._analyzer, self._rm3 is not None, find_jar().name]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
