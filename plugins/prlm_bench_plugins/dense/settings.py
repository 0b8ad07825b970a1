"""How texts become vectors: what the user gave, else what the model's folder says, else defaults."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from .errors import ModelError
from .folder import ModelFolder, read_json

Pooling = Literal["mean", "cls", "last"]
Dtype = Literal["float32", "bfloat16"]

#: Changes with the code, wherever the same settings would give other vectors.
SCHEME = 1
_NO_LIMIT = 1_000_000
_MODULES = {"Transformer", "Pooling", "Normalize"}
#: Architectures that count positions from 2.
_OFFSET = {"camembert", "data2vec-text", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything besides the model's files that its vectors depend on."""

    #: Which token vectors stand for the text: their mean, the first one, or the last one.
    pooling: Pooling
    #: Scale vectors to length 1, so that a dot product is a cosine.
    normalize: bool
    #: Longest input in tokens, special tokens included; the rest of a text is not read.
    max_length: int
    dtype: Dtype
    #: The kind of device; `cuda` and `cpu` differ in the last bits.
    device: str
    #: Where `pooling` comes from: `given`, `folder` or `default`.
    pooling_from: str = "given"

    def describe(self) -> str:
        """All of it in one line."""
        source = "" if self.pooling_from == "given" else f" ({self.pooling_from})"
        return (
            f"pooling={self.pooling}{source} normalize={str(self.normalize).lower()} "
            f"max_length={self.max_length} dtype={self.dtype} device={self.device}"
        )

    def identity(self, model: str, versions: dict[str, str]) -> bytes:
        """A 32-byte name for the vectors of the model whose files have the hash `model`."""
        settings = asdict(self)
        del settings["pooling_from"]
        everything = {"scheme": SCHEME, "model": model, **settings, **versions}
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).digest()


def resolve_settings(
    folder: ModelFolder,
    pooling: Pooling | None,
    normalize: bool | None,
    max_length: int | None,
    dtype: Dtype,
    device: str,
) -> Settings:
    """Settings with the gaps filled.

    The folder's `1_Pooling` decides pooling where it is not given, else the mean is taken. Vectors are normalized
    unless the folder's sentence-transformers settings name the dot product. The longest input is that of the
    sentence-transformers settings, else of the tokenizer, else of the model.

    Raises:
        ModelError: the folder asks for a module or a pooling that is not offered here.
        ValueError: a length that the model cannot take.
    """
    source = "given"
    if pooling is None:
        pooling, source = _folder_pooling(folder)
    if normalize is None:
        similarity = read_json(folder.root / "config_sentence_transformers.json", dict).get("similarity_fn_name")
        normalize = similarity not in ("dot", "dot_product")
    other = sorted(set(folder.modules) - _MODULES)
    if other:
        raise ModelError(f"{folder.root} needs the module {other[0]}, which is not offered", "choose another encoder")
    length = _length(folder, max_length)
    return Settings(pooling, normalize, length, dtype, device.partition(":")[0], source)


def _folder_pooling(folder: ModelFolder) -> tuple[Pooling, str]:
    path = folder.modules.get("Pooling", folder.root / "1_Pooling") / "config.json"
    config = read_json(path, dict)
    if not config:
        return "mean", "default"
    named: Any = config.get("pooling_mode")
    names = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}
    active = [key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on]
    modes = active if named is None else [named] if isinstance(named, str) else list(named)
    short = [names.get(mode, mode) for mode in modes]
    offered: tuple[Pooling, ...] = get_args(Pooling)
    for mode in offered:
        if short == [mode]:
            return mode, "folder"
    given = " and ".join(map(str, modes)) or "none"
    raise ModelError(f"{path} asks for the pooling {given}, which is not offered", "give pooling=mean, cls or last")


def _length(folder: ModelFolder, given: int | None) -> int:
    config = folder.transformer / "config.json"
    positions = _positive(config, "max_position_embeddings")
    if positions and read_json(config, dict).get("model_type") in _OFFSET:
        positions -= 2
    limit = positions or _NO_LIMIT
    if given is not None:
        if not 1 <= given <= limit:
            raise ValueError(f"max_length={given}: this model takes 1 to {limit} tokens")
        return given
    sentence = _positive(folder.root / "sentence_bert_config.json", "max_seq_length")
    tokenizer = _positive(folder.transformer / "tokenizer_config.json", "model_max_length")
    return min(sentence or tokenizer or positions or 512, limit)


def _positive(path: Path, key: str) -> int | None:
    value = read_json(path, dict).get(key)
    # Tokenizers without a limit name a number beyond all bounds.
    return value if isinstance(value, int) and 0 < value < _NO_LIMIT else None
