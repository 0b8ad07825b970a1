"""Loads a model and its tokenizer, once for all generators that use them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from .._hf import Dtype, ModelTooLargeError, fix_rendering, free_memory, load_model, load_tokenizer, loading
from ._adapters import adapted_tokenizer, add_adapter
from ._batching import FASTEST, Batching, Together, choose_batching, position_reach
from ._decoding import followed, own_settings, padding_id, reads_padding
from ._files import ModelFiles

_log = logging.getLogger(__name__)

Quantization = Literal["8bit", "4bit"]


@dataclass(frozen=True)
class LoadSettings:
    """How a model is loaded."""

    dtype: Dtype = "auto"
    #: One device, or how the model is spread over several.
    device: str = "cpu"
    device_map: str | None = None
    adapter: ModelFiles | None = None
    quantization: Quantization | None = None
    #: The model's own Python files may run.
    code: bool = False
    #: Pickled weights may be read.
    pickle: bool = False
    #: How prompts are batched; `auto` finds it out.
    batching: Together | Literal["auto"] = "auto"


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to write."""

    model: Any
    #: Ids of the tokens that end an answer.
    end_ids: tuple[int, ...]
    pad_id: int
    #: Positions, in tokens; None where there is no limit.
    window: int | None = None
    batching: Batching = FASTEST
    #: See `position_reach`.
    reach: int | None = None


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


def load_generation_model(
    files: ModelFiles, identity: str, tokenizer: Any, settings: LoadSettings, cache_dir: Path
) -> LoadedModel:
    """A model, from memory where it has been loaded before.

    Args:
        files: where it is.
        identity: of everything that decides what it writes, so that changed files are loaded anew.
        tokenizer: the model's, of transformers.
        settings: how to load it.
        cache_dir: where it is remembered how its prompts may be batched.

    Raises:
        ModelError: it cannot be loaded.
    """
    try:
        return _POOL.get(
            (identity, settings), lambda: load_unpooled(files, tokenizer, settings, f"{identity} {settings}", cache_dir)
        )
    except ModelTooLargeError:
        message = f"{files.label} does not fit into the memory of {settings.device}"
        hint = "a smaller dtype, quantization, device_map=auto, or a smaller model"
        raise ModelTooLargeError(message, hint) from None


def load_unpooled(
    files: ModelFiles, tokenizer: Any, settings: LoadSettings, identity: str, cache_dir: Path
) -> LoadedModel:
    """A model, loaded anew; see `load_generation_model`.

    Raises:
        ModelError: it cannot be loaded.
    """
    own, ignored = own_settings(files.folder, files.label)
    if ignored:
        _log.warning("%s: generation_config.json sets %s, which is not followed", files.label, ", ".join(ignored))
    options: dict[str, Any] = {} if own is None else {"generation_config": own}
    if settings.quantization is not None:
        options["quantization_config"] = _quantized(settings.quantization)
    with loading(files.label):
        model = load_model(
            "AutoModelForSeq2SeqLM" if files.is_encoder_decoder else "AutoModelForCausalLM",
            files.folder,
            files.label,
            dtype=settings.dtype,
            safetensors=None if settings.pickle else True,
            code=settings.code,
            device_map=settings.device_map,
            **options,
        )
        model.generation_config = followed(model.generation_config.to_dict(), files.label)
        if settings.adapter is not None:
            # Rounded to half precision, merged weights are others than those that peft adds up.
            merge = settings.quantization is None and model.dtype.itemsize > 2
            model = add_adapter(model, files, settings.adapter, code=settings.code, merge=merge)
        if settings.device_map is None and settings.quantization is None:
            model = model.to(settings.device)
    end_ids = _end_ids(model, tokenizer)
    pad_id = padding_id(tokenizer, end_ids, model.generation_config)
    # Ends are given with each call.
    model.generation_config.eos_token_id = None
    loaded = LoadedModel(model.eval(), end_ids, pad_id, files.window, reach=position_reach(model.config))
    if settings.batching != "auto":
        return replace(loaded, batching=Batching(settings.batching, "grown"))
    with loading(files.label):
        found = choose_batching(loaded, files.label, identity, cache_dir, ordinary_tokens(model, tokenizer))
    if found.together == "padded" and reads_padding(model.generation_config):
        found = replace(found, together="same-length")
    return replace(loaded, batching=found)


def _end_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    known = model.generation_config.eos_token_id
    ids = known if isinstance(known, list) else [known]
    return tuple(dict.fromkeys(end for end in [*ids, tokenizer.eos_token_id] if end is not None))


def ordinary_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Tokens of a model that are no special ones."""
    rows = model.get_input_embeddings().weight.shape[0]
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    found = [number for number in range(min(rows, len(tokenizer))) if number not in special]
    return found or [0]


def _quantized(quantization: Quantization) -> Any:
    import transformers

    config: Any = transformers.BitsAndBytesConfig
    return config(load_in_8bit=quantization == "8bit", load_in_4bit=quantization == "4bit")


@lru_cache(maxsize=8)
def cached_tokenizer(files: ModelFiles, adapter: ModelFiles | None, digest: str, code: bool, rendering: str) -> Any:
    """The tokenizer of a model with its adapter, loaded once for all generators that use it.

    Args:
        files: the model's.
        adapter: the adapter's, if there is one.
        digest: identity of both, so that changed files are loaded anew.
        code: its own Python files may run.
        rendering: date and arguments of the chat template, as JSON.

    Raises:
        ModelError: it cannot be loaded, or the adapter's does not fit the model's.
    """
    if adapter is None:
        tokenizer = load_tokenizer(files.folder, files.label, code=code)
    else:
        tokenizer = adapted_tokenizer(files, adapter, code)
    fix_rendering(tokenizer, *json.loads(rendering))
    return tokenizer
