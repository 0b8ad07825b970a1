"""The folder that a trainer of this plugin leaves: it appears when it is whole, and is judged as read back."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from prlm_bench.errors import PrlmBenchError
from prlm_bench.prompting import quiet_transformers

MANIFEST = "manifest.json"


@contextmanager
def whole(output: Path) -> Iterator[Path]:
    """A folder that takes the name `output` only when the block ends well.

    Raises:
        PrlmBenchError: `output` is there already, or cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise PrlmBenchError(f"{output} is there already", "give another folder, or remove it")
    scratch = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        scratch.mkdir(parents=True)
        yield scratch
        scratch.rename(output)
    except OSError as error:
        raise PrlmBenchError(f"{error.filename or output}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write weights in 16-bit floats, configuration and tokenizer."""
    import torch
    from safetensors.torch import save_file

    model = model.to(torch.bfloat16)
    tied = "lm_head.weight"  # the same numbers as the embedding
    weights = {name: value.contiguous() for name, value in model.state_dict().items() if name != tied}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # it comes readable for its owner alone
    model.config.architectures = [type(model).__name__]
    model.config.dtype = model.dtype
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def reload(folder: Path) -> tuple[Any, Any]:
    """Model, in single precision, and tokenizer, as anyone loads them.

    What is judged is what a user will load: files that read otherwise than they were made show there.
    """
    import transformers

    auto: Any = transformers
    with quiet_transformers():
        model = auto.AutoModelForCausalLM.from_pretrained(folder, dtype="float32", local_files_only=True)
        return model.eval(), auto.AutoTokenizer.from_pretrained(folder, local_files_only=True)


def finish(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest: the facts, the libraries, and the hash of each file; returns it."""
    import torch

    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    manifest = {**facts, "threads": torch.get_num_threads(), "versions": _versions(), "files": files}
    (folder / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
    return manifest


def code_fingerprint() -> str:
    """The code of this plugin and the libraries."""
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    versions = (f"{name}={number}" for name, number in _versions().items())
    return " ".join([f"code={hashlib.sha256(code).hexdigest()[:16]}", *versions])


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("prlm-bench", "torch", "transformers", "tokenizers")}
