"""What can go wrong with a request, in words for the user, and whether it may pass."""

from __future__ import annotations

import json
from difflib import get_close_matches

from prlm_bench.errors import RunError

from ._server import Key, Server
from ._waiting import LONGEST

#: Further attempts after a reply that cannot be read: enough for a hiccup, few enough for a wrong address.
_FEW = 2


class Fault(Exception):
    """An attempt that failed.

    Args:
        message: what was wrong.
        hint: what to do about it.
        retries: how often a request may meet such a fault and be tried again: None for as often as is allowed.
        status: the HTTP status, where there was one.
        wait: seconds that the server wants to pass before the next attempt.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        retries: int | None = None,
        status: int | None = None,
        wait: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint
        self.retries, self.status, self.wait = retries, status, wait

    def as_error(self, attempts: int) -> RunError:
        """The error that ends the run."""
        tries = f", {attempts} times" if attempts > 1 else ""
        return RunError(f"{self.message}{tries}", self.hint)


def unreadable(what: str) -> Fault:
    """A reply with status 200 that is not what was asked for."""
    hint = "is this an OpenAI-compatible server? base_url usually ends in /v1"
    return Fault(f"the server sent {what}", hint, retries=_FEW, status=200)


def web_page() -> Fault:
    """A reply that is HTML."""
    return Fault("the server sent a web page where JSON was due", "base_url usually ends in /v1", retries=0)


def refused(server: Server, url: str, status: int, body: bytes, wait: float | None) -> Fault:
    """A reply with a status that is no success."""
    said, code = words(server.key, body)
    line = f"{url}: status {status}" + (f": {said}" if said else "")
    if code == "insufficient_quota" or status == 402:
        return Fault(line, "the account behind the key has no credit left", retries=0, status=status)
    if wait is not None and wait > LONGEST:
        return Fault(f"{line}; it asks for a wait of {wait:.0f} s", "run again then", retries=0, status=status)
    if status in (408, 425, 429) or (status >= 500 and status not in (501, 505)):
        return Fault(line, _PASSING.get(status, "look into the server's log"), status=status, wait=wait)
    if status == 401:  # what servers say here tends to repeat the key
        what = f"the server refuses the key in {server.key_env}" if server.key else "the server asks for a key"
        return Fault(f"{url}: status 401: {what}", f"export {server.key_env}, or name another variable with "
                     "api_key_env=", retries=0, status=status)  # fmt: skip
    if status == 404:
        return Fault(line, _other_model(server), retries=0, status=status)
    if 300 <= status < 400:
        return Fault(line, "give base_url as the address that this one leads to", retries=0, status=status)
    hint = "limit_key=max_completion_tokens" if "max_completion_tokens" in said else _LASTING.get(status, "")
    return Fault(line, hint, retries=0, status=status)


_PASSING = {
    408: "lower concurrency=",
    425: "lower concurrency=",
    429: "lower concurrency=, or raise max_retries=",
    503: "wait until the server is ready",
}
_LASTING = {
    400: "if the prompt is too long, lower the reasoner's max_length= or max_tokens= here",
    403: "the key may not use this model",
    405: "base_url usually ends in /v1",
    413: "lower the reasoner's max_length=",
    422: "the server does not take one of the options that were sent",
}


def _other_model(server: Server) -> str:
    if not server.listed or server.model in server.listed:
        return "base_url usually ends in /v1; for a server without /completions, endpoint=chat"
    close = get_close_matches(server.model, server.listed, n=3) or server.listed[:5]
    return "the server has the model " + " or ".join(close)


def words(key: Key, body: bytes) -> tuple[str, str]:
    """What a server says of its refusal, on one short line and without the key, and the code that it gives."""
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
    said = " ".join(key.hide(found if isinstance(found, str) else json.dumps(found)).split())
    return (said[:200] + "..." if len(said) > 200 else said).rstrip("."), code
