"""Reads answers out of completions: strictly first, then tolerantly in named steps.

The answer object is `{'title': '...'}` or the like, the format of the `prlm` protocol. The name of the
step that found an answer is kept with it; where none does, the answer is empty and counts as a failure.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from functools import lru_cache
from typing import NamedTuple

from ..records import Answer
from ..tasks import Task

_START_OF_REASONING = "<think>"
_END_OF_REASONING = "</think>"
_JSON = json.JSONDecoder(strict=False)  # a line break inside a string is forgiven


def split_reasoning(text: str) -> tuple[str | None, str]:
    """`(reasoning, rest)`: what stands before the last `</think>`, and what follows it.

    A text that opens with `<think>` and never closes it is all reasoning: the generator stopped too early.
    """
    before, closed, after = text.rpartition(_END_OF_REASONING)
    if not closed:
        if not text.lstrip().startswith(_START_OF_REASONING):
            return None, text
        before, after = text, ""
    return before.strip().removeprefix(_START_OF_REASONING).strip(), after


def read_object(text: str, key: str) -> tuple[str, str | None]:
    """`(value, step)` of the answer object in `text`; `("", None)` where there is none.

    Steps: `strict` (the text is the object), `embedded` (the last whole object in the text),
    `truncated` (an object that the text ends within).
    """
    value = _literal(text.strip(), key)
    if value is not None:
        return value, "strict"
    patterns = _patterns(key)
    whole, unfinished, position = None, None, 0
    while head := patterns.head.search(text, position):
        position = head.end()
        found = patterns.exact.match(text, position)
        if found is None and head["opened"]:
            found = patterns.lenient.match(text, position)
            unfinished = None if found else patterns.unfinished.match(text, position)
        if found is not None:
            whole, position = found, found.end()
    if whole is not None:
        return _value(whole), "embedded"
    value = _value(unfinished) if unfinished else ""
    return value, "truncated" if value else None


def find_answer(task: Task, text: str, key: str | None = None) -> Answer:
    """The answer in a completion.

    Args:
        task: says which answers are possible: one of its labels, a number, or any text that is not blank.
        text: the completion; reasoning that ends with `</think>` is split off.
        key: the key of the answer object; None where the completion is the answer.
    """
    reasoning, rest = split_reasoning(text)
    value, step = (rest.strip(), "whole") if key is None else read_object(rest, key)
    return Answer(value, step if step and _possible(task, value) else None, reasoning)


def _possible(task: Task, value: str) -> bool:
    if task.output == "label":
        return value in task.labels
    if task.output == "number":
        try:
            return math.isfinite(float(value))
        except ValueError:
            return False
    return bool(value)


def _literal(text: str, key: str) -> str | None:
    """The value of `key` in a text that is a JSON object or a Python dict."""
    found = _evaluated(text) if text.startswith("{") and text.endswith("}") else None
    value = found.get(key) if isinstance(found, dict) else None
    try:
        return _sound(str(value)).strip() if isinstance(value, (str, int, float)) else None
    except ValueError:  # an integer too long to be written
        return None


def _value(match: re.Match[str]) -> str:
    """What stands in the match, its escapes resolved where it is quoted and they are whole."""
    quote, body = match["quote"] or "", match["quoted"] or match["bare"] or ""
    if not quote:
        return "" if body in ("None", "null") else body.strip()
    found = _evaluated(f"{quote}{body}{quote}") if "\\" in body else body
    return _sound(found if isinstance(found, str) else body).strip()


def _evaluated(text: str) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd backslash in a model's text is no news
        for read in (_JSON.decode, ast.literal_eval):
            try:
                return read(text)
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                continue
    return None


def _sound(text: str) -> str:
    """The text with its surrogates joined, or replaced where they are alone: nothing could store those."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _Patterns(NamedTuple):
    """How an answer object is written: `head` goes up to the value, the others begin with it."""

    #: `opened` is the brace; without it the key follows others.
    head: re.Pattern[str]
    #: A well-formed value, then the closing brace or another key.
    exact: re.Pattern[str]
    #: Anything up to a quote and a closing brace, quotes inside the value included; or up to the brace alone.
    lenient: re.Pattern[str]
    #: A value that the text ends within.
    unfinished: re.Pattern[str]


@lru_cache
def _patterns(key: str) -> _Patterns:
    name = re.escape(key)
    head = rf"(?:(?P<opened>\{{)\s*['\"]?{name}['\"]?|,\s*(?:'{name}'|\"{name}\"))\s*:\s*"
    string = r"""(?P<quote>['"])(?P<quoted>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)"""
    exact = rf"""(?:{string}|(?P<bare>[^'"{{}},\s][^'"{{}}]*?))\s*(?:\}}|(?=,\s*['"]\w+['"]\s*:))"""
    another = rf"\{{\s*['\"]?{name}['\"]?\s*:"
    lenient = rf"""(?P<quote>['"])(?:(?P<quoted>(?:(?!{another}).)*?)(?P=quote)|(?P<bare>[^{{}}]*))\s*\}}"""
    unfinished = r"""(?:(?P<quote>['"])(?P<quoted>.*?)(?:(?P=quote)\s*)?|(?P<bare>[^{}]*?))(?:\s*`{3})?\s*\Z"""
    return _Patterns(*(re.compile(pattern, re.DOTALL) for pattern in (head, exact, lenient, unfinished)))
