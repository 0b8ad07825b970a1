"""Text that can be stored and shown."""

import re

_LOGIN = re.compile(r"(?<=://)[^/?#\s]*@")


def well_formed(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def without_logins(text: str) -> str:
    """The text without the `user:password@` of the addresses in it."""
    return _LOGIN.sub("", text)
