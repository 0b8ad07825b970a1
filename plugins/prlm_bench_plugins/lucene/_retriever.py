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

from .._stored_folder import folder_bytes, stored_folder
from ._formula import Statistics, TokenCounts, scores
from ._index import RM3, Collection, build_index
from ._java import Analysis, AnalyzerName, find_jar, find_java, java_errors

#: Version of the index files; part of the index key.
_FORMAT = 1
#: Token counts kept of the profiles used last, since questions share profiles.
_CACHED_PROFILES = 64


class Lucene:
    """BM25 as Lucene computes it, over Anserini's analyzers; not the BM25 of published LaMP figures.

    Against `bm25`: words are lower-cased and stemmed and stop words left out (english), idf is never negative,
    there is no factor k1 + 1, lengths are rounded to one byte. Items without a word of the query score 0.

    Args:
        scope: `profile` takes the statistics (idf, mean length) from the question's own profile; `collection` from
            every distinct item of the split, with one index on disk and a filter.
        k1, b: the defaults are Anserini's; Lucene's are 1.2 and 0.75.
        analyzer: english (Porter stems), krovetz, unstemmed, or whitespace.
        rm3: expand each query with terms of its first items; only with scope=collection.
        rm3_terms: number of terms to add.
        rm3_items: number of first items to take them from.
        rm3_original: weight of the original query, from 0 to 1.

    Raises:
        ValueError: an option is out of its bounds.
        PrlmBenchError: pyjnius, pyserini or a usable Java is missing.
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
        """The jar's name, which contains its version; with scope=collection also the split's fingerprint."""
        return find_jar().name + (f" {self._dataset.fingerprint()}" if self._scope == "collection" else "")

    def cache_bytes(self) -> int:
        """Size of the index on disk in bytes; 0 for scope=profile, which has none."""
        return folder_bytes(self._root / self._key) if self._scope == "collection" else 0

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; equal scores, those of 0 included, keep profile order.

        Raises:
            PrlmBenchError: with rm3, a profile is not one of the split; or Java fails.
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
            if len(self._counted) > _CACHED_PROFILES:
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
        """The name of the index: a digest of everything that decides its content; search options are not part of it."""
        parts = [_FORMAT, self._dataset.fingerprint(), self._analyzer, self._rm3 is not None, find_jar().name]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
