"""A model's files: whether they can be used, and what identifies them.

Nothing here loads weights, so that a run is planned within a moment, and a mistake is found before it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prlm_bench.data import hash_file
from prlm_bench.files import read_text

from .._hf import (
    GgufHeader,
    ModelError,
    auto_dtype,
    check_gguf,
    converted,
    find_folder,
    find_gguf,
    hash_files,
    is_encoder_decoder,
    read_json,
)

_TEXT = ("*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken")
_WEIGHTS, _PICKLES, _CODE = ("*.safetensors",), ("*.bin",), ("*.py",)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tokenizer_config.json")
#: Ends of the class names of models that write text.
_WRITERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "MTModel")
_WINDOWS = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length")
#: Files that record how a model was made; they do not change what it writes.
_NOTES = ("manifest.json", "trainer_state.json")


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model, checked but not loaded.

    Args:
        name: as the user gave it.
        source: the folder, or the GGUF file.
        patterns: the files of a folder that count, as globs.
        config: the content of config.json; of a GGUF file, what is used here.
        header: of a GGUF file.
    """

    name: str
    source: Path
    patterns: tuple[str, ...]
    config: Mapping[str, Any] = field(hash=False)
    header: GgufHeader | None = None

    @property
    def folder(self) -> Path:
        """What transformers loads. A GGUF file is converted when it is first asked for, not while a run is planned.

        Raises:
            ModelError: it cannot be converted.
        """
        return self.source if self.header is None else converted(self.header)

    @property
    def label(self) -> str:
        """The model in messages."""
        return f"model {self.name!r}"

    @property
    def has_tokenizer(self) -> bool:
        """Whether there is a whole tokenizer."""
        if self.header is not None:
            return self.header.has_tokenizer
        return any((self.folder / file).is_file() for file in _TOKENIZERS if file != "tokenizer_config.json")

    @property
    def template(self) -> str | None:
        """The chat template, as text; None where there is none."""
        if self.header is not None:
            return self.header.template
        path = self.folder / "chat_template.jinja"
        if path.is_file():
            return read_text(path)
        path = self.folder / "tokenizer_config.json"
        found = read_json(path).get("chat_template") if path.is_file() else None
        if isinstance(found, list):  # several by name
            found = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}.get("default")
        return found if isinstance(found, str) else None

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether an encoder reads the prompt."""
        return bool(self.config.get("is_encoder_decoder"))

    @property
    def window(self) -> int | None:
        """The positions that the model has, in tokens; None where it sets no limit (T5)."""
        text = self.config.get("text_config")
        config = text if isinstance(text, dict) else self.config
        relative = "relative_attention_num_buckets" in config
        sizes = [config[name] for name in _WINDOWS if isinstance(config.get(name), int)]
        return sizes[0] if sizes and not relative else None

    def digest(self, cache: Path) -> str:
        """SHA-256 over names and contents of the files; hashes of unchanged files are remembered in `cache`.

        That of a GGUF file is of its content, not of what it was converted to.
        """
        if self.header is not None:
            return hash_file(cache, self.source)
        found = (path for pattern in self.patterns for path in self.folder.glob(pattern))
        return hash_files((path for path in found if path.name not in _NOTES), self.folder, cache)


def find_model(
    name: str, revision: str | None, *, code: bool = False, pickle: bool = False, gguf_file: str | None = None
) -> ModelFiles:
    """A model by folder, GGUF file or hub name; files that are missing are downloaded.

    Args:
        name: a folder, a GGUF file, a name on the hub, or that of a model that comes as a Python package.
        revision: branch, tag or commit on the hub.
        code: the model's own Python files may run.
        pickle: weights may be pickle files, which can run code too.
        gguf_file: name of a GGUF file in the folder or repository.

    Raises:
        ModelError: there is no such model, or it cannot be used to write text.
    """
    path = find_gguf(name, gguf_file, revision)
    if path is not None:
        return _gguf_files(name if gguf_file is None else f"{name}/{gguf_file}", path)
    patterns = (*_TEXT, *_WEIGHTS, *(_CODE if code else ()), *(_PICKLES if pickle else ()))
    folder = find_folder(name, patterns, revision=revision)
    if not (folder / "config.json").is_file():
        hint = "an adapter is given as adapter=FOLDER" if (folder / "adapter_config.json").is_file() else ""
        raise ModelError(f"{name!r} is not a model: {folder} has no config.json", hint)
    files = ModelFiles(name, folder, patterns, read_json(folder / "config.json"))
    kinds = files.config.get("architectures") or []
    if kinds and not code and not any(kind.endswith(_WRITERS) for kind in kinds):
        raise ModelError(f"model {name!r} is a {kinds[0]}, which cannot write text", "give a language model")
    if not any((folder / file).is_file() for file in _TOKENIZERS):
        raise ModelError(f"model {name!r} has no tokenizer in {folder}", "save the tokenizer beside the weights")
    check_weights(name, folder, pickle)
    return files


def _gguf_files(name: str, path: Path) -> ModelFiles:
    header = check_gguf(path)
    config: dict[str, Any] = {"is_encoder_decoder": is_encoder_decoder(header), "dtype": auto_dtype(header)}
    if header.window is not None and not is_encoder_decoder(header):
        config["max_position_embeddings"] = header.window
    return ModelFiles(name, path, (path.name,), config, header)


def find_adapter(name: str) -> ModelFiles:
    """A LoRA adapter by folder or hub name.

    Raises:
        ModelError: there is none, or it cannot be used.
    """
    patterns = (*_TEXT, *_WEIGHTS)
    folder = find_folder(name, patterns, what="adapter")
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"{name!r} is not an adapter: {folder} has no adapter_config.json")
    check_weights(name, folder, pickle=False)
    config = read_json(folder / "adapter_config.json")
    if config.get("megatron_config"):  # peft imports the module that stands beside it, whatever it is
        raise ModelError(f"adapter {name!r} names Python code that is to be imported, which is not run")
    return ModelFiles(name, folder, patterns, config)


def check_weights(name: str, folder: Path, pickle: bool) -> None:
    """Read the headers of the weight files.

    Raises:
        ModelError: there are none, only pickle files, a part is missing, or a file is damaged.
    """
    shards = _shards(folder)
    if not shards:
        if not any(folder.glob("*.bin")):
            raise ModelError(f"{name!r} has no weights: no *.safetensors in {folder}")
        if not pickle:
            message = f"the weights of {name!r} are pickle files, which can run code when they are loaded"
            raise ModelError(message, "convert them to safetensors, or allow them with allow_pickle=true")
        return
    from safetensors import SafetensorError, safe_open

    for path in shards:
        try:
            with safe_open(path, framework="np"):
                pass
        except FileNotFoundError:
            raise ModelError(f"the weights of {name!r} are incomplete: {path} is missing") from None
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} is damaged: {error}", "fetch or write the file again") from None


def _shards(folder: Path) -> list[Path]:
    shards = set(folder.glob("*.safetensors"))
    for index in folder.glob("*.safetensors.index.json"):
        files = {str(file) for file in read_json(index).get("weight_map", {}).values()}
        if outside := sorted(file for file in files if Path(file).name != file):
            raise ModelError(f"{index} names {outside[0]!r}, which is outside its folder", "fetch the model again")
        shards |= {folder / file for file in files}
    return sorted(shards)
