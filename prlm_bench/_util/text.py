"""Text that can be stored and shown."""

import re

#: Characters of an answer or a reference at most. ROUGE-L of two texts of this length takes about two seconds, and of
#: two that are ten times as long a hundred times as much.
MAX_ANSWER = 200_000
_LOGIN = re.compile(r"(?<=://)[^/?#\s]*@")


def well_formed(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def length_problem(text: str, most: int) -> str:
    """Why a text is not scored: it has more than `most` characters; empty where it has not."""
    if len(text) <= most:
        return ""
    return f"has {len(text)} characters, more than the {most} that are scored (--max-answer allows more)"


def without_logins(text: str) -> str:
    """The text without the `user:password@` of the addresses in it."""
    return _LOGIN.sub("", text)
