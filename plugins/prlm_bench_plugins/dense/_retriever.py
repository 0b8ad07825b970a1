"""The dense retriever: cosine or dot product between the vectors of the query and of the items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from prlm_bench import Example, Ranking
from prlm_bench.ranking import by_score

from .._hf import choose_device, code_digest, package_versions
from ._cache import VectorCache
from ._checkpoint import Checkpoint, Dtype, Pooling, find_checkpoint, resolve_settings
from ._encoder import PACKAGES, Encoder
from ._vectors import TextVectors

#: Texts, not all distinct, whose vectors are brought into memory together.
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
        identity = settings.identity(files, versions)
        name = identity.hex()[:32]
        self._fingerprint = " ".join(
            [
                f"vectors={name}",
                f"model={files[:16]}",
                settings.describe(),
                f"query_prefix={query_prefix!r} item_prefix={item_prefix!r}",
                *(f"{package}={version}" for package, version in versions.items()),
                f"shared={code_digest()}",
            ]
        )
        self._query_prefix, self._item_prefix = query_prefix, item_prefix
        about = f"{model} {self._fingerprint}"
        self._cache = VectorCache(cache_dir / "embeddings" / f"{name}.sqlite", identity, about)
        self._vectors = TextVectors(self._cache, lambda: Encoder(checkpoint, settings, device))

    def fingerprint(self) -> str:
        """The model's files, the settings and the releases of the packages; the model itself is not loaded."""
        return self._fingerprint

    def cache_bytes(self) -> int:
        """Bytes of the vectors on disk, those of other questions with this model included."""
        return self._cache.size()

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; every text that was never encoded before is, and only those.

        Raises:
            PrlmBenchError: the model cannot be loaded, or the cache cannot be used.
        """
        rankings: list[Ranking] = []
        for group in _groups(examples):
            texts = [self._texts(example) for example in group]
            self._vectors.load(list(chain.from_iterable(texts)))
            rankings += [self._rank(example, own, k) for example, own in zip(group, texts, strict=True)]
        return rankings

    def _texts(self, example: Example) -> list[str]:
        """The texts of a profile's items and then of the query; none where the profile is empty."""
        if not example.profile:
            return []
        prefix = self._item_prefix
        return [*[prefix + item.text for item in example.profile], self._query_prefix + example.query]

    def _rank(self, example: Example, texts: list[str], k: int | None) -> Ranking:
        if not texts:
            return Ranking()
        vectors = self._vectors.rows(texts)
        # vecdot sums each row alone: equal vectors get equal scores wherever they stand, unlike in a matrix
        # product, whose last bits depend on the row's place.
        return by_score(example.profile, np.vecdot(vectors[:-1], vectors[-1]), k)


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
