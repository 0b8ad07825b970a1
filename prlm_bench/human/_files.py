"""Exports and keys as files."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from .._util.files import pretty, write_whole
from ..errors import DataError
from ._schema import Key, Shown

FORMATS = ("csv", "label-studio")
#: Columns of a pair, in the order of the CSV file; the last two are for the annotator to fill in.
FIELDS = tuple(Shown.model_fields)
COLUMNS = (*FIELDS, "choice", "annotator")
T = TypeVar("T", bound=BaseModel)
_LABELS = Path(__file__).resolve().parent / "templates" / "label_studio.txt"


def write_export(shown: Sequence[Shown], path: Path, form: str) -> list[Path]:
    """Write what annotators get, in one of `FORMATS`; for Label Studio its labeling configuration too.

    Returns:
        The files written.
    """
    if form == "csv":
        write_whole(path, _csv(shown))
        return [path]
    write_whole(path, pretty([{"data": row.model_dump()} for row in shown]))
    labels = path.with_suffix(".config.xml")
    write_whole(labels, _LABELS.read_bytes())
    return [path, labels]


def _csv(shown: Sequence[Shown]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in shown:
        writer.writerow([*(guard(getattr(row, name)) for name in FIELDS), "", ""])
    return out.getvalue().encode()


def guard(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before what could begin one."""
    return "'" + text if re.match(r"'*[=+\-@\t\r]", text) else text


def unguard(text: str) -> str:
    """What `guard` was given."""
    return text[1:] if re.match(r"'+[=+\-@\t\r]", text) else text


def read_export(path: Path) -> list[Shown]:
    """The pairs of an export, in either format.

    Raises:
        DataError: not an export; the message names the place.
    """
    text = read_text(path)
    if text.lstrip().startswith("["):
        return _from_json(path, text)
    rows = []
    for line, row in csv_rows(path, text, FIELDS):
        rows.append(_shown(f"{path}:{line}", {name: unguard(row[name]) for name in FIELDS}))
    return _not_empty(path, rows)


def _from_json(path: Path, text: str) -> list[Shown]:
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    rows = [
        _shown(f"{path}: entry {number}", entry.get("data") if isinstance(entry, dict) else None)
        for number, entry in enumerate(content, 1)
    ]
    return _not_empty(path, rows)


def _shown(where: str, content: Any) -> Shown:
    return _valid(Shown, where, content)


def _not_empty(path: Path, rows: list[Shown]) -> list[Shown]:
    if not rows:
        raise DataError(f"{path}: there are no pairs in it", "prlm-bench human export makes such files")
    return rows


def write_key(key: Key, path: Path) -> None:
    """Write the key, which must not go to annotators."""
    write_whole(path, pretty(key.model_dump()))


def read_key(path: Path) -> Key:
    """The key of an export.

    Raises:
        DataError: it cannot be read, or is no key.
    """
    try:
        content = orjson.loads(read_text(path))
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    return _valid(Key, str(path), content)


def _valid(schema: type[T], where: str, content: Any) -> T:
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise DataError(f"{where}: {field + ': ' if field else ''}{first['msg']}") from None


def read_text(path: Path) -> str:
    """A file's text, without the mark that spreadsheets put before it.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: not UTF-8", "save it as CSV UTF-8") from None


def csv_rows(path: Path, text: str, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file, each with the line where it begins; missing cells are empty.

    Raises:
        DataError: a needed column is not there, or the file is not CSV.
    """
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    with _long_cells():
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            names = [name.strip().lower() for name in next(reader, [])]
            missing = [name for name in needed if name not in names]
            if missing:
                raise DataError(f"{path}:1: no column {missing[0]!r}", f"needed: {', '.join(needed)}")
            begins = reader.line_num + 1
            for cells in reader:
                if any(cells):
                    row = dict.fromkeys(names, "") | dict(zip(names, cells, strict=False))
                    yield begins, row
                begins = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: not CSV: {error}") from None


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
