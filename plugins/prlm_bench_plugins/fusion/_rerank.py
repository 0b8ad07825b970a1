"""The `rerank` retriever: a cross-encoder over the first items of another retriever."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prlm_bench import Example, Ranking
from prlm_bench.interfaces import Context
from prlm_bench.prompting import by_score

from .._hf import (
    ModelError,
    choose_device,
    find_folder,
    hash_files,
    load_model,
    load_tokenizer,
    loading,
    model_source,
    token_batches,
)
from ._composed import ComposedRetriever, Pool

#: What transformers reads of a checkpoint.
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "*.bin")


class Rerank(ComposedRetriever):
    """Orders the first items of a retriever by a cross-encoder (R. Nogueira and K. Cho, arXiv 1901.04085, 2019).

    The items behind them follow in their own order, each scored 1 below the one before it. The items of one
    question go through the model on their own, so that no score depends on the other questions of a batch.

    Args:
        of: the retriever whose items are reordered.
        model: folder or hub name of a transformers model for sequence classification.
        depth: how many items the model reads.
        max_length: tokens of query and item together; the longer of the two is cut.
        batch_tokens: padded tokens that go through the model at once.
        device: where the model runs, as torch names it; auto is cuda where there is one, else cpu.
    """

    def __init__(
        self,
        context: Context,
        of: str = "bm25",
        *,
        model: str,
        depth: int = 20,
        max_length: int = 512,
        batch_tokens: int = 8192,
        device: str = "auto",
    ) -> None:
        if depth < 1 or batch_tokens < 1:
            raise ValueError("depth and batch_tokens are at least 1")
        if max_length < 8:
            raise ValueError("max_length is at least 8")
        super().__init__(context, [of])
        self._depth = depth
        self._encoder = CrossEncoder(model, max_length, batch_tokens, device, context.cache_dir)

    def fingerprint(self) -> str:
        """A hash of the model's files, the versions and the shared code that compute with them, and the device."""
        versions = " ".join(f"{name}={version(name)}" for name in ("torch", "transformers", "tokenizers"))
        return f"files={self._encoder.files_hash} device={self._encoder.device} {versions}"

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; a question that recurs with the same items is scored once in a call."""
        scored: dict[tuple[str, ...], list[float]] = {}
        (rankings,) = self._rankings(examples)
        return [self._rerank(example, ranking, k, scored) for example, ranking in zip(examples, rankings, strict=True)]

    def _rerank(
        self, example: Example, ranking: Ranking, k: int | None, scored: dict[tuple[str, ...], list[float]]
    ) -> Ranking:
        # In profile order, which decides between equal scores.
        pool = Pool.of(example, [Ranking(ranking.items[: self._depth])])
        key = (example.query, *(item.text for item in pool.items))
        if key not in scored:
            scored[key] = self._encoder.scores(example.query, key[1:])
        first = by_score(pool.items, scored[key])
        rest = ranking.items[self._depth :]
        below = first.scores[-1] if first.scores else 0.0
        scores = (*first.scores, *(below - place for place in range(1, len(rest) + 1)))
        return Ranking((*first.items, *rest)[:k], scores[:k])


class CrossEncoder:
    """A transformers model that reads query and text together and scores how well they match.

    A sequence classification model with one output, or with two of which the second means "relevant".

    Args:
        model: a folder, or a name on the Hugging Face hub.
        max_length: tokens of query and text together; the longer of the two is cut.
        batch_tokens: padded tokens that go through the model at once.
        device: where it runs, as torch names it; auto is cuda where there is one, else cpu.
        cache: where hashes of unchanged files are remembered.

    Raises:
        ValueError: there is no such kind of device.
        ModelError: there is no such model or device.
    """

    def __init__(self, model: str, max_length: int, batch_tokens: int, device: str, cache: Path) -> None:
        self._label, self._cache = f"cross-encoder {model!r}", cache
        self._max_length, self._batch_tokens = max_length, batch_tokens
        #: Where the model runs.
        self.device = choose_device(device)
        self._folder = find_folder(str(model_source(model)), _FILES, what="cross-encoder")
        if not (self._folder / "config.json").is_file():
            raise ModelError(f"{model!r} is not a cross-encoder: {self._folder} has no config.json")

    @cached_property
    def files_hash(self) -> str:
        """SHA-256 over the names and contents of the model's files."""
        files = (path for pattern in _FILES for path in self._folder.glob(pattern))
        return hash_files(files, self._folder, self._cache)

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text matches: the logit, or the difference of the two. Texts are batched by length.

        Raises:
            ModelError: the model cannot be loaded, has no trained head, or has more than two outputs.
        """
        import torch

        if not texts:
            return []
        tokenizer, model = self._loaded
        # Lone surrogates are not text; the tokenizer raises on them.
        query, *clean = (text.encode("utf-8", "replace").decode() for text in (query, *texts))
        limit = min(self._max_length, tokenizer.model_max_length, model.config.max_position_embeddings)
        encoded = tokenizer([query] * len(clean), clean, truncation="longest_first", max_length=limit)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        found = [0.0] * len(clean)
        with torch.inference_mode():
            for members in token_batches(lengths, self._batch_tokens):
                rows = {name: [column[i] for i in members] for name, column in encoded.items()}
                padded = tokenizer.pad(rows, return_tensors="pt").to(self.device)
                logits = model(**padded).logits.float()
                values = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
                for place, value in zip(members, values.tolist(), strict=True):
                    found[place] = value
        if not all(map(math.isfinite, found)):
            raise ModelError(f"{self._label} gave a score that is not a finite number")
        return found

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        hint = "give a model that was trained for sequence classification"
        tokenizer = load_tokenizer(self._folder, self._label, hint=hint)
        kind = "AutoModelForSequenceClassification"
        model = load_model(kind, self._folder, self._label, safetensors=None, hint=hint)
        if model.config.num_labels not in (1, 2):
            raise ModelError(f"{self._label} has {model.config.num_labels} outputs, where 1 or 2 are needed", hint)
        with loading(self._label):
            return tokenizer, model.to(self.device).eval()
