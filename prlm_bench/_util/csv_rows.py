"""Reads CSV: one place for every such file."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataError
from .reading import shortened


def csv_rows(path: Path, text: str, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file, each with its first line number; missing cells are empty.

    Raises:
        DataError: a required column is missing, or the file is not CSV.
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
            raise DataError(f"{path}:{reader.line_num}: not CSV: {shortened(str(error))}") from None


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
