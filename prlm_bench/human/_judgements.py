"""Reads and validates judgements from the form, a filled-in CSV file or Label Studio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._util.cells import unguarded
from .._util.csv_rows import csv_rows
from .._util.json_text import elements
from .._util.reading import read_text, shortened
from ..errors import DataError
from ._schema import Choice, Judgement, Key

_CHOICES: Mapping[str, Choice] = {"1": 1, "2": 2, "0": 0, "left": 1, "right": 2, "tie": 0}


@dataclass(frozen=True, slots=True)
class _Raw:
    """A judgement as read from a file, not validated."""

    where: str
    pair: Any
    annotator: Any
    choice: Any


class _Malformed(ValueError):
    """Why a judgement is invalid."""


def read_judgements(paths: Sequence[Path], key: Key) -> list[Judgement]:
    """Read all judgements of some files, in order.

    CSV rows without a choice (not judged yet) and annotations cancelled in Label Studio are skipped.

    Args:
        paths: CSV with the columns pair, annotator and choice; JSON lists of objects with these fields; or
            Label Studio's JSON export.
        key: the key of the export.

    Raises:
        DataError: invalid judgements, or two by one annotator on one pair; the message gives the file and line of the
            first and their number.
    """
    found: dict[tuple[str, str], Judgement] = {}
    places: dict[tuple[str, str], str] = {}
    problems: list[str] = []
    for path in paths:
        for raw in _raw_judgements(path):
            try:
                judgement = _check(raw, key)
                place = (judgement.annotator, judgement.pair)
                if place in found:
                    raise _Malformed(
                        f"{shortened(repr(raw.annotator), 60)} judged {raw.pair} already in {places[place]}"
                    )
                found[place], places[place] = judgement, raw.where
            except _Malformed as error:
                problems.append(f"{raw.where}: {error}")
    if problems:
        first = "" if len(problems) == 1 else ", this is the first"
        total = len(problems) + len(found)
        raise DataError(f"{problems[0]}; {len(problems)} of {total} judgements invalid{first}")
    if not found:
        raise DataError(f"no judgements in {', '.join(map(str, paths))}")
    return list(found.values())


def _check(raw: _Raw, key: Key) -> Judgement:
    if not isinstance(raw.pair, str) or raw.pair not in key.pairs:
        raise _Malformed(f"pair {shortened(repr(raw.pair), 60)} is not in the export {key.export} of this key")
    annotator = str(raw.annotator).strip() if isinstance(raw.annotator, (str, int)) else ""
    if not annotator:
        raise _Malformed("no annotator")
    words = str(raw.choice).strip().lower() if isinstance(raw.choice, (str, int)) else ""
    if isinstance(raw.choice, bool) or words not in _CHOICES:
        raise _Malformed(f"choice {shortened(repr(raw.choice), 60)} is not 1, 2 or 0")
    return Judgement(raw.pair, annotator, _CHOICES[words])


def _raw_judgements(path: Path) -> Iterator[_Raw]:
    text = read_text(path)
    if text.lstrip().startswith(("[", "{")):
        for line, value in elements(str(path), text):
            yield from _from_json(f"{path}:{line}", value)
        return
    for line, row in csv_rows(path, text, ("pair", "annotator", "choice")):
        if row["choice"].strip():
            yield _Raw(f"{path}:{line}", row["pair"].strip(), unguarded(row["annotator"]), row["choice"])


def _from_json(where: str, value: Any) -> Iterable[_Raw]:
    if not isinstance(value, dict):
        return [_Raw(where, None, None, None)]
    if "annotations" not in value:
        return [_Raw(where, value.get("pair"), value.get("annotator"), value.get("choice"))]
    data = value.get("data")
    pair = data.get("pair") if isinstance(data, dict) else None
    annotations = value["annotations"] if isinstance(value["annotations"], list) else [None]
    return [
        _Raw(where, pair, _annotator(each), _label(each)) if isinstance(each, dict) else _Raw(where, pair, None, None)
        for each in annotations
        if not (isinstance(each, dict) and each.get("was_cancelled"))
    ]


def _annotator(annotation: Mapping[str, Any]) -> Any:
    by = annotation.get("completed_by")
    return (by.get("email") or by.get("id")) if isinstance(by, dict) else by


def _label(annotation: Mapping[str, Any]) -> Any:
    """The only choice of a Label Studio annotation; None if there is none or several."""
    results = annotation.get("result")
    values = [
        result["value"].get("choices")
        for result in (results if isinstance(results, list) else [])
        if isinstance(result, dict) and result.get("from_name") == "choice" and isinstance(result.get("value"), dict)
    ]
    return values[0][0] if len(values) == 1 and isinstance(values[0], list) and len(values[0]) == 1 else None
