"""A cross-encoder: a transformers model that reads query and text together and says how well they match."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prlm_bench.data import hash_file
from prlm_bench.errors import DataError
from prlm_bench.prompting import quiet_transformers

#: What transformers reads of a checkpoint.
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "*.bin")


class CrossEncoder:
    """A sequence classification model with one output, or with two of which the second means "relevant".

    Args:
        model: a folder, or a name on the Hugging Face hub.
        max_length: tokens of query and text together; the longer of the two is cut.
        batch_tokens: padded tokens that go through the model at once.
        device: where it runs, as torch names it; auto is cuda where there is one, else cpu.
        cache: where hashes of unchanged files are remembered.

    Raises:
        DataError: there is no such model.
    """

    def __init__(self, model: str, max_length: int, batch_tokens: int, device: str, cache: Path) -> None:
        self._name, self._cache = model, cache
        self._max_length, self._batch_tokens = max_length, batch_tokens
        #: Where the model runs.
        self.device = _resolved(device)
        self._folder = _folder(model)

    @cached_property
    def files_hash(self) -> str:
        """SHA-256 over the names and contents of the model's files."""
        whole = hashlib.sha256()
        for path in sorted({path for pattern in _FILES for path in self._folder.glob(pattern)}):
            whole.update(f"{path.name}\0{hash_file(self._cache, path)}\n".encode())
        return whole.hexdigest()

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text matches: the logit, or the difference of the two. Texts are batched by length.

        Raises:
            DataError: the model cannot be loaded, has no trained head, or has more than two outputs.
        """
        import torch

        if not texts:
            return []
        tokenizer, model = self._loaded
        # Lone surrogates are not text; the tokenizer raises on them.
        query, *clean = (text.encode("utf-8", "replace").decode() for text in (query, *texts))
        room = min(self._max_length, tokenizer.model_max_length, model.config.max_position_embeddings)
        encoded = tokenizer([query] * len(clean), clean, truncation="longest_first", max_length=room)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        found = [0.0] * len(clean)
        with torch.inference_mode():
            for members in _batches(lengths, self._batch_tokens):
                rows = {name: [column[i] for i in members] for name, column in encoded.items()}
                padded = tokenizer.pad(rows, return_tensors="pt").to(self.device)
                logits = model(**padded).logits.float()
                values = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
                for place, value in zip(members, values.tolist(), strict=True):
                    found[place] = value
        if not all(map(math.isfinite, found)):
            raise DataError(f"the cross-encoder {self._name!r} gave a score that is not a finite number")
        return found

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        try:
            with quiet_transformers():
                tokenizer = AutoTokenizer.from_pretrained(self._folder)
                model, report = AutoModelForSequenceClassification.from_pretrained(
                    self._folder, output_loading_info=True, dtype="float32"
                )
                model = model.to(self.device)
        except Exception as error:  # the libraries below raise errors of many kinds
            reason = " ".join(str(error).split())
            raise DataError(f"no cross-encoder can be loaded from {self._name!r}: {reason}") from None
        if report["missing_keys"]:
            missing = ", ".join(sorted(report["missing_keys"]))
            message = f"{self._name!r} is not a trained cross-encoder: it lacks the weights {missing}"
            raise DataError(message, "give a model for sequence classification")
        if model.config.num_labels not in (1, 2):
            raise DataError(f"{self._name!r} has {model.config.num_labels} outputs; a cross-encoder has 1 or 2")
        return tokenizer, model.eval()


def _resolved(device: str) -> str:
    if device != "auto":
        return device
    if version("torch").endswith("+cpu"):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _folder(model: str) -> Path:
    """The folder of a model, fetched from the hub where it is a name of the hub."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(model, allow_patterns=list(_FILES)))
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"no cross-encoder at {model!r}: {reason}", "give a folder or a hub name") from None
    if not (folder / "config.json").is_file():
        raise DataError(f"no cross-encoder in {model!r}: it has no config.json")
    return folder


def _batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches of like lengths, longest first, each at most `budget` tokens when padded."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
