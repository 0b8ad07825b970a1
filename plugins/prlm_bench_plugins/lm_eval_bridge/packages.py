"""Which packages a backend of lm_eval asks for only when its model is made, found without making it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

#: By backend, the module that it looks for and what pip calls it, as the constructors in `lm_eval.models` do.
_MODELS = {
    "anthropic-completions": ("anthropic", "anthropic"),
    "litellm": ("litellm", "litellm"),
    "litellm-chat": ("litellm", "litellm"),
    "litellm-chat-completions": ("litellm", "litellm"),
    "mamba_ssm": ("mamba_ssm", "mamba_ssm"),
    "sglang": ("sglang", "sglang"),
    "trtllm": ("tensorrt_llm", "tensorrt_llm"),
    "vllm": ("vllm", "vllm"),
}
#: What every backend asks for that speaks with a server, that is, derives from the class of this name.
_SERVER = "TemplateAPI"
_SERVERS = ("aiohttp", "tqdm", "tenacity", "requests")


def missing_packages(name: str, kind: type[Any], options: Mapping[str, str]) -> list[str]:
    """What pip would have to install before the backend could be made with these options.

    Args:
        name: of the backend.
        kind: its class.
        options: its own, as text.
    """
    needed = [_MODELS[name]] if name in _MODELS else []
    if any(base.__name__ == _SERVER for base in kind.__mro__):
        needed += [(package, package) for package in (*_SERVERS, *_tokenizer(kind, options))]
    return [package for module, package in needed if find_spec(module) is None]


def _tokenizer(kind: type[Any], options: Mapping[str, str]) -> list[str]:
    """The package that the tokenizer comes from, where the backend has one of its own."""
    parameter = inspect.signature(kind).parameters.get("tokenizer_backend")
    chosen = options.get("tokenizer_backend", parameter.default if parameter else None)
    if chosen == "tiktoken" and "tokenizer" not in options:
        return ["tiktoken"]
    return ["transformers"] if chosen in ("tiktoken", "huggingface") else []
