"""Finds answer objects such as `{'title': '...'}` in what a language model wrote, however it wrote them."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache

#: Parsing steps from strict to tolerant. A value that needed several carries the name of the last one here.
STEPS = (
    "strict",  # the text is the object
    "whole",  # no object is asked for: the text is the answer
    "embedded",  # an object with other text around it, such as a code fence, or with loose quotes inside its value
    "key-case",  # the key in other letter case
    "typographic",  # typographic quotes around key or value
    "mismatched",  # a value whose closing quote is missing or not like the opening one
    "truncated",  # the text ends within the object
    "unclosed",  # an object inside reasoning that was never closed
    "label",  # a label in other letter case or with punctuation around it
)
_CURLY = "“”„‟«»‘’‚‛"
#: One character for one, so that places in the text stay the same.
_STRAIGHT = str.maketrans(_CURLY, '"' * 6 + "'" * 4)
#: What a model copies from the wording that asks for the object.
_PLACEHOLDERS = frozenset({"...", "…"})
#: What Python and JSON write for no value; in quotes they are words like others.
_NOTHING = frozenset({"None", "null"})
#: What `json.loads` and `ast.literal_eval` raise; the latter a TypeError for a set of sets.
_UNREADABLE = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


def read_object(text: str, key: str) -> tuple[str, str | None]:
    """`(value, step)` of the answer object in `text`; `("", None)` where there is none.

    Of several whole objects the last one with a value counts. An object that the text ends within counts
    only where there is no whole one. A copied `...` is no value. `step` is one of `STEPS`.
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
                return _storable(str(value)).strip()  # some integers are too long to be written
        except _UNREADABLE:
            continue
    return None


def _python(text: str) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # an odd backslash in a model's text is no news
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
    """What `value` stands for as a string literal, or itself where it is none (a loose quote inside it)."""
    if "\\" not in value:
        return value
    read = json.loads if quote == '"' else _python
    try:
        return _storable(str(read(f"{quote}{value}{quote}")))
    except _UNREADABLE:
        return value


def _storable(text: str) -> str:
    """`text` with lone surrogates, which no file can hold, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@lru_cache
def _patterns(key: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    name = f"(?i:{re.escape(key)})"
    first, later = rf"\{{\s*['\"]?(?P<key>{name})['\"]?", rf",\s*['\"](?P<later_key>{name})['\"]"
    head = rf"(?:{first}|{later})\s*:\s*"
    # A value never runs into another object and never ends with a blank: so the time stays linear in the text.
    inside = rf"(?!(?:\{{\s*['\"]?|,\s*['\"]){name}['\"]?\s*:)"
    end = r"(?=\s*\}|\s*,\s*['\"][^'\"{}:]*['\"]\s*:)"
    # Lazy up to a quote that a brace or another pair follows, so that quotes inside the value are kept.
    quoted = rf"(?P<quote>['\"])(?P<quoted>(?:{inside}.)*?)(?P=quote){end}"
    bare = rf"(?P<bare>[^'\"{{}}\s](?:{inside}[^{{}}])*?)(?<!\s){end}"
    loose = rf"['\"](?P<loose>(?:{inside}[^{{}}])*?)['\"]?(?<!\s)(?=\s*\}})"
    return re.compile(rf"{head}(?:{quoted}|{bare}|{loose})", re.DOTALL), re.compile(rf"{head}(?P<quote>['\"]?)")
