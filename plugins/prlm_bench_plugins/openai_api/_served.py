"""What a server says about the model that it serves, beyond the name in the request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from prlm_bench.errors import RunError
from prlm_bench.interfaces import NOT_VERIFIED

from ._client import Request, send_all, try_all
from ._errors import RequestError
from ._json import one_line
from ._replies import read_json, read_models
from ._server import Server

#: Fields of a listed model that are part of its identity. The time of creation changes whenever a server starts.
_FIELDS = ("root", "parent", "max_model_len", "meta", "digest")
#: Further attempts for GET /models: that a server is down should be known soon, before a run begins.
_RETRIES = 2
#: Seconds for what only some servers have.
_PATIENCE = 5.0

#: What stands where a server has no model.
_NOTHING = (None, "", "none", "None")

Facts = dict[str, Any]


def query_model(server: Server) -> tuple[str, Server]:
    """What the server says about the model, and the server with the names of the listed models.

    The first ends with `model not verified` if nothing in it tells the model from another one under the same name. The
    server's own list is read, and then what llama.cpp, Ollama, TGI and others have besides it.

    Raises:
        RunError: the server cannot be reached, rejects the key, or sends a web page.
    """
    models = _list(server)
    listed = tuple(str(model["id"]) for model in models if isinstance(model.get("id"), str))
    model = _pick(models, server.model)
    facts = {name: model[name] for name in _FIELDS if model.get(name) is not None}
    base = next((other for other in models if other.get("id") and other.get("id") == model.get("parent")), {})
    facts |= {f"parent {name}": base[name] for name in ("root", "digest") if base.get(name) is not None}
    verified = _says_which(model, server.model)
    if not verified:
        found = _ask_around(server)
        verified = bool(found)
        facts |= found
    text = _described(server, model, facts)
    return text if verified else f"{text}; {NOT_VERIFIED}", replace(server, listed=listed)


def _list(server: Server) -> list[Facts]:
    patient = replace(server, max_retries=min(server.max_retries, _RETRIES))
    try:
        [(_, models)] = send_all(patient, [Request("GET", "/models")], lambda _, body: read_models(body, server.key))
    except RunError as error:
        cause = error.__cause__
        if isinstance(cause, RequestError) and cause.status not in (None, 401):
            return []
        raise
    return models


def _pick(models: list[Facts], name: str) -> Facts:
    """The listed model of this name; else the only one, which a server that ignores names serves; else nothing."""
    named = [model for model in models if name in (model.get("id"), *_values(model.get("aliases")))]
    return next(iter(named), models[0] if len(models) == 1 else {})


def _says_which(model: Mapping[str, Any], name: str) -> bool:
    """Whether a list's entry tells the model from another one under the same name.

    `root` is where vLLM has the weights from; others repeat the name there. The owner is mostly the software's name,
    and what llama.cpp lists as `meta` (sizes) is the same for all models of one architecture.
    """
    root = model.get("root")
    return bool(model.get("digest") or (root and (root != name or model.get("owned_by") == "vllm")))


def _described(server: Server, model: Mapping[str, Any], facts: Facts) -> str:
    named = {name: model[name] for name in ("id", "owned_by") if isinstance(model.get(name), str)}
    parts = [f"{name} {one_line(text, server.key)}" for name, text in named.items()]
    if facts:
        parts.append(f"details {hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]}")
    return ", ".join(parts) or "nothing"


def _fields(first: str, *more: str) -> Callable[[Facts, str], Facts]:
    """Reads fields of a reply; nothing if it lacks the first."""
    return lambda reply, model: (
        {name: reply[name] for name in (first, *more) if reply.get(name)} if reply.get(first) not in _NOTHING else {}
    )


def _ollama(reply: Facts, model: str) -> Facts:
    names = (model, f"{model}:latest")
    for each in _objects(reply.get("models")):
        if each.get("name") in names or each.get("model") in names:
            return {"digest": each["digest"]} if each.get("digest") else {}
    return {}


def _litellm(reply: Facts, model: str) -> Facts:
    """Behind an alias: the provider's name of the model, for each of its deployments."""
    behind = [each.get("litellm_params") for each in _objects(reply.get("data")) if each.get("model_name") == model]
    found = sorted(str(each.get("model")) for each in _objects(behind) if each.get("model") not in (None, model))
    return {"deployments": found} if found else {}


def _objects(values: Any) -> list[Facts]:
    return [value for value in _values(values) if isinstance(value, dict)]


def _values(values: Any) -> list[Any]:
    return values if isinstance(values, list) else []


#: Path beside or below the base address, and what its reply says about the weights. `{}` is the model's name.
_PLACES: dict[str, Callable[[Facts, str], Facts]] = {
    "/props?model={}": _fields("model_path", "build_info", "chat_template"),  # llama.cpp
    "/api/tags": _ollama,
    "/info": _fields("model_id", "model_sha", "model_dtype"),  # TGI
    "/model_info": _fields("model_path", "weight_version"),  # SGLang
    "/get_model_info": _fields("model_path", "weight_version"),  # SGLang, older
    "/model/info": _litellm,
    "/api/v1/model": _fields("result"),  # KoboldCpp
    "/v1/internal/model/info": _fields("model_name", "lora_names"),  # text-generation-webui
}


def _ask_around(server: Server) -> Facts:
    """What the server says in places that only some servers have; all are queried together, and once."""
    parts = urlsplit(server.url)
    root = f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/v1')}"
    brief = replace(server, url=root, timeout=min(server.timeout, _PATIENCE), max_retries=0)
    requests = [Request("GET", place.format(quote(server.model, safe=""))) for place in _PLACES]
    replies = try_all(brief, requests, lambda _, body: read_json(body, server.key))
    found: Facts = {}
    for reply, read in zip(replies, _PLACES.values(), strict=True):
        found |= read(reply, server.model) if reply is not None else {}
    return found
