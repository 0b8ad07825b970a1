"""Which models the static engine takes: found out once for a checkpoint, before the first answer.

Two questions: whether the model is of a kind that the engine is written for (`why_ordinary`), and whether it then
computes what `generate()` computes (`bears_static`), tried on a few prompts and remembered as ways of batching are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from prlm_bench.errors import PrlmBenchError

from .._hf import ModelError, is_out_of_memory, one_line
from ._batching import NEW_TOKENS, alone, remembered, same_logits, trial_prompts
from ._buckets import Bucket, Limits, bucket_length
from ._decoding import Decoding, changes_scores
from ._loading import LoadedModel
from ._slots import Writer
from ._static_engine import MOST_ROWS, StaticEngine, chooser

_log = logging.getLogger(__name__)
EngineName = Literal["auto", "static", "ordinary"]
#: Classes of transformers whose layers attend to all tokens before, through one cache; the tests compare them.
_TAKEN = ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
_DTYPES = ("torch.float32", "torch.bfloat16")
#: Changes when the check does.
_VERSION = 1
#: Tokens of a trial prompt that are read at a time: fewer than the longest has.
_TRIAL_CHUNK = 64


def why_ordinary(loaded: LoadedModel, decoding: Decoding | None = None) -> str | None:
    """Why the static engine is not for a model, in a few words; None where it may be.

    Args:
        loaded: the model.
        decoding: how it is to write, if by the settings of the checkpoint.
    """
    model = loaded.model
    config = model.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    devices = {str(weights.device) for weights in model.parameters()}
    devices |= {str(device) for device in (getattr(model, "hf_device_map", None) or {}).values()} & {"cpu", "disk"}
    reasons = {
        f"it is a {type(model).__name__}": type(model).__name__ not in _TAKEN,
        "its weights are quantized": bool(getattr(model, "is_quantized", False)),
        "it is spread over several devices": len(devices) > 1,
        f"its weights are {str(model.dtype).removeprefix('torch.')}": str(model.dtype) not in _DTYPES,
        "some of its layers attend to a window": kinds != {"full_attention"},
        "its positions depend on the length of the text": loaded.reach is not None,
        f"its attention is {config._attn_implementation}": config._attn_implementation not in ("sdpa", "eager"),
    }
    if decoding is not None:
        reasons["its generation_config.json changes which token comes next"] = changes_scores(model.generation_config)
        reasons["it is to search with beams"] = decoding.beams > 1
    return next((reason for reason, holds in reasons.items() if holds), None)


def bears_static(loaded: LoadedModel, label: str, identity: str, folder: Path, tokens: Sequence[int]) -> bool:
    """Whether the static engine computes what `generate()` does for a model; remembered by the model's identity.

    Args:
        loaded: a model that `why_ordinary` says nothing about.
        label: its name, for messages.
        identity: of everything that decides what it writes: files, settings, device and libraries.
        folder: where the result is remembered.
        tokens: ordinary tokens of the model.

    Raises:
        ModelError: `generate()` itself fails.
    """

    def check(content: Any) -> bool | None:
        found = content["static"]
        return found if isinstance(found, bool) else None

    found = remembered(
        folder,
        f"static {_VERSION}\n{identity}",
        check,
        lambda: same_as_generate(loaded, label, tokens),
        lambda static: {"static": static, "model": label},
    )
    _log.info("%s: the static engine %s", label, "is used" if found else "computes other logits than generate()")
    return found


def same_as_generate(loaded: LoadedModel, label: str, tokens: Sequence[int]) -> bool:
    """Whether the static engine gives the tokens and logits of `generate()` for a few prompts.

    Args:
        loaded: a model that `why_ordinary` says nothing about.
        label: its name, for messages.
        tokens: ordinary tokens of the model.

    Raises:
        ModelError: `generate()` itself fails.
    """
    prompts = trial_prompts(loaded, tokens)
    wanted = alone(loaded, label, prompts)
    try:
        # A step that draws has to be captured too; what it draws is the ordinary engine's by construction.
        drawing = Bucket.empty(Writer(loaded.model, chooser(Decoding(1, 1.0, 0.9))), 2, 64, 1, ())
        drawing.read({0: prompts[0]}, torch.zeros(1, 1, dtype=torch.double))
        drawing.advance(1)
        return same_logits(loaded, trace_static(loaded, prompts, NEW_TOKENS), wanted)
    except Exception as error:  # what a model or a driver does not bear may raise anything
        if is_out_of_memory(error):
            raise
        _log.warning("%s: the static engine fails: %s", label, one_line(error))
        return False


def trace_static(loaded: LoadedModel, prompts: Sequence[list[int]], count: int) -> list[tuple[list[int], Any]]:
    """The most likely tokens behind each prompt and their logits; the last prompt comes when others are half done.

    Args:
        loaded: the model.
        prompts: token ids; at least two.
        count: of new tokens.

    Returns:
        For each prompt `count` tokens, and logits of shape (count, vocabulary).
    """
    length = bucket_length(max(map(len, prompts)) + 2 * count)
    bucket = Bucket.empty(Writer(loaded.model, chooser(Decoding(1))), len(prompts), length, 2 * count, ())
    logits: list[list[Any]] = [[] for _ in prompts]
    bucket.read(dict(enumerate(prompts[:-1])), None, _TRIAL_CHUNK)
    for number in range(count + count // 2):
        if number == count // 2:
            bucket.read({len(prompts) - 1: prompts[-1]}, None, _TRIAL_CHUNK)
        scores = bucket.slots.scores.to("cpu", torch.float32, copy=True)
        for row, seen in enumerate(logits):
            if len(seen) < count and (row < len(prompts) - 1 or number >= count // 2):
                seen.append(scores[row])
        bucket.advance(1)
    answers = bucket.slots.answers[:, :count].tolist()
    return [(row, torch.stack(steps)) for row, steps in zip(answers, logits, strict=True)]


def choose_engine(
    loaded: LoadedModel,
    decoding: Decoding,
    wanted: EngineName,
    bears: Callable[[], bool],
    label: str,
    *,
    rows: int | None = None,
    tokens: int,
) -> StaticEngine | None:
    """The static engine for a model, kept with it; None where the ordinary one is to be used.

    Args:
        loaded: the model.
        decoding: how to write.
        wanted: `auto` takes it on a GPU where the model bears it.
        bears: see `bears_static`; asked once for a loaded model.
        label: of the model, for messages.
        rows: that write together at most; by default what suits the device.
        tokens: of a bucket at most, on a CPU.

    Raises:
        ModelError: it is wanted, and cannot run the model.
    """
    kind = loaded.model.device.type
    if wanted == "ordinary" or (wanted == "auto" and kind != "cuda"):
        return None
    reason = why_ordinary(loaded, decoding)
    if reason is None:
        if "bears" not in loaded.engines:
            loaded.engines["bears"] = bears()
        reason = None if loaded.engines["bears"] else "it computes other logits than generate() there"
    if reason is not None:
        if wanted == "static":
            raise ModelError(f"engine=static cannot run {label}: {reason}", "leave engine out: every model runs so")
        if "warned" not in loaded.engines:
            loaded.engines["warned"] = True
            _log.warning("%s goes the ordinary way, without CUDA graphs: %s", label, reason)
        return None
    limits = Limits(rows or MOST_ROWS.get(kind, 64), None if kind == "cuda" else tokens)
    key = (decoding, limits)
    for other, engine in loaded.engines.items():
        if isinstance(engine, StaticEngine) and other != key:
            engine.pool.release()
    if key not in loaded.engines:
        loaded.engines[key] = StaticEngine(loaded, decoding, limits)
    found: StaticEngine = loaded.engines[key]
    return found


def device_lost(error: BaseException) -> PrlmBenchError | None:
    """The one line for an error that says that a GPU failed or is gone; None for other errors."""
    first = str(error).partition("\n")[0]
    signs = ("CUDA error", "CUDA driver", "device-side assert", "HIP error", "CUBLAS_STATUS", "CUDNN_STATUS", "NVML")
    if not isinstance(error, RuntimeError) or not any(sign in first for sign in signs):
        return None
    hint = "finished answers are kept: repeat the command to go on"
    return PrlmBenchError(f"the GPU failed: {one_line(RuntimeError(first))}", hint)
