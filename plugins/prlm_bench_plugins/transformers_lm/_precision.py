"""Whether a model's answers hang on the other prompts of a batch: they do where numbers have few digits."""

from __future__ import annotations

import json
from pathlib import Path

from prlm_bench.interfaces import NOT_BATCH_INVARIANT

from ._files import ModelFiles

_HALF = ("bfloat16", "float16", "BF16", "F16")


def batch_words(files: ModelFiles, dtype: str, quantization: str | None) -> list[str]:
    """What a fingerprint says about batches: `NOT_BATCH_INVARIANT` in half precision, and with quantized weights.

    Args:
        files: the model's.
        dtype: as the option is written; `auto` is that of the files.
        quantization: `8bit`, `4bit` or None.
    """
    found = stored_dtype(files) if dtype == "auto" else dtype
    return [NOT_BATCH_INVARIANT] if quantization or found in _HALF else []


def stored_dtype(files: ModelFiles) -> str:
    """The dtype that transformers loads a checkpoint in: that of config.json, else of its first weights.

    Returns:
        Its name, such as `bfloat16`, or `BF16` as safetensors write it; "" where neither tells.
    """
    named = files.config.get("dtype") or files.config.get("torch_dtype")
    if isinstance(named, str):
        return named.removeprefix("torch.")
    weights = next(iter(sorted(files.folder.glob("*.safetensors"))), None)
    return "" if weights is None else _first_dtype(weights)


def _first_dtype(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size < 100_000_000 else {}
        return next((str(one["dtype"]) for name, one in header.items() if name != "__metadata__"), "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""  # loading says what is wrong with the file
