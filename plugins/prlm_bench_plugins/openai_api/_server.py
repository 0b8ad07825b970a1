"""A server's address, the key for it, and how requests to it are made."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from prlm_bench.errors import SpecError
from prlm_bench.files import masked


class Key:
    """An API key that its repr does not show."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Key(hidden)"

    @property
    def headers(self) -> dict[str, str]:
        """The header that carries the key; empty without a key."""
        return {"Authorization": f"Bearer {self._text}"} if self._text else {}

    def mask(self, text: str, short: bool = True) -> str:
        """`text` with `***` for the key, however it is written (see `masked`).

        Args:
            text: text from the server, which may repeat the key.
            short: also mask a key that is too short to be a secret.
        """
        return masked(text, [self._text], shortest=1) if short else masked(text, [self._text])


@dataclass(frozen=True, slots=True)
class Server:
    """A server and the limits for requests to it."""

    #: Base URL without a final slash.
    url: str
    #: The model's name on the server.
    model: str
    key: Key
    #: Name of the environment variable that holds the key.
    key_env: str
    #: Maximum number of simultaneous requests.
    concurrency: int
    #: Seconds for one attempt, from connecting to the last byte.
    timeout: float
    #: Maximum number of further attempts after one that failed for a passing reason.
    max_retries: int
    #: Names of the models that the server lists; empty if it lists none or was not queried.
    listed: tuple[str, ...] = ()
    #: Maximum size of a reply in bytes, after decompression.
    max_reply_bytes: int = 8 << 20
    #: What becomes of a prompt that a content filter refuses: an error, or an empty answer.
    refused: Literal["error", "empty"] = "error"

    @property
    def address(self) -> str:
        """Host, port and path."""
        return self.url.partition("://")[2]


def read_url(given: str | None) -> str:
    """The server's address from the option or from OPENAI_BASE_URL, checked.

    Raises:
        SpecError: there is none, or it does not have the form `http(s)://host[:port]/path`. The message does
            not repeat it, because it may contain a password.
    """
    origin = "base_url" if given else "OPENAI_BASE_URL"
    text = (given or os.environ.get("OPENAI_BASE_URL") or "").strip().rstrip("/")
    if not text:
        raise SpecError("openai-api needs a server", "base_url=http://localhost:8000/v1, or set OPENAI_BASE_URL")
    hint = "write it like http://localhost:8000/v1"
    try:
        parts = urlsplit(text)
        complete = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete:
        raise SpecError(f"{origin} is not an http or https address", hint)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SpecError(f"{origin} must not contain a user name, password or query", "keys come from the environment")
    if re.search(r"/(completions|models|responses)$", parts.path):
        raise SpecError(f"{origin} is too long: give the part before /chat/completions", hint)
    return text


def read_key(variable: str) -> Key:
    """The key in an environment variable; an empty one if OPENAI_API_KEY is not set.

    Raises:
        SpecError: `variable` is not a variable's name, another variable than OPENAI_API_KEY is not set, or a
            header cannot carry the key. The messages repeat neither name nor key, because users sometimes give
            the key as the name.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        raise SpecError("api_key_env is not the name of an environment variable", "put the key into the variable")
    text = os.environ.get(variable, "").strip()
    if not text and variable != "OPENAI_API_KEY":
        raise SpecError("the environment variable that api_key_env names is not set", "export it with the key")
    if not re.fullmatch(r"[!-~]*", text):
        raise SpecError("the key contains blanks or non-ASCII characters", "export it again, without quotes")
    return Key(text)
