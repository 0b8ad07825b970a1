"""Which server is asked, and with which key."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from prlm_bench.errors import SpecError

#: A key of fewer characters is a stand-in such as EMPTY, which completions may hold by chance.
_SECRET = 16


class Key:
    """A key that does not show itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Key(hidden)"

    @property
    def headers(self) -> dict[str, str]:
        """The header that carries the key; none without one."""
        return {"Authorization": f"Bearer {self._text}"} if self._text else {}

    def hide(self, text: str, always: bool = True) -> str:
        """`text` with the key blotted out, for servers that repeat it; short keys only if `always`."""
        return text.replace(self._text, "***") if self._text and (always or len(self._text) >= _SECRET) else text


@dataclass(frozen=True, slots=True)
class Server:
    """A server and how it is to be treated."""

    #: Without a final slash.
    url: str
    #: The model's name there.
    model: str
    key: Key
    #: The environment variable that the key is looked for in.
    key_env: str
    #: Requests under way at a time.
    concurrency: int
    #: Seconds for one request.
    timeout: float
    #: Further attempts after a passing failure.
    max_retries: int
    #: Models that the server lists; empty where it lists none or was not asked.
    listed: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """Host, port and path."""
        return self.url.partition("://")[2]

    @property
    def is_here(self) -> bool:
        """True for this very machine, which no proxy need be asked for."""
        return urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")


def read_url(given: str | None) -> str:
    """The server's address from the option or OPENAI_BASE_URL, checked.

    Raises:
        SpecError: there is none, or it is not of the form `http(s)://host[:port]/path`. The message does not
            repeat it.
    """
    origin = "base_url" if given else "OPENAI_BASE_URL"
    text = (given or os.environ.get("OPENAI_BASE_URL") or "").strip().rstrip("/")
    if not text:
        raise SpecError("openai-api needs a server", "base_url=http://localhost:8000/v1, or set OPENAI_BASE_URL")
    hint = "write it like http://localhost:8000/v1"
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise SpecError(f"{origin} is not an http address", hint)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SpecError(f"{origin} may hold no user name, password or query", "keys come from the environment")
    if re.search(r"/(completions|models|responses)$", parts.path):
        raise SpecError(f"{origin} goes too far: it is the part before /chat/completions", hint)
    return text


def read_key(variable: str) -> Key:
    """The key that an environment variable holds; an empty one where OPENAI_API_KEY is not set.

    Raises:
        SpecError: not the name of a variable, a variable of another name that is not set, or a key that no
            header can carry. The messages repeat neither name nor key: a key may have been given as the name.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        raise SpecError("api_key_env is the name of an environment variable", "the key itself goes into the variable")
    text = os.environ.get(variable, "").strip()
    if not text and variable != "OPENAI_API_KEY":
        raise SpecError("the environment variable that api_key_env names is not set", "export it with the key")
    if not re.fullmatch(r"[!-~]*", text):
        raise SpecError("the key holds blanks or characters outside ASCII", "export it again, without quotes")
    return Key(text)
