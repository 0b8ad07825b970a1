"""The Lucene index of a collection: each distinct item of a split once, with the profiles that contain it.

`build_index` writes it, `Collection` searches it one profile at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prlm_bench import Document

from ._formula import Statistics
from ._java import java_class, java_text

if TYPE_CHECKING:
    from prlm_bench.data import Dataset

Floats = NDArray[np.float64]
_INDEX, _SEARCH, _STORE = "org.apache.lucene.index", "org.apache.lucene.search", "org.apache.lucene.store"
_BATCH = 128
_BUFFER_MB = 128.0
#: Lucene's default limit is 1024 terms a query; a query may be a whole review.
_MAX_TERMS = 1 << 20


def profile_key(profile: Sequence[Document]) -> bytes:
    """A digest of 16 bytes of the items of a profile, in their order."""
    whole = hashlib.blake2b(digest_size=16)
    for item in profile:
        whole.update(_item_key(item))
    return whole.digest()


def _item_key(item: Document) -> bytes:
    content = f"{len(item.id)}:{item.id}{item.text}"
    return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Profiles:
    """The distinct profiles of a split, and the numbers of the documents in each.

    Args:
        keys: the `profile_key` of each, shape (profiles, 16), bytes.
        starts: where the documents of each begin in `numbers`, and their count; shape (profiles + 1,).
        numbers: document numbers, profile by profile, in profile order.
    """

    def __init__(self, keys: NDArray[np.uint8], starts: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        self._rows = {bytes(key): row for row, key in enumerate(keys)}
        self._keys, self._starts, self._numbers = keys, starts, numbers

    @staticmethod
    def of(dataset: Dataset) -> Profiles:
        """Read a split and number its distinct items in order of first appearance."""
        documents: dict[bytes, int] = {}
        rows: dict[bytes, NDArray[np.int64]] = {}
        for example in (example for batch in dataset.batches(_BATCH) for example in batch):
            key = profile_key(example.profile)
            if key not in rows:
                found = [documents.setdefault(_item_key(item), len(documents)) for item in example.profile]
                rows[key] = np.array(found, dtype=np.int64)
        starts = np.cumsum([0, *map(len, rows.values())], dtype=np.int64)
        numbers = np.concatenate(list(rows.values())) if rows else np.empty(0, np.int64)
        return Profiles(np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, 16), starts, numbers)

    @staticmethod
    def read(path: Path) -> Profiles:
        """Read a file that `write` wrote."""
        with np.load(path) as arrays:
            return Profiles(arrays["keys"], arrays["starts"], arrays["numbers"])

    def write(self, path: Path) -> None:
        """Write everything into one file."""
        np.savez(path, keys=self._keys, starts=self._starts, numbers=self._numbers)

    def row(self, profile: Sequence[Document]) -> int | None:
        """The row of this profile; None if the split does not have it."""
        return self._rows.get(profile_key(profile))

    def numbers(self, row: int) -> NDArray[np.int64]:
        """The document numbers of a profile's items."""
        return self._numbers[self._starts[row] : self._starts[row + 1]]

    def owners(self) -> list[list[int]]:
        """For each document number, the rows of the profiles that contain it."""
        count = int(self._numbers.max()) + 1 if len(self._numbers) else 0
        owners: list[list[int]] = [[] for _ in range(count)]
        for row in range(len(self._keys)):
            for number in np.unique(self.numbers(row)).tolist():
                owners[number].append(row)
        return owners


def build_index(folder: Path, dataset: Dataset, analyzer: Any, vectors: bool) -> None:
    """Write `profiles.npz` and the Lucene index `index` into an empty folder.

    A document's number in Lucene is its number in `profiles.npz`. The field `profiles` holds a token `p7` for
    each profile that contains the document.

    Args:
        folder: an empty folder.
        dataset: the split.
        analyzer: Lucene's analyzer for texts.
        vectors: store term vectors, which RM3 reads.
    """
    profiles = Profiles.of(dataset)
    profiles.write(folder / "profiles.npz")
    owners = profiles.owners()
    writer = _writer(folder / "index", analyzer)
    document, contents, tokens, number = _document(vectors)
    done: set[bytes] = set()
    for example in (example for batch in dataset.batches(_BATCH) for example in batch):
        for item in example.profile:
            key = _item_key(item)
            if key not in done:
                contents.setStringValue(java_text(item.text))
                tokens.setStringValue(" ".join(f"p{row}" for row in owners[len(done)]))
                number.setStringValue(str(len(done)))
                writer.addDocument(document)
                done.add(key)
    writer.forceMerge(1)
    writer.close()


def _writer(folder: Path, analyzer: Any) -> Any:
    by_field = java_class("java.util.HashMap")()
    by_field.put("profiles", java_class("org.apache.lucene.analysis.core.WhitespaceAnalyzer")())
    wrapper = java_class("org.apache.lucene.analysis.miscellaneous.PerFieldAnalyzerWrapper")
    settings = java_class(f"{_INDEX}.IndexWriterConfig")(wrapper(analyzer, by_field))
    settings.setRAMBufferSizeMB(_BUFFER_MB)
    # This policy merges only neighbours, so that documents keep the order in which they were added.
    settings.setMergePolicy(java_class(f"{_INDEX}.LogByteSizeMergePolicy")())
    return java_class(f"{_INDEX}.IndexWriter")(_directory(folder), settings)


