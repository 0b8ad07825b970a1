"""A model's folder: where it is, which files it holds, and how texts become vectors by it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel

from prlm_bench.files import load_json

from .._hf import ModelError, find_folder, hash_files, model_source, read_json

Pooling = Literal["mean", "cls", "last"]
Dtype = Literal["float32", "bfloat16"]

#: Changes with the code, wherever the same settings would give other vectors.
SCHEME = 1
#: The files of a repository that are fetched, and those where it has no safetensors.
_WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")
_PICKLED = ("pytorch_model*.bin",)
_OTHER_FORMATS = ("onnx/*", "openvino/*", "coreml/*", "tf_model*", "flax_model*")
_SUFFIXES = {".json", ".txt", ".model", ".safetensors", ".bin"}
_NO_LIMIT = 1_000_000
_MODULES = {"Transformer", "Pooling", "Normalize"}
#: Architectures that count positions from 2.
_OFFSET = {"camembert", "data2vec-text", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta"}


def find_checkpoint(name: str) -> Path:
    """The folder of an encoder: `name` itself, or the hub's snapshot of `name` or `name@revision`.

    Raises:
        ModelError: there is no such folder, and the hub cannot provide it.
    """
    return find_folder(str(model_source(name)), _WANTED, fallback=_PICKLED, ignore=_OTHER_FORMATS, prefer_local=True)


class _Module(BaseModel):
    """An entry of modules.json."""

    type: str = ""
    path: str = ""


class Checkpoint:
    """A transformers checkpoint, with the settings of sentence-transformers where it has them.

    Args:
        root: the folder.

    Raises:
        ModelError: it has no config or no weights, or modules outside its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        path = root / "modules.json"
        #: The sentence-transformers modules by the last part of their type, each with its folder.
        self.modules = {
            module.type.rpartition(".")[2]: _below(root, module.path)
            for module in (load_json(path, list[_Module], error=ModelError) if path.is_file() else ())
        }
        #: Where config, weights and tokenizer are: the folder itself, but for some old checkpoints.
        self.transformer = self.modules.get("Transformer", root)
        #: True where the weights are safetensors files; older checkpoints have pickled ones.
        self.safe = any(self.transformer.glob("*.safetensors"))
        if not (self.transformer / "config.json").is_file():
            raise ModelError(f"{root} holds no model: there is no config.json", "give a transformers checkpoint")
        if not self.safe and not any(self.transformer.glob("pytorch_model*.bin")):
            raise ModelError(
                f"{root} has no weights: there is no *.safetensors or pytorch_model*.bin", "copy the weights too"
            )

    def digest(self, cache: Path) -> str:
        """SHA-256 over names and contents of the files that decide what the model computes, as hex.

        Args:
            cache: the cache folder, where the hashes of files are remembered.

        Raises:
            DataError: a file cannot be read, or changes meanwhile.
        """
        folders = dict.fromkeys([self.root, self.transformer, *self.modules.values()])
        found = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()]
        unused = ".bin" if self.safe else ".safetensors"
        files = [path for path in found if path.suffix in _SUFFIXES and path.suffix != unused]
        return hash_files(files, self.root, cache)


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
    checkpoint: Checkpoint,
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
        pooling, source = _folder_pooling(checkpoint)
    if normalize is None:
        similarity = _settings(checkpoint.root / "config_sentence_transformers.json").get("similarity_fn_name")
        normalize = similarity not in ("dot", "dot_product")
    other = sorted(set(checkpoint.modules) - _MODULES)
    if other:
        raise ModelError(
            f"{checkpoint.root} needs the module {other[0]}, which is not offered", "choose another encoder"
        )
    length = _length(checkpoint, max_length)
    return Settings(pooling, normalize, length, dtype, device.partition(":")[0], source)


def _below(root: Path, path: str) -> Path:
    """A module's folder, which a checkpoint may only name inside its own."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ModelError(f"{root}: modules.json names {path!r}, which is outside the model's folder", "fetch it again")
    return root / path


def _folder_pooling(checkpoint: Checkpoint) -> tuple[Pooling, str]:
    path = checkpoint.modules.get("Pooling", checkpoint.root / "1_Pooling") / "config.json"
    config = _settings(path)
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


def _length(checkpoint: Checkpoint, given: int | None) -> int:
    config = checkpoint.transformer / "config.json"
    positions = _positive(config, "max_position_embeddings")
    if positions and _settings(config).get("model_type") in _OFFSET:
        positions -= 2
    limit = positions or _NO_LIMIT
    if given is not None:
        if not 1 <= given <= limit:
            raise ValueError(f"max_length={given}: this model takes 1 to {limit} tokens")
        return given
    sentence = _positive(checkpoint.root / "sentence_bert_config.json", "max_seq_length")
    tokenizer = _positive(checkpoint.transformer / "tokenizer_config.json", "model_max_length")
    return min(sentence or tokenizer or positions or 512, limit)


def _positive(path: Path, key: str) -> int | None:
    value = _settings(path).get(key)
    # Tokenizers without a limit name a number beyond all bounds.
    return value if isinstance(value, int) and 0 < value < _NO_LIMIT else None


def _settings(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one where there is no such file."""
    return read_json(path) if path.is_file() else {}
