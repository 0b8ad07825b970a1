"""Reads answers out of completions: strictly first, then tolerantly in named steps.

The answer object is `{'title': '...'}` or the like, the format of the `prlm` protocol. The name of the
step that found an answer is kept with it; where none does, the answer is empty and counts as a failure.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from functools import lru_cache

from ..records import Answer
from ..tasks import Task

_END_OF_REASONING = "</think>"


def split_reasoning(text: str) -> tuple[str | None, str]:
    """`(reasoning, rest)`: what stands before the last `</think>`, and what follows it."""
    before, found, after = text.rpartition(_END_OF_REASONING)
    if not found:
        return None, text
    return before.removeprefix("<think>").strip(), after


def read_object(text: str, key: str) -> tuple[str, str | None]:
    """`(value, step)` of the answer object in `text`; `("", None)` where there is none.

    Steps: `strict` (the text is the object), `embedded` (the last whole object in the text),
    `truncated` (an object that the text ends within).
    """
    value = _literal(text.strip(), key)
    if value is not None:
        return value, "strict"
    whole, open_ended = _patterns(key)
    matches = list(whole.finditer(text))
    if matches:
        match = matches[-1]
        return (match["quoted"] if match["quoted"] is not None else match["bare"]).strip(), "embedded"
    last = open_ended.search(text)
    if last is not None and last["value"].strip():
        return last["value"].strip(), "truncated"
    return "", None


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
            return float(value) == float(value)
        except ValueError:
            return False
    return bool(value)


def _literal(text: str, key: str) -> str | None:
    if not (text.startswith("{") and text.endswith("}")):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)  # an odd backslash in a model's text is no news
                warnings.simplefilter("ignore", DeprecationWarning)
                found = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(found, dict) and isinstance(found.get(key), (str, int, float)):
            return str(found[key]).strip()
    return None


@lru_cache
def _patterns(key: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    head = rf"\{{\s*['\"]?{re.escape(key)}['\"]?\s*:\s*"
    # Lazy up to a quote that a brace follows, so that quotes inside the value are kept.
    whole = rf"{head}(?:(?P<quote>['\"])(?P<quoted>.*?)(?P=quote)|(?P<bare>[^'\"{{}}]+?))\s*\}}"
    open_ended = rf"{head}['\"]?(?P<value>[^{{}}]*)\Z"
    return re.compile(whole, re.DOTALL), re.compile(open_ended, re.DOTALL)
