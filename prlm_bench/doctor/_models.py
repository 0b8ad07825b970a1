"""What there is to run models with: torch, GPUs, servers that answer, and keys that are set."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx
from pydantic import BaseModel

from .._util.json_text import parse_record
from ..errors import PrlmBenchError
from ..host import PluginHost
from ..threads import core_count
from ._check import Check

_MODELS, _SERVERS = "Models on this machine", "Models behind a server"
#: Where local servers listen by default, and which ones.
_LOCAL = {
    "http://localhost:8000/v1": "vLLM, transformers serve",
    "http://localhost:8080/v1": "llama.cpp",
    "http://localhost:11434/v1": "Ollama",
    "http://localhost:30000/v1": "SGLang",
}
_KEYS = {
    "OPENAI_API_KEY": "hosted models; a server of your own needs no key",
    "HF_TOKEN": "models and data of the Hugging Face hub that ask for a login",
}
#: Seconds that a server has to list its models, and bytes that the list may have.
_PATIENCE, _LONGEST = 3.0, 1 << 20
#: Seconds in which torch can be imported, from a slow disk too.
_IMPORT = 120
_PROBE = """
import json, torch
cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
named = [f"{card.name}, {card.total_memory / 2**30:.0f} GiB" for card in cards]
mps = getattr(torch.backends, "mps", None)
named += ["Apple GPU (mps)"] if mps is not None and mps.is_available() else []
xpu = getattr(torch, "xpu", None)
named += ["Intel GPU (xpu)"] if xpu is not None and xpu.is_available() else []
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda or torch.version.hip, "cards": named}))
"""


class _Model(BaseModel):
    """An entry of a server's list of models."""

    id: str


class _Listing(BaseModel):
    """What a server answers to GET /models."""

    data: list[_Model]


def model_checks(host: PluginHost) -> list[Check]:
    """Everything that is needed to run a model, on this machine or behind a server."""
    return [*_torch(), _generators(host), *_servers(), *_keys()]


def _torch() -> list[Check]:
    gives = "language models through transformers, training, dense retrieval"
    try:
        installed = version("torch")
    except PackageNotFoundError:
        missing = Check("torch", None, "not installed", "pip install 'prlm-bench[lm]'", gives, _MODELS)
        return [missing, _gpu([], None)]
    probe = probe_torch()
    if "error" in probe:
        hint = "reinstall it: pip install --force-reinstall torch"
        return [Check("torch", False, f"{installed} cannot be used: {probe['error']}", hint, gives, _MODELS)]
    cuda = f"for CUDA {probe['cuda']}" if probe["cuda"] else "for CPUs"
    return [
        Check("torch", True, f"{probe['version']}, built {cuda}", group=_MODELS),
        _gpu(probe["cards"], probe["cuda"]),
    ]


@lru_cache
def probe_torch() -> dict[str, Any]:
    """What torch says of itself, in a process of its own, because importing it takes seconds and memory."""
    try:
        ended = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=_IMPORT)
        lines = (ended.stdout if ended.returncode == 0 else ended.stderr).strip().splitlines()
        if ended.returncode == 0:
            found: dict[str, Any] = parse_record(lines[-1].encode(), dict[str, Any], "torch's own words")
            return found
        return {"error": lines[-1] if lines else f"exit status {ended.returncode}"}
    except (subprocess.TimeoutExpired, OSError, IndexError, PrlmBenchError) as error:
        return {"error": str(error)}


def _gpu(seen: Sequence[str], built: str | None) -> Check:
    if seen:
        return Check("GPU", True, "; ".join(seen), group=_MODELS)
    cards, cores = cards_of_the_driver(), core_count()
    gives = "models of billions of parameters; on a CPU those of some hundred million are practical"
    if not cards:
        found = f"none; models run on {cores} core{'' if cores == 1 else 's'}"
        return Check("GPU", None, found, "use a machine with one, or ask a model behind a server", gives, _MODELS)
    hint = "pip install torch with CUDA: https://pytorch.org/get-started/locally"
    why = "torch is not built for it" if built is None else "torch cannot use it: is the driver too old?"
    return Check("GPU", None, f"{'; '.join(cards)}, but {why}", hint, gives, _MODELS)


