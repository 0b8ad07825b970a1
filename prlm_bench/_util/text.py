"""Text that can be stored and shown: without secrets, and without characters that are orders to a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

#: `user:password@` of an address. A password may hold the characters that end a host; a number is a port.
_LOGIN = re.compile(r"(?<=://)(?:[^/?#\s@]*@|[^/?#\s@:\[]*:(?!\d+(?:[/?#\s]|\Z))[^\s@]*@)+")
#: Control characters but line break and tab, marks and overrides of the direction of text, and the line breaks of
#: Unicode.
_ORDERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
#: Secrets with fewer characters are placeholders such as EMPTY, which a text may contain by chance.
_MIN_SECRET = 16
_LETTER = "[A-Za-z0-9+/_-]?"
#: Characters of an answer or a reference at most. ROUGE-L of two texts of this length takes about two seconds, and of
#: two that are ten times as long a hundred times as much.
MAX_ANSWER = 200_000


def well_formed(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def printable(text: str) -> str:
    """The text as a terminal may get it: orders to it, and what turns the direction of text, as `\\u001b`.

    Line breaks and tabs stay. In JSON the escapes mean the same characters.
    """
    return _ORDERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def length_problem(text: str, most: int) -> str:
    """Why a text is not scored: it has more than `most` characters; empty where it has not."""
    if len(text) <= most:
        return ""
    return f"has {len(text)} characters, more than the {most} that are scored (--max-answer allows more)"


def without_logins(text: str) -> str:
    """The text without the `user:password@` of the addresses in it."""
    return _LOGIN.sub("", text) if "://" in text else text


def shown(text: str) -> str:
    """The text as people may see it: see `without_logins` and `printable`."""
    return printable(without_logins(text))


def masked(text: str, secrets: Iterable[str], shortest: int = _MIN_SECRET) -> str:
    """The text with `***` for each secret, also where it is escaped for addresses or written in base64 or hex.

    Args:
        text: which may repeat a secret, as servers do.
        secrets: such as API keys; blank ones are ignored.
        shortest: characters of a secret that is masked; shorter ones stay.
    """
    for secret in secrets:
        if len(secret) >= max(1, shortest):
            text = _forms_of(secret).sub("***", text)
    return text


@lru_cache(maxsize=8)
def _forms_of(secret: str) -> re.Pattern[str]:
    """A pattern of all ways in which a secret is written."""
    from base64 import b64encode

    forms = [re.escape(secret), re.escape(quote(secret, safe="")), "(?i:" + secret.encode().hex() + ")"]
    if len(secret) >= _MIN_SECRET:
        for before in range(3):
            # In base64 three bytes are four letters, so what stands before the secret decides how it is written. The
            # letters at its two ends also hold bits of its neighbours.
            encoded = b64encode(bytes(before) + secret.encode()).decode()
            whole = (before + len(secret.encode())) * 4 // 3
            inner = encoded[-(-before * 4 // 3) : whole]
            either = re.escape(inner).replace(r"\+", "[+-]").replace("/", "[/_]")
            forms.append(f"{_LETTER if before else ''}{either}{_LETTER}={{0,2}}")
    return re.compile("|".join(forms))
