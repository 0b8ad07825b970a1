"""Texts in, vectors out: a transformers encoder with pooling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prlm_bench.errors import MissingDependencyError
from prlm_bench.prompting import quiet_transformers

from .batches import groups, padded, repeats
from .device import import_torch
from .errors import ModelError
from .folder import ModelFolder
from .settings import Pooling, Settings

Floats = NDArray[np.float32]

#: Tokens of one pass. Small passes keep a processor's caches warm; accelerators want large ones.
_BUDGET = {"cpu": 2048}
_LARGE_BUDGET = 1 << 15
#: Texts and characters that are tokenized at once; the tokenizer keeps what it cuts off.
_TEXTS, _CHARACTERS = 1024, 1 << 21


class Encoder:
    """A model in memory.

    Args:
        folder: the checkpoint. Code that it may hold is not run.
        settings: pooling, normalization, length and dtype.
        device: where the model runs.

    Raises:
        ModelError: the checkpoint cannot be loaded, or not all of it is there.
        MissingDependencyError: torch or transformers is not installed.
    """

    def __init__(self, folder: ModelFolder, settings: Settings, device: str) -> None:
        self._torch = import_torch("a dense retriever")
        self._settings, self._device, self._root = settings, device, folder.root
        self._tokenizer, self._model = _load(folder, self._torch, settings)
        self._model.to(device).eval()
        self._budget = _BUDGET.get(settings.device, _LARGE_BUDGET)

    def encode(self, texts: Sequence[str]) -> Floats:
        """The vectors of n texts, shape (n, dims).

        A text's vector does not depend on the other texts, but for the last bits on some machines. A text
        without a token has the zero vector.

        Raises:
            ModelError: the model gives infinite numbers or none.
        """
        ids = self._ids(texts)
        widths = padded(np.fromiter(map(len, ids), np.int64, len(ids)), self._settings.max_length)
        vectors = np.zeros((len(texts), int(self._model.config.hidden_size)), np.float32)
        with self._torch.inference_mode():
            for group in groups(widths, self._budget):
                vectors[group] = self._forward([ids[place] for place in group], int(widths[group[0]]))
        if not np.isfinite(vectors).all():
            raise ModelError(f"the model {self._root} gives vectors that are not finite", "try dtype=float32")
        return vectors

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = []
        for part in _parts(texts):
            ids += self._tokenizer(
                part, truncation=True, max_length=self._settings.max_length, padding=False, return_attention_mask=False
            )["input_ids"]
        return ids

    def _forward(self, ids: list[list[int]], width: int) -> Floats:
        count = len(ids)
        ids = ids * repeats(count, width)
        tokens = np.full((len(ids), width), self._tokenizer.pad_token_id or 0)
        for row, own in zip(tokens, ids, strict=True):
            row[: len(own)] = own
        lengths = self._torch.tensor([len(own) for own in ids], device=self._device)
        mask = self._torch.arange(width, device=self._device) < lengths[:, None]
        batch = self._torch.from_numpy(tokens).to(self._device)
        hidden = self._model(input_ids=batch, attention_mask=mask.long()).last_hidden_state.float()
        pooled = pool(self._settings.pooling, hidden, mask)
        if self._settings.normalize:
            pooled = self._torch.nn.functional.normalize(pooled, dim=1)
        vectors: Floats = pooled[:count].cpu().numpy()
        return vectors


def pool(pooling: Pooling, hidden: Any, mask: Any) -> Any:
    """One vector a text.

    Args:
        pooling: which tokens count.
        hidden: token vectors, shape (texts, tokens, dims).
        mask: true where there is a token and no padding, shape (texts, tokens); true first.
    """
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        last = mask.sum(dim=1) - 1
        return hidden.take_along_dim(last[:, None, None], dim=1)[:, 0]
    return (hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    part: list[str] = []
    room = _CHARACTERS
    for text in texts:
        if part and (len(part) == _TEXTS or len(text) > room):
            yield part
            part, room = [], _CHARACTERS
        part.append(text)
        room -= len(text)
    if part:
        yield part


def _load(folder: ModelFolder, torch: Any, settings: Settings) -> tuple[Any, Any]:
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise MissingDependencyError("a dense retriever", "transformers", "dense") from None
    where = str(folder.transformer)
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=True, trust_remote_code=False)
            model, report = AutoModel.from_pretrained(
                where,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=folder.safe,
                dtype=getattr(torch, settings.dtype),
                output_loading_info=True,
            )
    except Exception as error:  # every layer below has errors of its own: json, pickle, safetensors, tokenizers
        reason = " ".join(str(error).split("\n")[0].split())
        hint = "fetch the model again, or see whether transformers knows its architecture"
        raise ModelError(f"cannot load the model {folder.root}: {type(error).__name__}: {reason}", hint) from None
    # What is missing would be filled with random numbers. The pooler's output is not used here.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ModelError(f"the model {folder.root} lacks {len(missing)} of its weights, such as {missing[0]}")
    _check_tokenizer(tokenizer, folder, settings)
    model.config.use_cache = False
    return tokenizer, model.get_encoder() if model.config.is_encoder_decoder else model


def _check_tokenizer(tokenizer: Any, folder: ModelFolder, settings: Settings) -> None:
    special = tokenizer.num_special_tokens_to_add()
    if settings.max_length <= special:
        raise ModelError(f"max_length={settings.max_length} leaves no room beside {special} special tokens")
    # A vocabulary that does not fit the tokenizer's class may give no error, only no tokens.
    try:
        tokens = len(tokenizer("a word")["input_ids"])
    except Exception as error:  # of the Rust library
        raise ModelError(f"the tokenizer of {folder.root} does not work: {error}", "fetch the model again") from None
    if tokens <= special:
        raise ModelError(f"the tokenizer of {folder.root} makes no tokens", "fetch the model again")