def cards_of_the_driver() -> list[str]:
    """The NVIDIA cards that the driver knows, whether torch can use them or not."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (subprocess.TimeoutExpired, OSError):
        return []
    return [line.strip() for line in ended.stdout.splitlines() if line.strip()] if ended.returncode == 0 else []


def _generators(host: PluginHost) -> Check:
    ready = [each.name for each in host.registry.all("generator") if each.missing() is None]
    return Check("generators", True, ", ".join(ready), group=_MODELS)


def _servers() -> list[Check]:
    named = os.environ.get("OPENAI_BASE_URL", "")
    found = [] if not named else [_named_server(named)]
    for address, kind in _LOCAL.items():
        if address != named.rstrip("/") and (models := _listed(address)[1]) is not None:
            found.append(_answers(address, models, f"the default address of {kind}"))
    if found:
        return found
    places = ", ".join(address.removeprefix("http://").removesuffix("/v1") for address in _LOCAL)
    hint = "start one (docs/guides/servers.md), or export OPENAI_BASE_URL=http://HOST:PORT/v1"
    gives = "models of any size, by vLLM, SGLang, llama.cpp, Ollama or a hosted service; needs no torch here"
    return [Check("server", None, f"OPENAI_BASE_URL is not set; none at {places}", hint, gives, _SERVERS)]


def _named_server(address: str) -> Check:
    """The server that the user named: one that does not answer is a problem."""
    name = f"server {address}"
    try:
        url = httpx.URL(address)
        whole = url.scheme in ("http", "https") and url.host and not (url.userinfo or url.query)
    except httpx.InvalidURL:
        whole = False
    if not whole:
        wanted = "an address as http://HOST:PORT/v1, without login or query"
        return Check("server OPENAI_BASE_URL", False, "is no address of a server", f"export {wanted}", "", _SERVERS)
    why, models = _listed(address)
    if models is not None:
        return _answers(address, models, "OPENAI_BASE_URL")
    if why in ("status 401", "status 403"):
        return Check(name, True, "OPENAI_BASE_URL; it answers, and lists its models to a key only", group=_SERVERS)
    hint = "start it, or unset OPENAI_BASE_URL; the address ends before /chat/completions, usually in /v1"
    return Check(name, False, f"OPENAI_BASE_URL; GET /models: {why}", hint, group=_SERVERS)


def _answers(address: str, models: Sequence[str], where: str) -> Check:
    # Some name a model by its path on their machine.
    names = [model.rpartition("/")[2] if model.startswith("/") else model for model in models[:3]]
    listed = ", ".join(names) + (f" and {len(models) - 3} more" if len(models) > 3 else "")
    hint = f"--generator openai-api:model={models[0] if models else 'NAME'},base_url={address}"
    return Check(f"server {address}", True, f"{where}; it serves {listed or 'no model'}", hint, group=_SERVERS)


def _listed(address: str) -> tuple[str, list[str] | None]:
    """Why a server's list of models cannot be had, and the list; no key is sent."""
    local = httpx.URL(address).host in ("localhost", "127.0.0.1", "::1")
    end = time.monotonic() + _PATIENCE
    body = b""
    try:
        with (
            httpx.Client(trust_env=not local, timeout=httpx.Timeout(_PATIENCE, connect=1.0)) as client,
            client.stream("GET", address.rstrip("/") + "/models") as reply,
        ):
            if reply.status_code != 200:
                return f"status {reply.status_code}", None
            for piece in reply.iter_bytes():
                body += piece
                if len(body) > _LONGEST or time.monotonic() > end:
                    return "no list of models", None
        return "", [model.id for model in parse_record(body, _Listing, "GET /models").data]
    except (httpx.HTTPError, OSError) as error:
        return str(error) or type(error).__name__, None
    except PrlmBenchError:
        return "no list of models", None


def _keys() -> list[Check]:
    return [
        Check(f"key {name}", True, "is set", group=_SERVERS)
        if os.environ.get(name, "").strip()
        else Check(f"key {name}", None, "is not set", "", gives, _SERVERS)
        for name, gives in _KEYS.items()
    ]
