"""Reads and writes the files of exports and keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._util.cells import csv_text, unguarded
from .._util.csv_rows import csv_rows
from .._util.files import pretty, write_whole
from .._util.json_text import elements, load_json
from .._util.reading import read_text, validated
from ..errors import DataError
from ._schema import Key, Shown

FORMATS = ("csv", "label-studio")
#: Columns of the CSV file, in order; the annotator fills in the last two.
FIELDS = tuple(Shown.model_fields)
COLUMNS = (*FIELDS, "choice", "annotator")
_LABELS = Path(__file__).resolve().parent / "templates" / "label_studio.txt"


def write_export(shown: Sequence[Shown], path: Path, form: str) -> list[Path]:
    """Write the pairs for annotators in one of `FORMATS`; for Label Studio also its labeling configuration.

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
    return csv_text([COLUMNS, *([*(getattr(row, name) for name in FIELDS), "", ""] for row in shown)]).encode()


def read_export(path: Path) -> list[Shown]:
    """Read the pairs of an export, in either format.

    Raises:
        DataError: not an export; the message says where.
    """
    text = read_text(path)
    if text.lstrip().startswith("["):
        return _from_json(path, text)
    rows = []
    for line, row in csv_rows(path, text, FIELDS):
        rows.append(_shown(f"{path}:{line}", {name: unguarded(row[name]) for name in FIELDS}))
    return _not_empty(path, rows)


def _from_json(path: Path, text: str) -> list[Shown]:
    rows = [
        _shown(f"{path}:{line}", entry.get("data") if isinstance(entry, dict) else None)
        for line, entry in elements(str(path), text)
    ]
    return _not_empty(path, rows)


def _shown(where: str, content: Any) -> Shown:
    return validated(Shown, content, where)


def _not_empty(path: Path, rows: list[Shown]) -> list[Shown]:
    if not rows:
        raise DataError(f"{path}: no pairs", "create the file with prlm-bench human export")
    return rows


def write_key(key: Key, path: Path) -> None:
    """Write the key, which annotators must not see: only the owner may read the file."""
    write_whole(path, pretty(key.model_dump()), private=True)


def read_key(path: Path) -> Key:
    """Read the key of an export.

    Raises:
        DataError: it cannot be read, or is not a key.
    """
    return load_json(path, Key)
