"""Searches the index of a collection, one profile at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prlm_bench import Document

from .analysis import java_text
from .build import Profiles
from .formula import Statistics
from .java import java_class

Floats = NDArray[np.float64]
_INDEX, _SEARCH = "org.apache.lucene.index", "org.apache.lucene.search"
#: Lucene refuses queries of more than 1024 terms unless told otherwise; a query may be a whole review.
_MOST_TERMS = 1 << 20


class RM3:
    """Anserini's RM3 (N. Abdul-Jaleel et al., "UMass at TREC 2004"), over the first items of the profile.

    Args:
        analyzer: the collection's analyzer.
        terms, documents: how many terms are added, from how many of the first items.
        original: the weight of the query itself, 0 to 1.
    """

    def __init__(self, analyzer: Any, terms: int, documents: int, original: float) -> None:
        reranker = java_class("io.anserini.rerank.lib.Rm3Reranker")
        self._analyzer = analyzer
        self._reranker = reranker(analyzer, None, "contents", terms, documents, original, False, True)
        self._analyze = java_class("io.anserini.analysis.AnalyzerUtils").analyze
        self._contexts = java_class("io.anserini.rerank.RerankerContext")
        self._arguments = java_class("io.anserini.search.SearchCollection$Args")()
        self._arguments.arbitraryScoreTieBreak = True

    def expand(self, hits: Any, searcher: Any, query: Any, text: str, profile: Any, most: int) -> Any:
        """Search again with what the first hits have in common, among the items of one profile."""
        self._arguments.hits = most
        tokens = self._analyze(self._analyzer, text)
        context = self._contexts(searcher, None, query, None, text, tokens, profile, self._arguments)
        return self._reranker.rerank(hits, context)


class Collection:
    """An index that `build_index` has made, opened.

    Args:
        folder: where it is.
        analyzer: the analyzer that it was made with.
        k1, b: of BM25.
        rm3: expands queries, if wanted.
    """

    def __init__(self, folder: Path, analyzer: Any, k1: float, b: float, rm3: RM3 | None) -> None:
        from jnius import cast

        self._profiles = Profiles.read(folder / "profiles.npz")
        path = java_class("java.nio.file.Paths").get(str(folder / "index"))
        reader = java_class(f"{_INDEX}.DirectoryReader").open(
            java_class("org.apache.lucene.store.FSDirectory").open(path)
        )
        self._reader = cast(f"{_INDEX}.IndexReader", reader)
        searchers = java_class(f"{_SEARCH}.IndexSearcher")
        searchers.setMaxClauseCount(_MOST_TERMS)
        self._searcher = searchers(self._reader)
        self._searcher.setSimilarity(java_class(f"{_SEARCH}.similarities.BM25Similarity")(k1, b))
        self._analyzer, self._rm3 = analyzer, rm3
        self._generator = java_class("io.anserini.search.query.BagOfWordsQueryGenerator")()

    def scores(self, profile: Sequence[Document], query: str) -> Floats | None:
        """The score of each item of a profile, 0 where it has no term of the query, shape (n,).

        None where the collection does not know this profile.
        """
        row = self._profiles.row(profile)
        if row is None:
            return None
        numbers = self._profiles.numbers(row)
        if not len(numbers):
            return np.zeros(0)
        hits = self._search(f"p{row}", java_text(query), len(numbers))
        found = dict(zip(hits.lucene_docids, hits.scores, strict=True))
        return np.array([found.get(number, 0.0) for number in numbers.tolist()])

    def statistics(self) -> Statistics:
        """The statistics of the collection."""
        term = java_class(f"{_INDEX}.Term")
        return Statistics(
            self._reader.getDocCount("contents"),
            self._reader.getSumTotalTermFreq("contents"),
            lambda word: int(self._reader.docFreq(term("contents", word))),
        )

    def _search(self, token: str, text: str, most: int) -> Any:
        occur = java_class(f"{_SEARCH}.BooleanClause$Occur")
        profile = java_class(f"{_SEARCH}.TermQuery")(java_class(f"{_INDEX}.Term")("profiles", token))
        words = self._generator.buildQuery("contents", self._analyzer, text)
        both = java_class(f"{_SEARCH}.BooleanQuery$Builder")()
        both.add(profile, occur.FILTER)
        both.add(words, occur.MUST)
        top = self._searcher.search(both.build(), most)
        hits = java_class("io.anserini.search.ScoredDocs").fromTopDocs(top, self._searcher)
        if self._rm3 is None:
            return hits
        return self._rm3.expand(hits, self._searcher, words, text, profile, most)
