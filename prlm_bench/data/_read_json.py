"""Reads JSON that users and other programs write: one function for every such file.

It gives what `json.load` gives, of equal keys the last, and says where a file goes wrong. A byte order mark of UTF-8 is
skipped; another encoding is refused. `NaN` and halves of surrogate pairs are read, as by `json.load`; whether they mean
anything is for the reader of the field to say. Values nested deeper than about a thousand levels are refused, and so
are whole numbers of more than 4300 digits.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from ..errors import DataError

BOM = codecs.BOM_UTF8
_CONVERT = "save it as UTF-8"
_UNFINISHED = re.compile(r"\s*|\.|[eE][+-]?")
_LITERALS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_SIGNATURES = (
    (codecs.BOM_UTF32_LE, "UTF-32, not UTF-8"),
    (codecs.BOM_UTF32_BE, "UTF-32, not UTF-8"),
    (codecs.BOM_UTF16_LE, "UTF-16, not UTF-8"),
    (codecs.BOM_UTF16_BE, "UTF-16, not UTF-8"),
    (b"\x1f\x8b", "gzip-compressed; unpack it first"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
)


class StructureError(DataError):
    """A file that cannot be read as JSON at all, from some byte on.

    Args:
        file: what to call the file.
        problem: what is wrong, with its position.
        offset: the byte, counted from 0.
        hint: what to do about it.
    """

    def __init__(self, file: str, problem: str, offset: int, hint: str = "") -> None:
        super().__init__(f"{file}: {problem}", hint)
        self.problem = problem
        self.offset = offset


def check_signature(file: str, head: bytes) -> None:
    """Refuse what the first bytes of a file show to be no UTF-8 text.

    Raises:
        StructureError: another encoding, or a compressed file.
    """
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            raise StructureError(file, f"the file is {what} (byte 0)", 0, _CONVERT if "UTF-8" in what else "")
    if b"\0" in head[:4]:
        raise StructureError(file, "the file is UTF-16 or UTF-32, or no text; UTF-8 is needed (byte 0)", 0, _CONVERT)


def encoding_error(file: str, base: int, error: UnicodeDecodeError) -> StructureError:
    """The error for bytes that are not UTF-8, `base` bytes into the file."""
    offset = base + error.start
    byte = error.object[error.start]
    return StructureError(
        file, f"not UTF-8: byte 0x{byte:02x} at byte {offset}", offset, "is it Latin-1 or Windows-1252? convert it"
    )


def read_json(path: Path, name: str = "") -> Any:
    """The content of a JSON file that fits into memory.

    Args:
        path: the file.
        name: what to call it in messages; its path by default.

    Raises:
        DataError: it cannot be read.
        StructureError: it is not JSON in UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{name or path}: cannot be read: {error.strerror or error}") from None
    return parse_json(name or str(path), data)


def parse_json(file: str, data: bytes) -> Any:
    """The content of a whole JSON file; `file` is what to call it.

    Raises:
        StructureError: it is not JSON in UTF-8.
    """
    check_signature(file, data)
    bom = len(BOM) if data.startswith(BOM) else 0
    if not data[bom:].strip():
        raise StructureError(file, "the file is empty (byte 0)", 0)
    return parse(file, memoryview(data)[bom:], bom)


def parse(file: str, data: bytes | memoryview, base: int, after: Callable[[], str] = str) -> Any:
    """One JSON value, `base` bytes into the file; `after` says what came before it.

    Raises:
        StructureError: not UTF-8, or not valid JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    # orjson refuses what the standard library accepts (lone surrogates, NaN), and does not say where.
    try:
        text = bytes(data).decode()
    except UnicodeDecodeError as error:
        raise encoding_error(file, base, error) from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if may_go_on(error, text):
            raise cut_off(file, base + len(data), after()) from None
        raise malformed(file, text, base, error, after()) from None
    except (ValueError, RecursionError) as error:
        raise unreadable(file, base, error, after()) from None


def unreadable(file: str, offset: int, error: Exception, after: str) -> StructureError:
    """The error for JSON beyond the limits of a reader: nesting, or the digits of a number."""
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return StructureError(file, f"not readable as JSON at byte {offset}{after}: {reason}", offset)


def malformed(file: str, text: str, base: int, error: json.JSONDecodeError, after: str) -> StructureError:
    """The error for text that is not JSON, `base` bytes into the file."""
    offset = base + len(text[: error.pos].encode(errors="surrogatepass"))
    return StructureError(file, f"not valid JSON at byte {offset}{after}: {error.msg}", offset)


def cut_off(file: str, offset: int, after: str) -> StructureError:
    """The error for a file that ends in the middle of a value."""
    return StructureError(file, f"the file is cut off at byte {offset}{after}", offset, "download or copy it again")


def may_go_on(error: json.JSONDecodeError, text: str) -> bool:
    """Whether the error may be owed to the text ending too early."""
    rest = text[error.pos :]
    if error.msg.startswith("Unterminated string"):
        return True
    if error.msg.startswith("Invalid \\u"):
        return len(rest) < len(r"\uD800")
    if error.msg.startswith("Expecting value"):
        return any(literal.startswith(rest) for literal in _LITERALS)
    return _UNFINISHED.fullmatch(rest) is not None
