"""GGUF models by llama.cpp, in this process: quantized weights on a CPU, or on a GPU that its wheel was built for."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

_EXTRA = "prlm-bench[llama-cpp]"


@hookimpl
def prlm_bench_register_generators(register: Any) -> None:
    """Register `llama-cpp`."""
    requires = {"xllamacpp": _EXTRA, "gguf": _EXTRA}
    register("llama-cpp", "._generator:LlamaCppGenerator", requires=requires, cached=True)
