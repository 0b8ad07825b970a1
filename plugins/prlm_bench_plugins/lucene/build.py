"""Makes the index of a collection: every distinct item of a split once, and which profiles it stands in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prlm_bench import Document

from .analysis import java_text
from .java import java_class

if TYPE_CHECKING:
    from prlm_bench.data import Dataset

_BATCH = 128
_BUFFER_MB = 128.0


def profile_key(profile: Sequence[Document]) -> bytes:
    """16 bytes that say which items a profile holds, in their order."""
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
        """What `write` has written."""
        with np.load(path) as arrays:
            return Profiles(arrays["keys"], arrays["starts"], arrays["numbers"])

    def write(self, path: Path) -> None:
        """Write everything into one file."""
        np.savez(path, keys=self._keys, starts=self._starts, numbers=self._numbers)

    def row(self, profile: Sequence[Document]) -> int | None:
        """Which of the profiles this is; None where it is none of them."""
        return self._rows.get(profile_key(profile))

    def numbers(self, row: int) -> NDArray[np.int64]:
        """The document numbers of a profile's items."""
        return self._numbers[self._starts[row] : self._starts[row + 1]]

    def owners(self) -> list[list[int]]:
        """For each document number the profiles that it stands in."""
        count = int(self._numbers.max()) + 1 if len(self._numbers) else 0
        owners: list[list[int]] = [[] for _ in range(count)]
        for row in range(len(self._keys)):
            for number in np.unique(self.numbers(row)).tolist():
                owners[number].append(row)
        return owners


def build_index(folder: Path, dataset: Dataset, analyzer: Any, vectors: bool) -> None:
    """Write `profiles.npz` and the Lucene index `index` into an empty folder.

    A document's number in Lucene is its number in `profiles.npz`. The field `profiles` holds a token `p7` for
    each profile that the document stands in.

    Args:
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
    index = "org.apache.lucene.index"
    by_field = java_class("java.util.HashMap")()
    by_field.put("profiles", java_class("org.apache.lucene.analysis.core.WhitespaceAnalyzer")())
    wrapper = java_class("org.apache.lucene.analysis.miscellaneous.PerFieldAnalyzerWrapper")
    settings = java_class(f"{index}.IndexWriterConfig")(wrapper(analyzer, by_field))
    settings.setRAMBufferSizeMB(_BUFFER_MB)
    # Merges neighbours only, so that documents keep the order in which they were added.
    settings.setMergePolicy(java_class(f"{index}.LogByteSizeMergePolicy")())
    directory = java_class("org.apache.lucene.store.FSDirectory").open(
        java_class("java.nio.file.Paths").get(str(folder))
    )
    return java_class(f"{index}.IndexWriter")(directory, settings)


def _document(vectors: bool) -> tuple[Any, Any, Any, Any]:
    """One document and its three fields, filled anew for each item: making them again would cost more."""
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
