"""What tells one model behind a backend of lm_eval from another, found without loading it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prlm_bench.data import hash_file
from prlm_bench.errors import PrlmBenchError, RunError

#: What answers may depend on, as far as it is installed.
_PACKAGES = ("lm_eval", "torch", "transformers", "tokenizers", "peft", "vllm", "sglang", "litellm", "optimum")
#: Options that name a model or a part of one on the hub, where they name nothing on this machine.
_ON_THE_HUB = ("pretrained", "tokenizer", "peft", "delta")
#: What a server says of a model and keeps saying as long as it is the same one.
_LASTING = ("id", "root", "parent", "owned_by", "max_model_len")
#: Seconds to wait for a server or the hub.
_PATIENCE = 10.0


def check_folders(options: Mapping[str, str]) -> None:
    """Look for the folders that options name, before a run begins.

    Raises:
        PrlmBenchError: one is not there.
    """
    for name in _ON_THE_HUB:
        value = options.get(name, "")
        if value.startswith(("/", ".", "~")) and not Path(value).expanduser().exists():
            raise PrlmBenchError(f"{name}={value}: there is no such folder", "give a folder or a name on the hub")


def identify(options: Mapping[str, str], cache: Path) -> str:
    """Versions of the libraries, and of each option that names a model what it names at this moment.

    Files on this machine count with their content, names on the hub with their commit, and a server with what it
    lists under `/models`. Where the model runs here, it matters whether there is a GPU.

    Args:
        options: the backend's, as text.
        cache: where hashes of unchanged files are remembered.

    Raises:
        RunError: no server answers at `base_url`.
    """
    parts = [f"{name}={number}" for name in _PACKAGES if (number := _version(name))]
    revision = options.get("revision")
    for name, value in sorted(options.items()):
        path = Path(value).expanduser()
        if value and path.exists():
            parts.append(f"{name}={_digest(path, cache)}")
        elif name in _ON_THE_HUB and "base_url" not in options:
            parts.append(f"{name}={_commit(value, revision if name == 'pretrained' else None)}")
    if "base_url" not in options:
        parts.append(f"cuda={_has_cuda()}")
    else:
        parts.append(f"served={_served(options['base_url'])}")
    return " ".join(parts)


def _has_cuda() -> bool:
    """Whether backends that are told nothing else run on a GPU."""
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
    """SHA-256 over the names and contents of a file, or of all files below a folder that are not hidden."""
    found = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    inside = [(file.name if file == path else file.relative_to(path).as_posix(), file) for file in found]
    lines = [f"{name} {hash_file(cache, file)}" for name, file in inside if not re.search(r"(^|/)\.", name)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@lru_cache(maxsize=64)
def _commit(name: str, revision: str | None) -> str:
    """The commit that a name on the hub stands for; that of the local copy where the hub cannot be reached."""
    try:
        from huggingface_hub import model_info, try_to_load_from_cache
    except ImportError:
        return "unknown"
    try:
        return str(model_info(name, revision=revision, timeout=_PATIENCE).sha)
    except Exception:  # no such name, no connection, no permission: loading says so in its own words
        pass
    try:
        found = try_to_load_from_cache(name, "config.json", revision=revision)
    except ValueError:  # not a name that the hub could have
        return "unknown"
    return Path(found).parent.name if isinstance(found, str) else "unknown"


def _served(url: str) -> str:
    """A digest of the models that a server lists; `nothing` where it lists none."""
    import httpx

    root = re.sub(r"/(chat/)?completions/?$", "", url)
    key = os.environ.get("OPENAI_API_KEY")
    here = urlsplit(root).hostname in ("localhost", "127.0.0.1", "::1")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        reply = httpx.get(f"{root}/models", headers=headers, timeout=_PATIENCE, trust_env=not here)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"no server answers at {url}: {reason}", "start it, or correct base_url=") from None
    models: Any = None
    if reply.status_code == 200:
        try:
            models = reply.json()["data"]
        except (ValueError, KeyError, TypeError):
            models = None
    if not isinstance(models, list):
        return "nothing"
    lines = sorted(str([model.get(key) for key in _LASTING]) for model in models if isinstance(model, dict))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
