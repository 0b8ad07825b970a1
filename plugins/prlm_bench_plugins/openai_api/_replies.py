"""Reads replies: completions, the list of models, and refusals, which become errors with a hint."""

from __future__ import annotations

import hashlib
import json
from difflib import get_close_matches
from typing import Any

from prlm_bench import Completion
from prlm_bench.errors import RunError
from prlm_bench.files import well_formed
from prlm_bench.prompting import mark_reasoning

from ._server import Key, Server

#: The longest wait in seconds that a server may request; a request that would have to wait longer fails.
MAX_RETRY_AFTER = 600.0
#: Servers' names for the two common reasons to finish; other reasons are kept as they are.
_FINISHES = {"eos_token": "stop", "stop_sequence": "stop", "end_turn": "stop", "max_tokens": "length"}
#: Fields of a listed model that tell models apart. The time of creation changes whenever a server starts.
_MODEL_FIELDS = ("root", "parent", "max_model_len", "meta", "digest")
_RETRYABLE_HINTS = {
    408: "lower concurrency=",
    425: "lower concurrency=",
    429: "lower concurrency=, or raise max_retries=",
    503: "wait until the server is ready",
}
_FINAL_HINTS = {
    400: "if the prompt is too long, lower the reasoner's max_length= or max_tokens= here",
    403: "the key may not use this model",
    405: "base_url usually ends in /v1",
    413: "lower the reasoner's max_length=",
    422: "the server rejects one of the options that were sent",
}


