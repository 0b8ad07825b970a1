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
    "embedded",  # an object with other text around it, a code fence for instance, or with loose inner quotes
    "key-case",  # the key in other letter case
    "typographic",  # typographic quotes around key or value
    "mismatched",  # the value's closing quote is missing or not like the opening one
    "truncated",  # the text ends within the object
    "unclosed",  # an object inside reasoning that was never closed
    "label",  # a label in other letter case, or with punctuation around it
)
#: One character for one character, so that places in the text stay the same.
_STRAIGHT = str.maketrans("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u2019\u201a\u201b", '""""""\'\'\'\'')
_QUOTES = "'\"\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u2019\u201a\u201b"
#: What a model copies from the wording that asks for the object.
_PLACEHOLDERS = frozenset({"...", "\u2026"})


def read_object(text: str, key: str) -> tuple[str, str | None]:
    """`(value, step)` of the answer object in `text`; `("", None)` where there is none.

    Of several whole objects the last one with a value counts; a copied `...` is no value. An object that the
    text ends within counts only where there is no whole one. `step` is one of `STEPS`.
    """
    value = _literal(text.strip(), key)
    if value is not None:
        return value, "strict"
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
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(found, dict) and isinstance(found.get(key), (str, int, float)):
            return _storable(str(found[key])).strip()
    return None


def _python(text: str) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # an odd backslash in a model's text is no news
        warnings.simplefilter("ignore", DeprecationWarning)
        return ast.literal_eval(text)


def _whole_objects(text: str, key: str) -> Iterator[tuple[str, str]]:
    plain = text.translate(_STRAIGHT)
    for match in _patterns(key)[0].finditer(plain):
        name = "key" if match["key"] is not None else "later_key"
        group = next(g for g in ("quoted", "bare", "loose") if match[g] is not None)
        value = text[slice(*match.span(group))]
        steps = {"embedded"}
        if match[name] != key:
            steps.add("key-case")
        if group == "loose" or value[-1:] in _QUOTES[:2] != "" and group == "bare":
            steps.add("mismatched")
            value = value.rstrip(_QUOTES)
        delimiters = text[match.start() : match.start(group)] + text[match.end(group) : match.end()]
        if delimiters != delimiters.translate(_STRAIGHT):
            steps.add("typographic")
        elif group == "quoted":
            value = _unescaped(value, match["quote"])
        yield value.strip(), max(steps, key=STEPS.index)
