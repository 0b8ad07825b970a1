"""A model's files: where they are, whether they can be used, and what tells them from any other model's.

Nothing here loads weights, so a run can be planned in a moment, and a mistake is found before it starts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prlm_bench.errors import PrlmBenchError

_TEXT = ("*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken")
_WEIGHTS, _PICKLES, _CODE = ("*.safetensors",), ("*.bin",), ("*.py",)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tokenizer_config.json")
#: Ends of the class names of models that write text.
_WRITERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "MTModel")
_WINDOWS = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length")
#: Files that say how a model was made; they do not change what it writes.
_NOTES = ("manifest.json", "trainer_state.json")


@dataclass(frozen=True)
class ModelFiles:
    """A folder with a model, looked through but not loaded.

    Args:
        name: as the user gave it.
        folder: where the files are.
        patterns: which files count.
        config: the content of config.json.
    """

    name: str
    folder: Path
    patterns: tuple[str, ...]
    config: Mapping[str, Any] = field(hash=False)

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
        """SHA-256 over the names and contents of the files; hashes of unchanged files are remembered."""
        from prlm_bench.data import hash_file

        found = sorted({path for pattern in self.patterns for path in self.folder.glob(pattern)})
        lines = [f"{path.name} {hash_file(cache, path)}" for path in found if path.name not in _NOTES]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def find_model(name: str, revision: str | None, *, code: bool = False, pickle: bool = False) -> ModelFiles:
    """A model by folder or hub name; files that are missing are downloaded.

    Args:
        name: a folder, or a name on the hub.
        revision: branch, tag or commit on the hub.
        code: the model's own Python files may run.
        pickle: weights may be pickle files, which can run code too.

    Raises:
        PrlmBenchError: there is no such model, or it cannot be used to write text.
    """
    patterns = (*_TEXT, *_WEIGHTS, *(_CODE if code else ()), *(_PICKLES if pickle else ()))
    folder = find_folder(name, revision, patterns)
    config = _config(name, folder)
    files = ModelFiles(name, folder, patterns, config)
    kinds = config.get("architectures") or []
    if kinds and not code and not any(kind.endswith(_WRITERS) for kind in kinds):
        raise PrlmBenchError(f"model {name!r} is a {kinds[0]}, which cannot write text", "give a language model")
    if not any((folder / file).is_file() for file in _TOKENIZERS):
        raise PrlmBenchError(f"model {name!r} has no tokenizer in {folder}", "save the tokenizer beside the weights")
    check_weights(name, folder, pickle)
    return files


def find_adapter(name: str) -> ModelFiles:
    """A LoRA adapter by folder or hub name.

    Raises:
        PrlmBenchError: there is none, or it cannot be used.
    """
    patterns = ("*.json", *_WEIGHTS)
    folder = find_folder(name, None, patterns)
    if not (folder / "adapter_config.json").is_file():
        raise PrlmBenchError(f"{name!r} is no adapter: {folder} has no adapter_config.json")
    check_weights(name, folder, pickle=False)
    return ModelFiles(name, folder, patterns, _read_json(folder / "adapter_config.json"))


def find_folder(name: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    """The folder of a model or adapter.

    Raises:
        PrlmBenchError: it is neither a folder nor on the hub, as far as the hub can be reached.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise PrlmBenchError(f"{name!r} is a folder, which has no revisions", "leave revision out")
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise PrlmBenchError(f"there is no model folder {name!r}", "give a folder with config.json, or a hub name")
    from huggingface_hub import errors, snapshot_download

    where = f"model {name!r}" + (f" at revision {revision!r}" if revision else "")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))
    except errors.LocalEntryNotFoundError:
        hint = "check the name and the connection, or give a folder"
        raise PrlmBenchError(f"{where} is no folder, is not in the local cache, and no hub answers", hint) from None
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise PrlmBenchError(f"{where} cannot be fetched: {reason}", "check the name, or give a folder") from None


def check_weights(name: str, folder: Path, pickle: bool) -> None:
    """Look at the heads of the weight files.

    Raises:
        PrlmBenchError: there are none, only pickle files, a part is missing, or a file is damaged.
    """
    shards = _shards(folder)
    if not shards:
        if not any(folder.glob("*.bin")):
            raise PrlmBenchError(f"{name!r} has no weights: no *.safetensors in {folder}")
        if not pickle:
            message = f"the weights of {name!r} are pickle files, which can run code when they are loaded"
            raise PrlmBenchError(message, "convert them to safetensors, or allow them with allow_pickle=true")
        return
    from safetensors import SafetensorError, safe_open

    for path in shards:
        try:
            with safe_open(path, framework="np"):
                pass
        except FileNotFoundError:
            raise PrlmBenchError(f"the weights of {name!r} are not whole: {path} is missing") from None
        except (SafetensorError, OSError) as error:
            raise PrlmBenchError(f"{path} is damaged: {error}", "fetch or write the file again") from None


def _shards(folder: Path) -> list[Path]:
    shards = set(folder.glob("*.safetensors"))
    for index in folder.glob("*.safetensors.index.json"):
        shards |= {folder / file for file in _read_json(index).get("weight_map", {}).values()}
    return sorted(shards)


def _config(name: str, folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        hint = "an adapter is given as adapter=FOLDER" if (folder / "adapter_config.json").is_file() else ""
        raise PrlmBenchError(f"{name!r} is no model: {folder} has no config.json", hint)
    return _read_json(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PrlmBenchError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise PrlmBenchError(f"{path} cannot be read: not a JSON object")
    return content
