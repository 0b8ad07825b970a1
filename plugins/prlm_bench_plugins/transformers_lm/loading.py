"""Loads a model with its tokenizer, once for all generators that use it, and says in one line what is wrong."""

from __future__ import annotations

import gc
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prlm_bench.errors import PrlmBenchError
from prlm_bench.prompting import quiet_transformers

from .files import ModelFiles

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["8bit", "4bit"]


@dataclass(frozen=True)
class Settings:
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
class Loaded:
    """A model that is ready to write."""

    model: Any
    #: Tokens that end an answer.
    ends: tuple[int, ...]
    pad: int


#: Models by identity and settings. Runs make a generator for each task and seed; the weights are there once.
_loaded: dict[tuple[str, Settings], Loaded] = {}


def load(files: ModelFiles, digest: str, tokenizer: Any, settings: Settings) -> Loaded:
    """The model, from memory where it has been loaded before.

    Args:
        files: where it is.
        digest: its identity, so that changed files are loaded anew.
        tokenizer: the model's, of transformers.
        settings: how to load it.

    Raises:
        PrlmBenchError: it cannot be loaded.
    """
    key = (digest, settings)
    while key not in _loaded:
        try:
            _loaded[key] = _load(files, tokenizer, settings)
        except Exception as error:
            if not is_out_of_memory(error) or not _loaded:
                raise _explained(files, settings, error) from None
            # Other models may be in the way; they are loaded again when they are needed.
            _loaded.clear()
            free_memory()
    return _loaded[key]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    text = str(error).lower()
    phrases = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(phrase in text for phrase in phrases)
    )


def free_memory() -> None:
    """Give back what Python and the accelerator hold without need."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _explained(files: ModelFiles, settings: Settings, error: Exception) -> PrlmBenchError:
    if isinstance(error, PrlmBenchError):
        return error
    if is_out_of_memory(error):
        hint = "a smaller dtype, quantization, device_map=auto, or a smaller model"
        return PrlmBenchError(f"model {files.name!r} does not fit into the memory of {settings.device}", hint)
    reason = " ".join(str(error).split())[:300]
    return PrlmBenchError(f"model {files.name!r} cannot be loaded: {type(error).__name__}: {reason}")


def _load(files: ModelFiles, tokenizer: Any, settings: Settings) -> Loaded:
    import transformers

    kind = "AutoModelForSeq2SeqLM" if files.is_encoder_decoder else "AutoModelForCausalLM"
    options: dict[str, Any] = {"trust_remote_code": settings.code, "local_files_only": True}
    with quiet_transformers():
        model, report = getattr(transformers, kind).from_pretrained(
            files.folder,
            dtype=settings.dtype,
            device_map=settings.device_map,
            use_safetensors=None if settings.pickle else True,
            output_loading_info=True,
            **({} if settings.quantization is None else {"quantization_config": _quantized(settings.quantization)}),
            **options,
        )
        missing = sorted(report["missing_keys"])
        if missing:
            message = f"the weights of {files.name!r} are not whole: {len(missing)} are missing, such as {missing[0]}"
            raise PrlmBenchError(message, "fetch or save the model again")
        if settings.adapter is not None:
            model = _with_adapter(model, files, settings)
        if settings.device_map is None and settings.quantization is None:
            model = model.to(settings.device)
    ends = _ends(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (ends[0] if ends else 0)
    return Loaded(model.eval(), ends, pad)


def _ends(model: Any, tokenizer: Any) -> tuple[int, ...]:
    known = model.generation_config.eos_token_id
    ends = known if isinstance(known, list) else [known]
    return tuple(dict.fromkeys(end for end in [*ends, tokenizer.eos_token_id] if end is not None))


def _quantized(quantization: Quantization) -> Any:
    import transformers

    config: Any = transformers.BitsAndBytesConfig
    return config(load_in_8bit=quantization == "8bit", load_in_4bit=quantization == "4bit")


def _with_adapter(model: Any, files: ModelFiles, settings: Settings) -> Any:
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
        message = f"adapter {str(settings.adapter)!r} does not fit model {files.name!r}: {reason}"
        raise PrlmBenchError(message, "give the model that the adapter was trained for") from None
