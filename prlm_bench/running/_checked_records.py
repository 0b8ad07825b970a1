"""What prompts, completions and answers may hold, and the row in which the completion cache keeps a completion."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import partial
from typing import Any, TypeVar

import orjson

from .._util.checksums import seal, unseal
from ..errors import PrlmBenchError
from ..records import Answer, Completion, Draft, Prompt, Turn

T = TypeVar("T", Completion, Answer)
R = TypeVar("R")

_ROLES = ("system", "user", "assistant")
#: The largest count that can be stored.
_LARGEST = 2**63 - 1


def checked(record: T) -> T:
    """A completion or an answer with plain Python values. What components give and what was kept pass through here.

    Raises:
        PrlmBenchError: a field holds what cannot be stored.
    """
    made = Completion if isinstance(record, Completion) else Answer
    changed = {}
    for name, check in _CHECKS[made].items():
        value = getattr(record, name)
        plain = check(value)
        if plain is not value:
            changed[name] = plain
    if changed or type(record) is not made:
        return made(**{name: getattr(record, name) for name in _CHECKS[made]} | changed)
    return record


def check_prompt(prompt: Prompt) -> None:
    """Check the fields of a prompt that are stored.

    Raises:
        PrlmBenchError: a field holds what cannot be stored.
    """
    for name, check in _CHECKS[Prompt].items():
        check(getattr(prompt, name))
    _check_turns(prompt)
    for draft in _each(prompt.drafts, Draft, "drafts"):
        check_prompt(_is(draft.prompt, Prompt, "a draft's prompt"))
        checked(_is(draft.completion, Completion, "a draft's completion"))


def _check_turns(prompt: Prompt) -> None:
    turns = _each(prompt.turns, Turn, "turns")
    for turn in turns:
        if turn.role not in _ROLES:
            raise _error("gave a turn whose role", f"is none of {', '.join(_ROLES)}", turn.role)
        _text("gave a turn whose text", turn.text)
    if turns and (turns[-1].role != "user" or not prompt.chat):
        raise PrlmBenchError("gave a prompt of several turns that is no chat, or does not end with the user's")


def _each(values: Any, kind: type[R], name: str) -> tuple[R, ...]:
    if not isinstance(values, tuple):
        raise _error(f"gave a prompt whose {name}", "are no tuple", values)
    for value in values:
        _is(value, kind, f"a prompt whose {name}")
    return values


def _is(value: Any, kind: type[R], what: str) -> R:
    if not isinstance(value, kind):
        raise _error(f"gave {what}", f"is no {kind.__name__}", value)
    return value


def to_row(key: str, completion: Completion) -> bytes:
    """The JSON text that keeps a completion, with a checksum over it and its key."""
    return seal(orjson.dumps(asdict(completion)), key.encode())


def from_row(key: str, row: object) -> Completion | None:
    """The completion of a row; None if the row is damaged or was written by a version with other fields.

    A row without a checksum, as earlier releases wrote it, is judged by the types of its fields alone.
    """
    if not isinstance(row, bytes):
        return None
    text = unseal(row, key.encode())
    if text is None:
        return None
    try:
        content = orjson.loads(text)
        return checked(Completion(**content)) if isinstance(content, Mapping) else None
    except (TypeError, ValueError, PrlmBenchError):
        return None


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _error(name, "is not text", value)
    try:
        if not value.isascii():
            value.encode()
    except UnicodeEncodeError:
        raise _error(name, "has half a surrogate pair, which cannot be stored", value) from None
    return value if type(value) is str else str(value)


def _flag(name: str, value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise _error(name, "is neither true nor false", value)


def _count(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise _error(name, "is not a whole number", value) from None
    if isinstance(value, bool) or not 0 <= number <= _LARGEST:
        raise _error(name, "is not a count", value)
    return number


def _number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, str | bytes | bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise _error(name, "is not a number", value)
    return number


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise _error(name, "is not a tuple of texts", value)
    plain = tuple(_text(name, each) for each in value)
    return value if isinstance(value, tuple) and all(map(operator.is_, plain, value)) else plain


def _or_none(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else check(name, value)


def _error(name: str, what: str, value: Any) -> PrlmBenchError:
    return PrlmBenchError(f"{name} {what}: {ascii(value)[:60]}")


#: How a field is checked, by the type that the record states for it.
_KINDS: dict[str, Callable[[str, Any], Any]] = {
    "str": _text,
    "bool": _flag,
    "int": _count,
    "float": _number,
    "tuple[str, ...]": _texts,
}


def _checks_of(record: type, words: str) -> dict[str, Callable[[Any], Any]]:
    found: dict[str, Callable[[Any], Any]] = {}
    for field in fields(record):
        check = _KINDS.get(str(field.type).removesuffix(" | None"))
        if check is not None:
            check = check if str(field.type) in _KINDS else _or_none(check)
            found[field.name] = partial(check, f"gave {words} whose {field.name}")
    return found


_CHECKS: dict[type, dict[str, Callable[[Any], Any]]] = {
    Completion: _checks_of(Completion, "a completion"),
    Answer: _checks_of(Answer, "an answer"),
    Prompt: _checks_of(Prompt, "a prompt"),
}
