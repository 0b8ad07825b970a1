"""Reads JSON that users and other programs write: one place for every such file and reply.

There are two rules. What other programs write by LaMP's (`read_json`, `parse_json`) is read as `json.load` reads it, of
equal keys the last: `NaN`, halves of surrogate pairs and numbers of any size are for the reader of the field to judge.
What this project writes (`load_json`, `load_json_lines`, `parse_record`) is JSON of the standard, at most `MAX_DEPTH`
levels deep, and follows a schema. Both skip a byte order mark of UTF-8, refuse other encodings, and say where a file
goes wrong.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson

from ..errors import DataError, PrlmBenchError
from .reading import byte_lines, read_bytes, validated

T = TypeVar("T")

#: Levels of nesting in what this project writes.
MAX_DEPTH = 200
BOM = codecs.BOM_UTF8
_CONVERT = "save it as UTF-8"
_UNFINISHED = re.compile(r"\s*|\.|[eE][+-]?")
_BLANK = re.compile(r"\s*")
_LITERALS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_SIGNATURES = (
    (codecs.BOM_UTF32_LE, "UTF-32, not UTF-8"),
    (codecs.BOM_UTF32_BE, "UTF-32, not UTF-8"),
    (codecs.BOM_UTF16_LE, "UTF-16, not UTF-8"),
    (codecs.BOM_UTF16_BE, "UTF-16, not UTF-8"),
    (b"\x1f\x8b", "gzip-compressed; unpack it first"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)


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
    return parse_json(name or str(path), read_bytes(path, name))


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


def load_json(
    path: Path, schema: type[T], name: str = "", hint: str = "", error: type[PrlmBenchError] = DataError
) -> T:
    """The content of a JSON file that follows a schema.

    Args:
        path: the file.
        schema: a model of pydantic, or any type that pydantic checks.
        name: what to call the file in messages; its path by default.
        hint: what to do about a damaged file.
        error: the class of the error for what the file holds.

    Raises:
        DataError: it cannot be read.
        PrlmBenchError: it is not JSON of the standard, or does not follow the schema; names the place.
    """
    return parse_record(read_bytes(path, name), schema, name or str(path), hint, error)


def load_json_lines(path: Path, schema: type[T], hint: str = "", *, torn: bool = False) -> Iterator[T]:
    """The lines of a JSON lines file, each of which follows a schema. Empty lines are skipped.

    Args:
        path: the file.
        schema: a model of pydantic, or any type that pydantic checks.
        hint: what to do about a damaged file.
        torn: skip a last line without a line break, which a killed process may leave.

    Raises:
        DataError: it cannot be read, or a line is not JSON or does not follow the schema; names the line.
    """
    for number, line in byte_lines(path):
        if line.strip() and not (torn and not line.endswith(b"\n")):
            yield parse_record(line, schema, f"{path}:{number}", hint)


def parse_record(
    data: bytes, schema: type[T], where: str, hint: str = "", error: type[PrlmBenchError] = DataError
) -> T:
    """JSON of the standard that follows a schema.

    Args:
        data: the text, in UTF-8.
        schema: a model of pydantic, or any type that pydantic checks.
        where: the file, and the line in it, for messages.
        hint: what to do about damaged text.
        error: the class of the error.

    Raises:
        PrlmBenchError: it is something else; names the place.
    """
    try:
        content = _standard(where, data)
    except StructureError as wrong:
        raise error(wrong.message, hint or wrong.hint) from None
    return validated(schema, content, where, hint, error)


def _standard(file: str, data: bytes) -> Any:
    """One value of JSON as the standard has it, at most `MAX_DEPTH` levels deep."""
    if _is_deep(data):
        raise StructureError(file, f"not readable as JSON: nested more than {MAX_DEPTH} levels deep", 0)
    try:
        return orjson.loads(data.removeprefix(BOM))
    except orjson.JSONDecodeError as error:
        parse_json(file, data)  # says where it goes wrong, unless the standard library takes it
        raise StructureError(file, f"not valid JSON at byte {error.pos}: {error.msg}", error.pos) from None


def _is_deep(data: bytes) -> bool:
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    import numpy as np  # takes a tenth of a second, and few files have so many brackets

    text = np.frombuffer(_STRING.sub(b"", data), dtype=np.uint8)
    opened, closed = np.isin(text, [*b"[{"]), np.isin(text, [*b"]}"])
    depth = np.cumsum(opened.astype(np.int8) - closed.astype(np.int8), dtype=np.int32)
    return bool(depth.max(initial=0) > MAX_DEPTH)


def elements(file: str, text: str) -> Iterator[tuple[int, Any]]:
    """The elements of a JSON list, or JSON lines, each with the number of its first line.

    Raises:
        DataError: it is not JSON; names the line.
    """
    decoder = json.JSONDecoder()
    at = _skip(text, 0)
    listed = text[at : at + 1] == "["
    at += listed
    line, counted = 1, 0
    while True:
        at = _skip(text, at)
        line, counted = line + text.count("\n", counted, at), at
        if at == len(text) or text[at] == "]":
            if listed and text[at:].strip() != "]":
                raise DataError(f"{file}:{line}: not JSON: the list is not closed, or text follows it")
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file}:{line}: not JSON: {_beyond(error)}") from None
        yield line, value
        at = _skip(text, at)
        if listed and text[at : at + 1] not in (",", "]"):
            raise DataError(f"{file}:{line}: not JSON: missing comma")
        at += listed and text[at] == ","


def _skip(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    assert blank is not None
    return blank.end()


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
    return StructureError(file, f"not readable as JSON at byte {offset}{after}: {_beyond(error)}", offset)


def _beyond(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "a whole number has too many digits"  # the one other error of the standard library's reader


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
