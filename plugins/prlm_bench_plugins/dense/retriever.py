"""The dense retriever: cosine or dot product between the vectors of the query and of the items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prlm_bench import Example, Ranking
from prlm_bench.prompting import by_score

from .device import resolve_device, versions
from .encoder import Encoder
from .folder import ModelFolder
from .locate import locate
from .settings import Dtype, Pooling, resolve_settings
from .store import VectorStore
from .vectors import TextVectors


class DenseRetriever:
    """Ranks each profile by the vectors of one encoder; the options are those of `presets.dense`.

    Args:
        cache_dir: vectors are kept below its folder `embeddings`.

    Raises:
        PrlmBenchError: a package, the model or the device is missing.
        ValueError: an option does not fit the model.
    """

    def __init__(
        self,
        model: str,
        cache_dir: Path,
        *,
        pooling: Pooling | None = None,
        normalize: bool | None = None,
        query_prefix: str = "",
        item_prefix: str = "",
        max_length: int | None = None,
        dtype: Dtype = "float32",
        device: str = "auto",
    ) -> None:
        releases = versions(f"the encoder {model!r}")
        where = resolve_device(device, f"the encoder {model!r}")
        folder = ModelFolder(locate(model))
        settings = resolve_settings(folder, pooling, normalize, max_length, dtype, where)
        cache = cache_dir / "embeddings"
        files = folder.digest(cache / "hashes")
        identity = settings.identity(files, releases)
        self._fingerprint = " ".join(
            [
                f"vectors={identity.hex()[:32]}",
                f"model={files[:16]}",
                settings.describe(),
                f"query_prefix={query_prefix!r} item_prefix={item_prefix!r}",
                *(f"{package}={release}" for package, release in releases.items()),
            ]
        )
        self._store = VectorStore(cache / identity.hex()[:32], identity, f"{model} {self._fingerprint}")
        self._texts = TextVectors(self._store, lambda: Encoder(folder, settings, where), query_prefix, item_prefix)

    def fingerprint(self) -> str:
        """The model's files, the settings and the releases of the packages; the model itself is not loaded."""
        return self._fingerprint

    def cache_bytes(self) -> int:
        """Bytes of the vectors on disk, those of other questions with this model included."""
        return self._store.size()

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; every text that was never encoded before is, and only those.

        Raises:
            PrlmBenchError: the model cannot be loaded, or the cache cannot be used.
        """
        asked = [example for example in examples if example.profile]
        items, queries = self._texts.fetch([e.profile for e in asked], [e.query for e in asked])
        # vecdot sums each row alone: equal vectors get equal scores wherever they stand, unlike in a matrix
        # product, whose last bits depend on the row's place.
        scores = (np.vecdot(rows.read(), query.read()[0]) for rows, query in zip(items, queries, strict=True))
        rankings = [
            by_score(example.profile, next(scores), k) if example.profile else Ranking() for example in examples
        ]
        self._texts.release(sum(len(example.profile) for example in asked))
        return rankings
