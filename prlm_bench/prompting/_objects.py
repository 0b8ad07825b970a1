"""Finds answer objects such as `{'title': '...'}` in the text of a language model, in any notation."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache

from .._util.text import well_formed

#: Parsing steps from strict to tolerant. If a value needed several, the last of them is recorded.
STEPS = (
    "strict",  # the text is the object
    "whole",  # no object was requested: the text is the answer
    "embedded",  # an object with other text around it, such as a code fence, or with loose quotes inside its value
    "key-case",  # the key in other letter case
    "typographic",  # typographic quotes around key or value
    "mismatched",  # a value whose closing quote is missing or not like the opening one
    "truncated",  # the text ends within the object
    "unclosed",  # an object inside reasoning that was never closed
    "label",  # a label in other letter case or with punctuation around it
)
_CURLY = "“”„‟«»‘’‚‛"
#: One character for one, so that positions in the text stay the same.
_STRAIGHT = str.maketrans(_CURLY, '"' * 6 + "'" * 4)
#: Placeholders that models copy from the instruction.
_PLACEHOLDERS = frozenset({"...", "…"})
#: Null values of Python and JSON; in quotes they are ordinary words.
_NOTHING = frozenset({"None", "null"})
#: Exceptions of `json.loads` and `ast.literal_eval`; the latter raises a TypeError for a set of sets.
_UNREADABLE = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


def read_object(text: str, key: str) -> tuple[str, str | None]:
    """`(value, step)` of the answer object in `text`; `("", None)` if there is none.

    Of several complete objects the last one with a value counts. A truncated object counts only if there is no complete
    one. A copied `...` does not count as a value. `step` is one of `STEPS`.
    """
    value, step = _read(text, key)
    return ("", None) if value in _PLACEHOLDERS else (value, step)


def _read(text: str, key: str) -> tuple[str, str | None]:
    literal = _literal(text.strip(), key)
    if literal is not None:
        return literal, "strict"
    found = list(_whole_objects(text, key))
    for value, step in reversed(found):
        if value and value not in _PLACEHOLDERS:
            return value, step
    if found:
        return found[-1]
    value = _open_ended(text, key)
    return (value, "truncated") if value else ("", None)


def _literal(text: str, key: str) -> str | None:
    if not (text.startswith("{") and text.endswith("}")):
        return None
    for read in (json.loads, _python):
        try:
            found = read(text)
            value = found.get(key) if isinstance(found, dict) else None
            if isinstance(value, (str, int, float)):
                return well_formed(str(value)).strip()  # some integers are too long for str()
        except _UNREADABLE:
            continue
    return None


def _python(text: str) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # odd backslashes are common in the text of models
        warnings.simplefilter("ignore", DeprecationWarning)
        return ast.literal_eval(text)


def _whole_objects(text: str, key: str) -> Iterator[tuple[str, str]]:
    for match in _patterns(key)[0].finditer(text.translate(_STRAIGHT)):
        group = next(name for name in ("quoted", "bare", "loose") if match[name] is not None)
        value = text[match.start(group) : match.end(group)]
        if group == "bare" and value in _NOTHING:
            continue
        around = text[match.start() : match.start(group)] + text[match.end(group) : match.end()]
        steps = ["embedded"]
        if (match["key"] or match["later_key"]) != key:
            steps.append("key-case")
        if around != around.translate(_STRAIGHT):
            steps.append("typographic")
        elif group == "quoted":
            value = _unescaped(value, match["quote"])
        if group == "loose" or (group == "bare" and value.endswith(("'", '"'))):
            steps.append("mismatched")
            value = value.rstrip("'\"" + _CURLY)
        yield value.strip(), max(steps, key=STEPS.index)


def _open_ended(text: str, key: str) -> str:
    heads = list(_patterns(key)[1].finditer(text.translate(_STRAIGHT)))
    if not heads or set("{}") & set(text[heads[-1].end() :]):
        return ""
    match = heads[-1]
    value = text[match.end() :].strip().removesuffix("```").strip()
    if match["quote"] and value.translate(_STRAIGHT).endswith(match["quote"]):
        value = value[:-1]
    return value.strip()


def _unescaped(value: str, quote: str) -> str:
    """`value` read as a string literal, or unchanged if it is not a valid one (with a loose quote inside)."""
    if "\\" not in value:
        return value
    read = json.loads if quote == '"' else _python
    try:
        return well_formed(str(read(f"{quote}{value}{quote}")))
    except _UNREADABLE:
        return value


@lru_cache
def _patterns(key: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    name = f"(?i:{re.escape(key)})"
    first, later = rf"\{{\s*['\"]?(?P<key>{name})['\"]?", rf",\s*['\"](?P<later_key>{name})['\"]"
    head = rf"(?:{first}|{later})\s*:\s*"
    # A value never extends into another object and never ends with a blank, which keeps the time linear.
    inside = rf"(?!(?:\{{\s*['\"]?|,\s*['\"]){name}['\"]?\s*:)"
    end = r"(?=\s*\}|\s*,\s*['\"][^'\"{}:]*['\"]\s*:)"
    # Lazy up to a quote followed by a brace or another pair, so that quotes inside the value are kept.
    quoted = rf"(?P<quote>['\"])(?P<quoted>(?:{inside}.)*?)(?P=quote){end}"
    bare = rf"(?P<bare>[^'\"{{}}\s](?:{inside}[^{{}}])*?)(?<!\s){end}"
    loose = rf"['\"](?P<loose>(?:{inside}[^{{}}])*?)['\"]?(?<!\s)(?=\s*\}})"
    return re.compile(rf"{head}(?:{quoted}|{bare}|{loose})", re.DOTALL), re.compile(rf"{head}(?P<quote>['\"]?)")
