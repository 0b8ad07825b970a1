"""Generators behind any OpenAI-compatible server: vLLM, SGLang, TGI, llama.cpp, Ollama, or a hosted one."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl


def served_model(base_url: str, model: str) -> str:
    """What a server says about a model, for the identity of whatever answers with it.

    Args:
        base_url: the part of the address before `/chat/completions`.
        model: the model's name on the server.

    Returns:
        One line, which ends with `model not verified` if nothing in it tells the model from another of this name.

    Raises:
        RunError: the server cannot be reached, rejects the key in OPENAI_API_KEY, or sends a web page.
        SpecError: the address is not complete.
    """
    from ._served import query_model
    from ._server import Server, read_key, read_url

    name = "OPENAI_API_KEY"
    server = Server(read_url(base_url), model, read_key(name), name, concurrency=1, timeout=10.0, max_retries=0)
    return query_model(server)[0]


@hookimpl
def prlm_bench_register_generators(register: Any) -> None:
    """Register `openai-api`."""
    register("openai-api", "._generator:OpenAIServer", cached=True)
