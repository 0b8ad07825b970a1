"""Loads a model and its tokenizer, once for all generators that use them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from .._hf import (
    Dtype,
    ModelError,
    ModelTooLargeError,
    free_memory,
    is_out_of_memory,
    load_model,
    load_tokenizer,
    loading,
)
from ._files import ModelFiles

Quantization = Literal["8bit", "4bit"]


@dataclass(frozen=True)
class LoadSettings:
    """How a model is loaded."""

    dtype: Dtype = "auto"
    #: One device, or how the model is spread over several.
    device: str = "cpu"
    device_map: str | None = None
    adapter: Path | None = None
    quantization: Quantization | None = None
    #: The model's own Python files may run.
    code: bool = False
    #: Pickled weights may be read.
    pickle: bool = False


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to write."""

    model: Any
    #: Ids of the tokens that end an answer.
    end_ids: tuple[int, ...]
    pad_id: int


class ModelPool:
    """Loaded models by key; they leave when another one needs their memory, and are loaded again when needed."""

    def __init__(self) -> None:
        self._models: dict[Hashable, LoadedModel] = {}

    def __len__(self) -> int:
        return len(self._models)

    def get(self, key: Hashable, load: Callable[[], LoadedModel]) -> LoadedModel:
        """The model of this key, loaded if it is not here.

        Raises:
            ModelTooLargeError: it does not fit into memory without any other model.
            ModelError: it cannot be loaded.
        """
        while key not in self._models:
            try:
                self._models[key] = load()
            except ModelTooLargeError:
                if not self._models:
                    raise
                self._models.clear()
                free_memory()
        return self._models[key]


#: Runs make a generator for each task and seed; the weights are in memory once.
_POOL = ModelPool()


def load_generation_model(files: ModelFiles, digest: str, tokenizer: Any, settings: LoadSettings) -> LoadedModel:
    """A model, from memory where it has been loaded before.

    Args:
        files: where it is.
        digest: its identity, so that changed files are loaded anew.
        tokenizer: the model's, of transformers.
        settings: how to load it.

    Raises:
        ModelError: it cannot be loaded.
    """
    try:
        return _POOL.get((digest, settings), lambda: _load(files, tokenizer, settings))
    except ModelTooLargeError:
        message = f"{files.label} does not fit into the memory of {settings.device}"
        hint = "a smaller dtype, quantization, device_map=auto, or a smaller model"
        raise ModelTooLargeError(message, hint) from None


def _load(files: ModelFiles, tokenizer: Any, settings: LoadSettings) -> LoadedModel:
    with loading(files.label):
        model = load_model(
            "AutoModelForSeq2SeqLM" if files.is_encoder_decoder else "AutoModelForCausalLM",
            files.folder,
            files.label,
            dtype=settings.dtype,
            safetensors=None if settings.pickle else True,
            code=settings.code,
            device_map=settings.device_map,
            **({} if settings.quantization is None else {"quantization_config": _quantized(settings.quantization)}),
        )
        if settings.adapter is not None:
            model = _with_adapter(model, files, settings)
        if settings.device_map is None and settings.quantization is None:
            model = model.to(settings.device)
    end_ids = _end_ids(model, tokenizer)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (end_ids[0] if end_ids else 0)
    return LoadedModel(model.eval(), end_ids, pad_id)


def _end_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    known = model.generation_config.eos_token_id
    ids = known if isinstance(known, list) else [known]
    return tuple(dict.fromkeys(end for end in [*ids, tokenizer.eos_token_id] if end is not None))


def _quantized(quantization: Quantization) -> Any:
    import transformers

    config: Any = transformers.BitsAndBytesConfig
    return config(load_in_8bit=quantization == "8bit", load_in_4bit=quantization == "4bit")


def _with_adapter(model: Any, files: ModelFiles, settings: LoadSettings) -> Any:
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft uses what transformers will drop
            # Where the adapter's weights have other names than the model's layers, peft only warns.
            warnings.filterwarnings("error", message=".*adapter keys.*")
            adapted = PeftModel.from_pretrained(model, str(settings.adapter), is_trainable=False)
            return adapted if settings.quantization else adapted.merge_and_unload()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
        message = f"adapter {str(settings.adapter)!r} does not fit {files.label}: {reason}"
        raise ModelError(message, "give the model that the adapter was trained for") from None


@lru_cache(maxsize=8)
def cached_tokenizer(label: str, folder: Path, digest: str, code: bool) -> Any:
    """A model's tokenizer, loaded once for all generators that use it.

    Args:
        label: the model, for messages.
        folder: where it is.
        digest: its identity, so that changed files are loaded anew.
        code: its own Python files may run.

    Raises:
        ModelError: it cannot be loaded.
    """
    return load_tokenizer(folder, label, code=code)
