"""What can be known of a backend of lm_eval without loading its model: its identity and what it needs."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from prlm_bench.data import hash_file
from prlm_bench.errors import PrlmBenchError
from prlm_bench.files import expanded

from .._hf import stated_settings

#: Packages that answers may depend on, where they are installed.
_PACKAGES = ("lm_eval", "torch", "transformers", "tokenizers", "peft", "vllm", "sglang", "litellm", "optimum")
#: Options that name a model, or a part of one, on the hub unless they are a local path.
_ON_THE_HUB = ("pretrained", "tokenizer", "peft", "delta")
#: By backend, the module that its constructor in `lm_eval.models` imports, and its name for pip.
_MODEL_PACKAGES = {
    "anthropic-completions": ("anthropic", "anthropic"),
    "litellm": ("litellm", "litellm"),
    "litellm-chat": ("litellm", "litellm"),
    "litellm-chat-completions": ("litellm", "litellm"),
    "mamba_ssm": ("mamba_ssm", "mamba_ssm"),
    "sglang": ("sglang", "sglang"),
    "trtllm": ("tensorrt_llm", "tensorrt_llm"),
    "vllm": ("vllm", "vllm"),
}
#: Base class of the backends that use a server, and the packages that it needs.
_SERVER_CLASS = "TemplateAPI"
_SERVER_PACKAGES = ("aiohttp", "tqdm", "tenacity", "requests")
#: Backends that answer by `generate()` of transformers, and what else it reads of generation_config.json there.
_GENERATE = ("hf", "hf-auto", "huggingface")
_MORE_FOLLOWED = ("guidance_scale", "num_beam_groups", "num_beams", "penalty_alpha", "stop_strings")
#: Seconds to wait for the hub.
_TIMEOUT = 10.0


def check_folders(options: Mapping[str, str]) -> None:
    """Check, before a run begins, that the folders in options exist.

    Raises:
        PrlmBenchError: one does not.
    """
    for name in _ON_THE_HUB:
        value = options.get(name, "")
        if value.startswith(("/", ".", "~")) and not expanded(value).exists():
            raise PrlmBenchError(f"{name}={value}: there is no such folder", "give a folder or a name on the hub")


def identify(options: Mapping[str, str], cache: Path) -> str:
    """Versions of the libraries, and what each option that names a model currently refers to.

    Local files count with their content, names on the hub with their commit, and a server with its list of
    models. For a model that runs here, it also counts whether there is a GPU.

    Args:
        options: the backend's options, as text.
        cache: folder for hashes of unchanged files.

    Raises:
        RunError: no server answers at `base_url`.
    """
    parts = [f"{name}={number}" for name in _PACKAGES if (number := _version(name))]
    revision = options.get("revision")
    for name, value in sorted(options.items()):
        path = _existing(value)
        if path is not None:
            parts.append(f"{name}={_digest(path, cache)}")
        elif name in _ON_THE_HUB and "base_url" not in options:
            parts.append(f"{name}={_commit(value, revision if name == 'pretrained' else None)}")
    if "base_url" not in options:
        parts.append(f"cuda={_has_cuda()}")
    else:
        from prlm_bench_plugins.openai_api import served_model

        address = re.sub(r"/(chat/)?completions/?$", "", options["base_url"])
        parts.append(f"served={served_model(address, options.get('model') or options.get('pretrained') or '')}")
    return " ".join(parts)


def _existing(value: str) -> Path | None:
    """The file or folder that an option names, if it does; it may be any text."""
    with suppress(PrlmBenchError, OSError, ValueError):
        path = expanded(value)
        return path if value and path.exists() else None
    return None


def followed_settings(backend: str, options: Mapping[str, str]) -> str:
    """What a backend follows of the generation_config.json of a model on this machine; "" where it follows nothing.

    Only transformers' `generate()` reads that file; lm_eval leaves to it whatever is no sampling.
    """
    folder = expanded(options.get("pretrained", ""))
    if backend not in _GENERATE or "pretrained" not in options:
        return ""
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        with suppress(ValueError):  # not a valid name on the hub
            found = try_to_load_from_cache(str(folder), "generation_config.json", revision=options.get("revision"))
            folder = Path(found).parent if isinstance(found, str) else folder
    return stated_settings(folder, _MORE_FOLLOWED)


def _has_cuda() -> bool:
    """Whether backends run on a GPU by default."""
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _digest(path: Path, cache: Path) -> str:
    """SHA-256 over name and content of a file, or of all files in a folder that are not hidden."""
    found = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    inside = [(file.name if file == path else file.relative_to(path).as_posix(), file) for file in found]
    lines = [f"{name} {hash_file(cache, file)}" for name, file in inside if not re.search(r"(^|/)\.", name)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@lru_cache(maxsize=64)
def _commit(name: str, revision: str | None) -> str:
    """The current commit of a name on the hub; the local copy's if the hub cannot be reached; else `unknown`."""
    try:
        from huggingface_hub import model_info, try_to_load_from_cache
    except ImportError:
        return "unknown"
    try:
        return str(model_info(name, revision=revision, timeout=_TIMEOUT).sha)
    except Exception:  # unknown name, no connection or no permission: loading reports it
        pass
    try:
        found = try_to_load_from_cache(name, "config.json", revision=revision)
    except ValueError:  # not a valid name on the hub
        return "unknown"
    return Path(found).parent.name if isinstance(found, str) else "unknown"


def missing_packages(name: str, kind: type[Any], options: Mapping[str, str]) -> list[str]:
    """The packages to install before the backend can be constructed with these options, by their names for pip.

    lm_eval itself reports them only when the model is constructed.

    Args:
        name: the backend's name.
        kind: its class.
        options: its options, as text.
    """
    needed = [_MODEL_PACKAGES[name]] if name in _MODEL_PACKAGES else []
    if any(base.__name__ == _SERVER_CLASS for base in kind.__mro__):
        needed += [(package, package) for package in (*_SERVER_PACKAGES, *_tokenizer_package(kind, options))]
    return [package for module, package in needed if find_spec(module) is None]


def _tokenizer_package(kind: type[Any], options: Mapping[str, str]) -> list[str]:
    """The package of the tokenizer, where the backend has one."""
    parameter = inspect.signature(kind).parameters.get("tokenizer_backend")
    chosen = options.get("tokenizer_backend", parameter.default if parameter else None)
    if chosen == "tiktoken" and "tokenizer" not in options:
        return ["tiktoken"]
    return ["transformers"] if chosen in ("tiktoken", "huggingface") else []
