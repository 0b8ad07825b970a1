"""What a server says of the model that it serves."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from prlm_bench.errors import RunError

from ._faults import Fault, unreadable
from ._replies import read_json
from ._server import Server
from ._stream import Request, stream

#: Fields of a listed model that tell one from another; times of creation change with every start of a server.
_TELLING = ("root", "parent", "max_model_len", "meta", "digest")
#: Further attempts are few: that a server is down should be known before a run begins.
_RETRIES = 2


def ask_models(server: Server) -> tuple[str, Server]:
    """What GET /models has of the model, and the server with the names that it lists.

    A server without a usable list, or without this model in it, reports `nothing`: then two models of one name
    at one address cannot be told apart.

    Raises:
        RunError: nobody answers, the key is refused, or the answer is a web page.
    """
    asked = replace(server, max_retries=min(server.max_retries, _RETRIES))
    try:
        [(_, models)] = stream(asked, [Request("GET", "/models")], lambda _, body: _read(body))
    except RunError as error:
        fault = error.__cause__
        if isinstance(fault, Fault) and fault.status not in (None, 401):
            return "nothing", server
        raise
    listed = replace(server, listed=tuple(str(model.get("id")) for model in models))
    found = [model for model in models if model.get("id") == server.model]
    return (_describe(server, found[0]) if found else "nothing"), listed


def _read(body: bytes) -> list[dict[str, Any]]:
    models = read_json(body).get("data")
    if not isinstance(models, list):
        raise unreadable("no list of models")
    return [model for model in models if isinstance(model, dict)]


def _describe(server: Server, model: dict[str, Any]) -> str:
    text = f"id {server.model}"
    if isinstance(model.get("owned_by"), str):
        text += f", owned_by {' '.join(server.key.hide(model['owned_by']).split())[:80]}"
    more = {name: model[name] for name in _TELLING if model.get(name) is not None}
    if more:
        text += f", details {hashlib.sha256(json.dumps(more, sort_keys=True).encode()).hexdigest()[:12]}"
    return text