def _directory(folder: Path) -> Any:
    path = java_class("java.nio.file.Paths").get(str(folder))
    return java_class(f"{_STORE}.FSDirectory").open(path)


def _document(vectors: bool) -> tuple[Any, Any, Any, Any]:
    """One document and its three fields, reused for all items: creating them for each would cost more."""
    from jnius import cast

    package = "org.apache.lucene.document"
    field, text = java_class(f"{package}.Field"), java_class(f"{package}.TextField")
    kind = java_class(f"{package}.FieldType")(text.TYPE_NOT_STORED)
    kind.setStoreTermVectors(vectors)
    store = java_class(f"{package}.Field$Store")
    document = java_class(f"{package}.Document")()
    fields = (
        field("contents", cast("java.lang.CharSequence", java_class("java.lang.String")("")), kind),
        text("profiles", "", store.NO),
        java_class(f"{package}.StringField")("id", "", store.YES),
    )
    for part in fields:
        document.add(part)
    return document, *fields


class RM3:
    """Anserini's RM3 (N. Abdul-Jaleel et al., "UMass at TREC 2004"), over the first items of a profile.

    Args:
        analyzer: the collection's analyzer.
        terms: number of terms to add.
        documents: number of first items to take them from.
        original: weight of the original query, from 0 to 1.
    """

    def __init__(self, analyzer: Any, terms: int, documents: int, original: float) -> None:
        reranker = java_class("io.anserini.rerank.lib.Rm3Reranker")
        self._analyzer = analyzer
        self._reranker = reranker(analyzer, None, "contents", terms, documents, original, False, True)
        self._analyze = java_class("io.anserini.analysis.AnalyzerUtils").analyze
        self._contexts = java_class("io.anserini.rerank.RerankerContext")
        self._arguments = java_class("io.anserini.search.SearchCollection$Args")()
        self._arguments.arbitraryScoreTieBreak = True

    def expand(self, hits: Any, searcher: Any, query: Any, text: str, profile: Any, limit: int) -> Any:
        """Search again with what the first hits have in common, among the items of one profile."""
        self._arguments.hits = limit
        tokens = self._analyze(self._analyzer, text)
        context = self._contexts(searcher, None, query, None, text, tokens, profile, self._arguments)
        return self._reranker.rerank(hits, context)


class Collection:
    """An opened index.

    Args:
        folder: a folder that `build_index` filled.
        analyzer: the analyzer that it was built with.
        k1, b: parameters of BM25.
        rm3: expands queries; None for none.
    """

    def __init__(self, folder: Path, analyzer: Any, k1: float, b: float, rm3: RM3 | None) -> None:
        from jnius import cast

        self._profiles = Profiles.read(folder / "profiles.npz")
        reader = java_class(f"{_INDEX}.DirectoryReader").open(_directory(folder / "index"))
        self._reader = cast(f"{_INDEX}.IndexReader", reader)
        searchers = java_class(f"{_SEARCH}.IndexSearcher")
        searchers.setMaxClauseCount(_MAX_TERMS)
        self._searcher = searchers(self._reader)
        self._searcher.setSimilarity(java_class(f"{_SEARCH}.similarities.BM25Similarity")(k1, b))
        self._analyzer, self._rm3 = analyzer, rm3
        self._generator = java_class("io.anserini.search.query.BagOfWordsQueryGenerator")()

    def scores(self, profile: Sequence[Document], query: str) -> Floats | None:
        """The score of each item of a profile, 0 for items without a term of the query, shape (n,).

        None if the collection does not contain this profile.
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
        """The statistics of the collection, for `scores` of a profile outside it."""
        term = java_class(f"{_INDEX}.Term")
        return Statistics(
            self._reader.getDocCount("contents"),
            self._reader.getSumTotalTermFreq("contents"),
            lambda word: int(self._reader.docFreq(term("contents", word))),
        )

    def _search(self, token: str, text: str, limit: int) -> Any:
        occur = java_class(f"{_SEARCH}.BooleanClause$Occur")
        profile = java_class(f"{_SEARCH}.TermQuery")(java_class(f"{_INDEX}.Term")("profiles", token))
        words = self._generator.buildQuery("contents", self._analyzer, text)
        both = java_class(f"{_SEARCH}.BooleanQuery$Builder")()
        both.add(profile, occur.FILTER)
        both.add(words, occur.MUST)
        top = self._searcher.search(both.build(), limit)
        hits = java_class("io.anserini.search.ScoredDocs").fromTopDocs(top, self._searcher)
        if self._rm3 is None:
            return hits
        return self._rm3.expand(hits, self._searcher, words, text, profile, limit)
