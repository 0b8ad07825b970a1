"""Writes the samples of a result as numbered data files that a page can load from a folder.

Pages opened from a folder cannot use fetch but can load scripts, so each data file is a script that calls a function
with JSON, escaped so that nothing ends the script or is read as markup.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._util.files import replacing
from .._util.html import safe_json
from ..results import SampleRecord, Stored, as_mean, read_samples
from ..stats import Floats, user_totals

#: Samples per data file.
PAGE = 100
#: Characters of a text used by the list and its search.
SHORT = 160


@dataclass(frozen=True)
class Written:
    """Statistics collected while writing the samples."""

    pages: int
    #: Statistics (value, 1) by user, shape (users, 2), of each metric that has a value for every sample.
    totals: dict[str, Floats]


def write_samples(result: Stored, folder: Path) -> Written:
    """Write `pages/N.js`, 100 samples each, and `list.js` with one line per sample."""
    run = result.manifest.fingerprint[:12]
    names = result.manifest.metric_names
    listed: list[list[Any]] = []
    values: list[list[float]] = []
    users: list[str] = []
    page: list[dict[str, Any]] = []
    for sample in read_samples(result.folder):
        page.append(sample.model_dump())
        listed.append(_line(sample, names[0] if names else ""))
        users.append(sample.user)
        values.append([_or_nan(sample.metrics.get(name)) for name in names])
        if len(page) == PAGE:
            _write_page(folder, run, len(users), page)
            page = []
    if page:
        _write_page(folder, run, len(users), page)
    _write(folder / "list.js", "prlmList", [listed])
    columns = zip(names, np.asarray(values).reshape(len(users), len(names)).T.tolist(), strict=True)
    totals = {name: user_totals(as_mean(column), users) for name, column in columns if not np.isnan(column).any()}
    return Written(-(-len(users) // PAGE), totals)


def _line(sample: SampleRecord, ranking: str) -> list[Any]:
    short = [text[:SHORT] for text in (sample.query, sample.answer, sample.gold or "")]
    return [sample.id, sample.user, sample.parsed is not None, sample.metrics.get(ranking), *short]


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def as_script(function: str, arguments: list[Any]) -> bytes:
    """A script that calls `function` with JSON arguments, safe inside and outside of HTML."""
    return function.encode() + b"(..." + safe_json(arguments) + b");\n"


def _write_page(folder: Path, run: str, seen: int, page: list[dict[str, Any]]) -> None:
    number = -(-seen // PAGE)
    _write(folder / "pages" / f"{number}.js", "prlmPage", [run, number, page])


def _write(path: Path, function: str, arguments: list[Any]) -> None:
    with replacing(path) as file:
        file.write(as_script(function, arguments))