class RequestError(Exception):
    """A request failed and would fail again.

    Args:
        message: what went wrong, on one line and without the key.
        hint: what to do about it.
        status: the HTTP status, if there was one.
    """

    def __init__(self, message: str, hint: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.message, self.hint, self.status = message, hint, status

    def as_run_error(self, attempts: int) -> RunError:
        """The error that ends the run."""
        times = f", {attempts} times" if attempts > 1 else ""
        return RunError(f"{self.message}{times}", self.hint)


class RetryableError(RequestError):
    """A request failed for a reason that may pass.

    Args:
        message, hint, status: see `RequestError`.
        retry_after: seconds until the server accepts requests again, if it says so.
    """

    def __init__(
        self, message: str, hint: str = "", status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint, status)
        self.retry_after = retry_after


class UnreadableReplyError(RetryableError):
    """A reply of status 200 is not what was requested: a hiccup of the server, or a wrong address."""

    def __init__(self, what: str) -> None:
        hint = "is this an OpenAI-compatible server? base_url usually ends in /v1"
        super().__init__(f"the server sent {what}", hint, status=200)


def read_json(body: bytes) -> dict[str, Any]:
    """A reply as a JSON object.

    Raises:
        RequestError: it is a web page, or (`UnreadableReplyError`) anything else.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        if body.lstrip()[:1] == b"<":
            hint = "base_url usually ends in /v1"
            raise RequestError("the server sent a web page instead of JSON", hint) from None
        raise UnreadableReplyError("truncated or invalid JSON" if body.strip() else "an empty reply") from None
    if not isinstance(found, dict):
        raise UnreadableReplyError("JSON that is not an object")
    return found


def read_completion(body: bytes, chat: bool, key: Key, prices: tuple[float, float] | None) -> Completion:
    """The first choice of a reply.

    Reasoning that the server has split off is put back before the text, between <think> and </think>.

    Args:
        body: the reply.
        chat: the reply comes from /chat/completions.
        key: is masked if the text repeats it.
        prices: price of a million prompt tokens and of a million generated ones.

    Raises:
        RequestError: the reply is damaged or has no choice.
    """
    reply = read_json(body)
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        error = server_message(key, body)[0] if "error" in reply else ""
        raise UnreadableReplyError("a reply without choices" + (f" but with the error {error!r}" if error else ""))
    text = _chat_text(choice) if chat else choice.get("text")
    if not isinstance(text, str):
        raise UnreadableReplyError("a choice without text")
    finish = choice.get("finish_reason")
    prompt_tokens, tokens = (_count(reply.get("usage"), name) for name in ("prompt_tokens", "completion_tokens"))
    cost = None
    if prices is not None and prompt_tokens is not None and tokens is not None:
        cost = (prompt_tokens * prices[0] + tokens * prices[1]) / 1e6
    return Completion(
        well_formed(key.mask(text, short=False)),
        finish=_FINISHES.get(finish, finish) if isinstance(finish, str) else None,
        tokens=tokens,
        prompt_tokens=prompt_tokens,
        cost=cost,
    )


def _chat_text(choice: dict[str, Any]) -> str | None:
    message = choice.get("message")
    if not isinstance(message, dict) or not {"content", "reasoning_content", "reasoning", "refusal"} & message.keys():
        return None
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if content is None:  # only reasoning, a refusal or a tool call
        content = ""
    if not isinstance(content, str):
        return None
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return mark_reasoning(reasoning, content) if isinstance(reasoning, str) else content


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def read_models(body: bytes) -> list[dict[str, Any]]:
    """The models of a reply to GET /models.

    Raises:
        RequestError: the reply has no such list.
    """
    models = read_json(body).get("data")
    if not isinstance(models, list):
        raise UnreadableReplyError("no list of models")
    return [model for model in models if isinstance(model, dict)]


def describe_model(server: Server, models: list[dict[str, Any]]) -> str:
    """What a list of models says about the server's model: id, owner and a hash of what tells models apart.

    `nothing` if the model is not listed.
    """
    model = next((model for model in models if model.get("id") == server.model), None)
    if model is None:
        return "nothing"
    text = f"id {server.model}"
    if isinstance(model.get("owned_by"), str):
        text += f", owned_by {' '.join(server.key.mask(model['owned_by']).split())[:80]}"
    details = {name: model[name] for name in _MODEL_FIELDS if model.get(name) is not None}
    if details:
        text += f", details {hashlib.sha256(json.dumps(details, sort_keys=True).encode()).hexdigest()[:12]}"
    return text


def refusal(server: Server, url: str, status: int, body: bytes, retry_after: float | None) -> RequestError:
    """The error for a reply of another status than 200.

    Args:
        server: masks the key, and knows which models there are.
        url: the address that was requested.
        status: the reply's HTTP status.
        body: the reply's content.
        retry_after: seconds that the server requests to wait.
    """
    message, code = server_message(server.key, body)
    line = f"{url}: status {status}" + (f": {message}" if message else "")
    if code == "insufficient_quota" or status == 402:
        return RequestError(line, "the account of this key has no credit left", status)
    if retry_after is not None and retry_after > MAX_RETRY_AFTER:
        return RequestError(f"{line}; the server requests a wait of {retry_after:.0f} s", "run again later", status)
    if status in (408, 425, 429) or (status >= 500 and status not in (501, 505)):
        return RetryableError(line, _RETRYABLE_HINTS.get(status, "check the server's log"), status, retry_after)
    if status == 401:  # the server's message often repeats the key
        what = f"the server rejects the key in {server.key_env}" if server.key else "the server requires a key"
        hint = f"export {server.key_env}, or name another variable with api_key_env="
        return RequestError(f"{url}: status 401: {what}", hint, status)
    if status == 404:
        return RequestError(line, _not_found_hint(server), status)
    if 300 <= status < 400:
        return RequestError(line, "redirects are not followed: give base_url as their target", status)
    hint = "limit_key=max_completion_tokens" if "max_completion_tokens" in message else _FINAL_HINTS.get(status, "")
    return RequestError(line, hint, status)


def _not_found_hint(server: Server) -> str:
    if not server.listed or server.model in server.listed:
        return "base_url usually ends in /v1; for a server without /completions, endpoint=chat"
    close = get_close_matches(server.model, server.listed, n=3) or server.listed[:5]
    return "the server has the model " + " or ".join(close)


def server_message(key: Key, body: bytes) -> tuple[str, str]:
    """The message of an error reply, shortened to one line and without the key, and its error code."""
    text = body[:4000].decode("utf-8", "replace").strip()
    code = ""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = "" if text.startswith("<") else text
    if isinstance(found, dict):
        found = found.get("error") or found.get("detail") or found.get("message") or ""
    if isinstance(found, dict):
        code = str(found.get("code") or "")
        found = found.get("message") or ""
    message = " ".join(key.mask(found if isinstance(found, str) else json.dumps(found)).split())
    return (message[:200] + "..." if len(message) > 200 else message).rstrip("."), code
