"""What a completion may hold, and the row in which the completion cache keeps it."""

from __future__ import annotations

import math
import operator
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

import orjson

from ..errors import PrlmBenchError
from ..records import Completion

#: The largest count that can be stored.
_LARGEST = 2**63 - 1
_END = re.compile(rb',"crc32":"([0-9a-f]{8})"\}')
_CHECKSUM = b',"crc32":"%08x"}'
_END_LENGTH = len(_CHECKSUM % 0)


def checked(completion: Completion) -> Completion:
    """The completion with plain Python values. What a generator gives and what was kept pass through here.

    Raises:
        PrlmBenchError: a field holds what cannot be stored.
    """
    return Completion(**{name: check(name, getattr(completion, name)) for name, check in _CHECKS.items()})


def to_row(key: str, completion: Completion) -> bytes:
    """The JSON text that keeps a completion, with a checksum over it and its key."""
    body = orjson.dumps(asdict(completion))[:-1]
    return body + _CHECKSUM % zlib.crc32(body, zlib.crc32(key.encode()))


def from_row(key: str, row: object) -> Completion | None:
    """The completion of a row; None if the row is damaged or was written by a version with other fields.

    A row without a checksum, as earlier releases wrote it, is judged by the types of its fields alone.
    """
    if not isinstance(row, bytes):
        return None
    end = _END.fullmatch(row[-_END_LENGTH:])
    if end is not None:
        if zlib.crc32(row[:-_END_LENGTH], zlib.crc32(key.encode())) != int(end.group(1), 16):
            return None
        row = row[:-_END_LENGTH] + b"}"
    try:
        content = orjson.loads(row)
        return checked(Completion(**content)) if isinstance(content, Mapping) else None
    except (TypeError, ValueError, PrlmBenchError):
        return None


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _error(name, "is not text", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _error(name, "has half a surrogate pair, which cannot be stored", value) from None
    return str(value)


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
        raise _error(name, "is not a number of tokens", value)
    return number


def _number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, str | bytes | bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise _error(name, "is not a number", value)
    return number


def _or_none(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else check(name, value)


def _error(name: str, what: str, value: Any) -> PrlmBenchError:
    return PrlmBenchError(f"gave a completion whose {name} {what}: {ascii(value)[:60]}")


#: How a field is checked, by the type that `Completion` states for it.
_KINDS: dict[str, Callable[[str, Any], Any]] = {"str": _text, "bool": _flag, "int": _count, "float": _number}


def _check_of(kind: str) -> Callable[[str, Any], Any]:
    check = _KINDS[kind.removesuffix(" | None")]
    return check if kind in _KINDS else _or_none(check)


_CHECKS = {field.name: _check_of(str(field.type)) for field in fields(Completion)}
