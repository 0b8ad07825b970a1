"""The dense retriever: cosine or dot product between the vectors of the query and of the items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from prlm_bench import Example, Ranking
from prlm_bench.identity import code_digest
from prlm_bench.prompting import by_score

from .._hf import choose_device, package_versions
from ._cache import VectorCache
from ._checkpoint import Checkpoint, Dtype, Pooling, find_checkpoint, resolve_settings
from ._encoder import PACKAGES, Encoder
from ._vectors import TextVectors

#: Approximate number of texts whose vectors are loaded together.
_TEXTS = 1 << 15


class DenseRetriever:
    """Ranks each profile by the vectors of one encoder; the options are those of `_presets.dense`.

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
        versions = package_versions(PACKAGES, f"the encoder {model!r}", "dense")
        device = choose_device(device)
        checkpoint = Checkpoint(find_checkpoint(model))
        settings = resolve_settings(checkpoint, pooling, normalize, max_length, dtype, device)
        files = checkpoint.digest(cache_dir)
        # Vectors that other code wrote are not those that this code would write.
        identity = settings.identity(files, {**versions, "code": code_digest(DenseRetriever)})
        name = identity.hex()[:32]
        self._fingerprint = " ".join(
            [
                f"vectors={name}",
                f"model={files[:16]}",
                settings.describe(),
                f"query_prefix={query_prefix!r} item_prefix={item_prefix!r}",
                *(f"{package}={version}" for package, version in versions.items()),
            ]
        )
        about = f"{model} {self._fingerprint}"
        self._cache = VectorCache(cache_dir / "embeddings" / f"{name}.sqlite", identity, about)
        self._vectors = TextVectors(
            self._cache, lambda: Encoder(checkpoint, settings, device), query_prefix, item_prefix
        )

    def fingerprint(self) -> str:
        """The model's files, the settings and the releases of the packages; the model itself is not loaded."""
        return self._fingerprint

    def cache_bytes(self) -> int:
        """Bytes of the vectors on disk, those of other questions with this model included."""
        return self._cache.size()

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; texts that are not in the cache are encoded first.

        Raises:
            PrlmBenchError: the model cannot be loaded, or the cache cannot be used.
        """
        rankings: list[Ranking] = []
        for group in _groups(examples):
            filled = [example for example in group if example.profile]
            vectors = self._vectors.fetch([e.profile for e in filled], [e.query for e in filled])
            # vecdot sums each row alone: equal vectors get equal scores wherever they stand, unlike in a matrix
            # product, whose last bits depend on the row's place.
            rankings += [
                by_score(example.profile, np.vecdot(*next(vectors)), k) if example.profile else Ranking()
                for example in group
            ]
        return rankings


def _groups(examples: Sequence[Example]) -> Iterator[list[Example]]:
    """Consecutive examples that together have about `_TEXTS` texts."""
    group: list[Example] = []
    texts = 0
    for example in examples:
        group.append(example)
        texts += len(example.profile)
        if texts >= _TEXTS:
            yield group
            group, texts = [], 0
    if group:
        yield group
