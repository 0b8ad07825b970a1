"""Why a request failed, whether it is worth repeating, and what to do about it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from prlm_bench.errors import RunError

from ._json import one_line, parse
from ._server import Key, Server

#: The longest wait in seconds that a server may request; a request that would have to wait longer fails.
MAX_RETRY_AFTER = 600.0
#: Statuses below 500 of failures that may pass; 424 is TGI's for a generation that broke off.
_RETRYABLE = (408, 424, 425, 429)
_RETRYABLE_HINTS = {
    408: "lower concurrency=",
    425: "lower concurrency=",
    429: "lower concurrency=, or raise max_retries=",
    503: "wait until the server is ready",
}
_LENGTH_HINT = "lower the reasoner's max_length= or max_tokens= here"
#: What a 400 or 422 complains about, and the option to change; the first that fits is the hint.
_COMPLAINTS = (
    (r"max_completion_tokens", "limit_key=max_completion_tokens"),
    (
        r"context.?(length|size|window)|maximum context|max_model_len|(prompt|input)\w* (is |are )?(too long|exceed)"
        r"|must have less than \d+ tokens|tokens \+ .max_new_tokens|longer than the (model|maximum)|too long",
        _LENGTH_HINT,
    ),
    (r"\bmax_(new_)?tokens\b", "lower max_tokens="),
    (r"\btemperature\b", "temperature=none"),
    (r"\btop_p\b", "leave top_p= out"),
    (r"\b(random_)?seed\b", "leave seed= out; temperature=0 sends none"),
    (r"chat_template_kwargs|enable_thinking", "leave template= out"),
    (r"['\"`]stop['\"`]|\bstop (sequence|word|token|string|parameter)|\bparameter:? stop\b", "leave stop= out"),
    (r"\bsystem\b.{0,40}\b(role|prompt|message|instruction)|\brole.{0,20}\bsystem\b", "leave system= out"),
    (r"chat.?template", "chat=never, or start the server with a chat template"),
    (r"(not|n't) a chat model|v1/completions", "chat=never"),
    (
        r"\bmodel\b.{0,80}(not (exist|found|supported|available)|unknown|invalid)|(unknown|invalid) model",
        "check model=",
    ),
)
_FINAL_HINTS = {
    400: "the server's log may say more",
    403: "the key may not use this model",
    405: "base_url usually ends in /v1",
    413: "lower the reasoner's max_length=",
    422: "the server rejects one of the options that were sent",
}
#: Servers' words for a prompt that a content filter refuses: OpenAI, Azure, LiteLLM, Anthropic, DashScope, DeepSeek,
#: Gemini, Bedrock, OpenRouter.
_REFUSED = re.compile(
    r"content.?(filter|policy|management|moderation)|ResponsibleAIPolicy|data.?inspection|content exists risk"
    r"|prohibited.?content|guardrail|flagged (as|for|by)|moderation|usage policy|safety (system|filter|settings)"
    r"|sensitive (content|words?|information)",
    re.IGNORECASE,
)


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


class RefusedError(RequestError):
    """A content filter of the server refused the prompt."""


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


def refusal(
    server: Server, url: str, status: int, body: bytes, retry_after: float | None = None, question: str = ""
) -> RequestError:
    """The error for a reply of another status than 200.

    Args:
        server: masks the key, and knows which models there are.
        url: the address that was requested.
        status: the reply's HTTP status.
        body: the reply's content.
        retry_after: seconds that the server requests to wait.
        question: id of the question that was sent.
    """
    message, code, words = server_message(server.key, body)
    line = f"{url}: status {status}" + (f": {message}" if message else "")
    if code == "insufficient_quota" or status == 402:
        return RequestError(line, "the account of this key has no credit left", status)
    if retry_after is not None and retry_after > MAX_RETRY_AFTER:
        return RequestError(f"{line}; the server requests a wait of {retry_after:.0f} s", "run again later", status)
    if status in _RETRYABLE or (status >= 500 and status not in (501, 505)):
        return RetryableError(line, _RETRYABLE_HINTS.get(status, "check the server's log"), status, retry_after)
    if status == 401:  # the server's message often repeats the key
        what = f"the server rejects the key in {server.key_env}" if server.key else "the server requires a key"
        hint = f"export {server.key_env}, or name another variable with api_key_env="
        return RequestError(f"{url}: status 401: {what}", hint, status)
    if status in (400, 403, 422, 451) and question and _REFUSED.search(words):
        what = f"{url}: status {status}: the server's content filter refuses question {question}"
        hint = "refused=empty counts it as an empty answer"
        return RefusedError(what + (f": {message}" if message else ""), hint, status)
    return RequestError(line, _final_hint(server, status, words), status)


def _final_hint(server: Server, status: int, words: str) -> str:
    if status == 404:
        return _not_found_hint(server)
    if 300 <= status < 400:
        return "redirects are not followed: give base_url as their target"
    if status in (400, 413, 422):
        for pattern, hint in _COMPLAINTS:
            if re.search(pattern, words, re.IGNORECASE):
                return hint
    return _FINAL_HINTS.get(status, "")


def _not_found_hint(server: Server) -> str:
    if not server.listed or server.model in server.listed:
        return "base_url usually ends in /v1; without /completions, chat=always; without /chat/completions, chat=never"
    close = get_close_matches(server.model, server.listed, n=3) or server.listed[:5]
    return "the server has the model " + " or ".join(one_line(name, server.key) for name in close)


def server_message(key: Key, body: bytes) -> tuple[str, str, str]:
    """The message of an error reply in one short line, its error code, and all words that say what it is about."""
    text = body[:4000].decode("utf-8", "replace").strip()
    try:
        found = parse(body, key)
    except ValueError:
        found = "" if text.startswith("<") else text
    if isinstance(found, dict):
        found = found.get("error") or found.get("detail") or found.get("message") or ""
    codes: list[str] = []
    if isinstance(found, dict):
        codes = list(_codes(found))
        found = found.get("message") or ""
    message = one_line(found if isinstance(found, str) else json.dumps(found), key).rstrip(".")
    code = codes[0] if codes else ""
    return (
        message,
        code,
        " ".join([*codes, one_line(found if isinstance(found, str) else json.dumps(found), key, 4000)]),
    )


def _codes(error: Mapping[str, Any]) -> list[str]:
    """The code of an error first, then what else names its kind."""
    inner = error.get("innererror")
    named = [error.get(name) for name in ("code", "type", "param", "status")]
    named.append(inner.get("code") if isinstance(inner, dict) else None)
    return ["" if name is None else str(name) for name in named]


def reported_error(server: Server, url: str, error: Any, question: str) -> RequestError:
    """The error for a reply of status 200 that says that its completion failed.

    Args:
        server, url, question: see `refusal`.
        error: what the reply says. A code that is an HTTP status is treated as that status would be; others may pass.
    """
    body = json.dumps({"error": error}).encode()
    code = str(error.get("code") if isinstance(error, dict) else "")
    if re.fullmatch(r"[45]\d\d", code):
        return refusal(server, url, int(code), body, question=question)
    message, _, words = server_message(server.key, body)
    if question and _REFUSED.search(words):
        return refusal(server, url, 400, body, question=question)
    return RetryableError(f"{url}: the server could not complete its answer: {message}", "check the server's log", 200)
