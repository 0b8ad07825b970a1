"""Reads what a server sends: the one place where foreign JSON becomes values that can be stored and shown."""

from __future__ import annotations

import json
import math
from typing import Any

from prlm_bench.files import well_formed

from ._server import Key

#: Digits of a whole number that is kept: any reader of JSON holds it exactly.
_MAX_DIGITS = 15
#: Levels of nesting.
_MAX_DEPTH = 100


def parse(body: bytes, key: Key) -> Any:
    """The JSON value in a reply, without anything that a file or a terminal cannot hold.

    Lone surrogates become U+FFFD, the key becomes `***`, and None stands for numbers that are not finite or have more
    than 15 digits. A key that is too short to be a secret is left, because a completion may contain it by chance.

    Raises:
        ValueError: the body is not JSON, or is nested too deeply.
    """
    try:
        value = json.loads(body, parse_int=_whole, parse_float=_real, parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return _clean(value, key, 1)


def _clean(value: Any, key: Key, depth: int) -> Any:
    if isinstance(value, str):
        return well_formed(key.mask(value, short=False))
    if isinstance(value, list | dict) and depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, list):
        return [_clean(member, key, depth + 1) for member in value]
    if isinstance(value, dict):
        return {_clean(name, key, depth): _clean(member, key, depth + 1) for name, member in value.items()}
    return value


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits.lstrip("-")) <= _MAX_DIGITS else None


def _real(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def one_line(text: str, key: Key, limit: int = 200) -> str:
    """Text of a server for a message: one line of printable characters, without the key, shortened to `limit`."""
    printable = "".join(letter if letter.isprintable() else " " for letter in key.mask(text))
    line = " ".join(well_formed(printable).split())
    return line[:limit] + "..." if len(line) > limit else line
