"""What every reader of files begins with, bytes and text, and what it ends with: a value that follows a schema.

Readers raise errors of one line that name the file, and the place in it.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ..errors import DataError, PrlmBenchError

T = TypeVar("T")

#: Bytes of a line of a file, and bytes that a gzip file may hold unpacked.
MAX_LINE, MAX_UNPACKED = 1 << 28, 1 << 30
#: Characters of what a message repeats of a file.
_SHOWN = 200


def read_bytes(path: Path, name: str = "", limit: int | None = None) -> bytes:
    """The bytes of a file.

    Args:
        path: the file.
        name: what to call it in messages; its path by default.
        limit: bytes that it may have.

    Raises:
        DataError: it cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(-1 if limit is None else limit + 1)
    except (OSError, ValueError) as error:  # a path may hold what no path can hold
        raise DataError(f"{name or path}: cannot be read: {reason(error)}") from None
    if limit is not None and len(data) > limit:
        raise DataError(f"{name or path}: cannot be read: it is larger than {limit / 2**20:g} MiB")
    return data


def read_text(path: Path, name: str = "", limit: int | None = None) -> str:
    """The text of a file in UTF-8, without a byte order mark; line breaks stay as they are.

    Args:
        path: the file.
        name: what to call it in messages; its path by default.
        limit: bytes that it may have.

    Raises:
        DataError: it cannot be read, is larger, or is not UTF-8; names the line.
    """
    data = read_bytes(path, name, limit)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{name or path}:{line}: cannot be read: not UTF-8", "save it as UTF-8") from None


def byte_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, numbered from 1, without holding it; one that ends in `.gz` is unpacked.

    Raises:
        DataError: it cannot be read or is not gzip, has a line of more than `MAX_LINE` bytes, or more than
            `MAX_UNPACKED` bytes when unpacked; names the line.
    """
    number = total = 0
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            while line := file.readline(MAX_LINE + 1):
                number += 1
                total += len(line)
                if len(line) > MAX_LINE:
                    raise DataError(f"{path}:{number}: cannot be read: a line of more than {MAX_LINE >> 20} MiB")
                if packed and total > MAX_UNPACKED:
                    message = f"{path}:{number}: cannot be read: more than {MAX_UNPACKED >> 30} GiB unpacked"
                    raise DataError(message, "unpack it first; a plain file may have any size")
                yield number, line
    except (OSError, EOFError, ValueError, zlib.error) as error:
        where = f"{path}:{number + 1}" if number else str(path)
        raise DataError(f"{where}: cannot be read: {reason(error)}") from None


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of `byte_lines` as text.

    Raises:
        DataError: as there, or a line is not UTF-8.
    """
    for number, line in byte_lines(path):
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{path}:{number}: cannot be read: not UTF-8", "save it as UTF-8") from None


def validated(schema: type[T], content: Any, where: str, hint: str = "", error: type[PrlmBenchError] = DataError) -> T:
    """A value as a schema has it.

    Args:
        schema: a model of pydantic, or any type that pydantic checks.
        content: what was read.
        where: the file, and the place in it.
        hint: what to do about a wrong value.
        error: the class of the error.

    Raises:
        PrlmBenchError: the value does not follow the schema; names the first field that is wrong.
    """
    try:
        kind: Any = schema
        found: T = _adapter(kind).validate_python(content)
        return found
    except ValidationError as wrong:
        raise error(f"{where}: {first_problem(wrong)}", hint) from None


@cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    return TypeAdapter(schema)


def first_problem(error: Exception) -> str:
    """The first problem of a parsing error, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        field = shortened(".".join(map(str, first["loc"])))
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] in ("dict_type", "model_type", "dataclass_type"):
            message = "not a JSON object"
        return f"{field + ': ' if field else ''}{shortened(message)}"
    return shortened(str(error))


def reason(error: Exception) -> str:
    """Why a file cannot be read or written, without its name, in one line."""
    return shortened(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def shortened(text: str, most: int = _SHOWN) -> str:
    """The text on one line of at most `most` characters."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
