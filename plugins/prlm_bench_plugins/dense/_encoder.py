"""Texts in, vectors out: a transformers encoder with pooling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._hf import ModelError, import_torch, load_model, load_tokenizer, package_versions, pad_ids, token_batches
from ._cache import Floats
from ._checkpoint import Checkpoint, Pooling, Settings

#: The packages that are needed; their releases may change a vector's last bits, or its tokens.
PACKAGES = ("torch", "transformers", "tokenizers")
#: Texts are padded to the next multiple of so many tokens: more would waste work, fewer leave small batches.
PAD_MULTIPLE = 8
#: Fewest tokens of one pass. Below it, matrix kernels for small shapes give other last bits.
MIN_TOKENS = 64
#: Tokens of one pass. Small passes keep a processor's caches warm; accelerators want large ones.
_BUDGET = {"cpu": 2048}
_LARGE_BUDGET = 1 << 15
#: Texts and characters that are tokenized at once; the tokenizer keeps what it cuts off.
_MAX_TEXTS, _MAX_CHARACTERS = 1024, 1 << 21
_HINT = "fetch the model again, or see whether transformers knows its architecture"


class Encoder:
    """A model in memory.

    Args:
        checkpoint: its folder. Code that it may hold is not run.
        settings: pooling, normalization, length and dtype.
        device: where the model runs.

    Raises:
        ModelError: the checkpoint cannot be loaded, or not all of it is there.
        MissingDependencyError: torch or transformers is not installed.
    """

    def __init__(self, checkpoint: Checkpoint, settings: Settings, device: str) -> None:
        package_versions(PACKAGES, "a dense retriever", "dense")
        self._torch = import_torch()
        self._settings, self._device, self._root = settings, device, checkpoint.root
        self._tokenizer, self._model = _load(checkpoint, settings)
        self._model.to(device).eval()
        self._budget = _BUDGET.get(settings.device, _LARGE_BUDGET)

    def encode(self, texts: Sequence[str]) -> Floats:
        """The vectors of n texts, shape (n, dims).

        A text's vector does not depend on the other texts, but for the last bits on some machines: how far it is
        padded depends on its own length alone. A text without a token has the zero vector.

        Raises:
            ModelError: the model gives infinite numbers or none.
        """
        ids = self._ids(texts)
        widths = padded_lengths(np.fromiter(map(len, ids), np.int64, len(ids)), self._settings.max_length)
        places = np.flatnonzero(widths)
        vectors = np.zeros((len(texts), int(self._model.config.hidden_size)), np.float32)
        with self._torch.inference_mode():
            for batch in token_batches(widths[places].tolist(), self._budget, same_length=True):
                group = places[batch]
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
        # Repeated until they fill a pass.
        ids = ids * -(-MIN_TOKENS // (count * width))
        tokens, mask = pad_ids(ids, self._tokenizer.pad_token_id or 0, left=False, width=width)
        tokens, mask = tokens.to(self._device), mask.to(self._device)
        hidden = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state.float()
        pooled = pool(self._settings.pooling, hidden, mask.bool())
        if self._settings.normalize:
            pooled = self._torch.nn.functional.normalize(pooled, dim=1)
        vectors: Floats = pooled[:count].cpu().numpy()
        return vectors


def padded_lengths(lengths: NDArray[np.int64], max_length: int) -> NDArray[np.int64]:
    """To how many tokens n texts are padded, shape (n,): a multiple of `PAD_MULTIPLE`, but not beyond `max_length`."""
    return np.minimum(-(-lengths // PAD_MULTIPLE) * PAD_MULTIPLE, max_length)


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
    free = _MAX_CHARACTERS
    for text in texts:
        if part and (len(part) == _MAX_TEXTS or len(text) > free):
            yield part
            part, free = [], _MAX_CHARACTERS
        part.append(text)
        free -= len(text)
    if part:
        yield part


def _load(checkpoint: Checkpoint, settings: Settings) -> tuple[Any, Any]:
    what = f"the model {checkpoint.root}"
    tokenizer = load_tokenizer(checkpoint.transformer, what, hint=_HINT)
    model = load_model(
        "AutoModel",
        checkpoint.transformer,
        what,
        dtype=settings.dtype,
        safetensors=checkpoint.safe,
        may_lack=("pooler.",),  # whose output is not used here
        hint=_HINT,
    )
    _check_tokenizer(tokenizer, checkpoint, settings)
    model.config.use_cache = False
    return tokenizer, model.get_encoder() if model.config.is_encoder_decoder else model


def _check_tokenizer(tokenizer: Any, checkpoint: Checkpoint, settings: Settings) -> None:
    special = tokenizer.num_special_tokens_to_add()
    if settings.max_length <= special:
        raise ModelError(f"max_length={settings.max_length} leaves no room beside {special} special tokens")
    where, hint = f"the tokenizer of {checkpoint.root}", "fetch the model again"
    # A vocabulary that does not fit the tokenizer's class may give no error, only no tokens.
    try:
        tokens = len(tokenizer("a word")["input_ids"])
    except Exception as error:  # of the Rust library
        raise ModelError(f"{where} does not work: {error}", hint) from None
    if tokens <= special:
        raise ModelError(f"{where} makes no tokens", hint)
