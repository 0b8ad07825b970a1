"""In which precision a model computes, decided without loading it or torch, since it is part of the identity."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from prlm_bench.files import parse_record
from prlm_bench.interfaces import NOT_BATCH_INVARIANT

from .._hf import Dtype, ModelError
from ._files import ModelFiles

#: Names in the headers of safetensors files.
#: Bytes of a header of safetensors at most, by its format.
_MAX_HEADER = 100_000_000
_STORED = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
#: Flags of processors that multiply matrices of bfloat16: others emulate it, slower than float32. ARM has `bf16`.
_NATIVE = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_PROCESSOR = Path("/proc/cpuinfo")


def resolved_dtype(files: ModelFiles, option: Dtype, device: str) -> Dtype:
    """The precision that `dtype=auto` stands for; any other option is itself.

    On a GPU it is that of the file. A CPU computes in float32, which a file in half precision is read into exactly, and
    faster where bfloat16 has to be emulated; in bfloat16 only where the file is stored so and the processor has it.

    Args:
        files: the model's.
        option: as the user gave it.
        device: where the model runs; anything but `cpu` counts as a GPU.

    Returns:
        `auto` only on GPUs, for files in a precision that is no option.
    """
    if option != "auto":
        return option
    stored = _stored(files)
    if device != "cpu":
        return stored
    return "bfloat16" if stored == "bfloat16" and has_bfloat16() else "float32"


def identity_of(dtype: Dtype, quantized: bool) -> list[str]:
    """Parts of a fingerprint: the precision, and whether answers may hang on the batch, as where numbers are short."""
    return [f"dtype={dtype}", *([NOT_BATCH_INVARIANT] if quantized or dtype in ("bfloat16", "float16") else [])]


def has_bfloat16() -> bool:
    """Whether this machine's processor multiplies matrices of bfloat16; no, where the system does not tell."""
    return bool(_NATIVE & _flags(_PROCESSOR))


@lru_cache(maxsize=2)
def _flags(path: Path) -> frozenset[str]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return frozenset()
    found = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(found, []))


def _stored(files: ModelFiles) -> Dtype:
    """The precision that config.json names, else that of the first weights, as transformers takes it."""
    text = files.config.get("text_config")
    for config in (files.config, text if isinstance(text, dict) else {}):
        name = str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")
        if name:
            break
    else:
        name = next(filter(None, map(_in_header, sorted(files.folder.glob("*.safetensors")))), "")
    return next((known for known in get_args(Dtype) if known == name), "auto")


def _in_header(path: Path) -> str | None:
    """The precision of a file's first tensor of floating point numbers."""
    try:
        with path.open("rb") as file:
            text = file.read(min(int.from_bytes(file.read(8), "little"), _MAX_HEADER))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None
    header = parse_record(text, dict[str, dict[str, Any]], str(path), "fetch or write the file again", ModelError)
    return next((_STORED[one["dtype"]] for one in header.values() if one.get("dtype") in _STORED), None)
