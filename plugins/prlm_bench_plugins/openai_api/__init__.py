"""Generators behind any OpenAI-compatible server: vLLM, SGLang, TGI, llama.cpp, Ollama, or a hosted one."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl


@hookimpl
def prlm_bench_register_generators(register: Any) -> None:
    """Register `openai-api`."""
    register("openai-api", "._generator:OpenAIServer", cached=True)
