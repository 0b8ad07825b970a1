"""Writes the samples of a result as numbered data files that a page can load from a folder.

Pages opened from a folder cannot use fetch but can load scripts, so each data file is a script that calls a function
with JSON, escaped so that nothing ends the script or is read as markup.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._util.files import replacing
from .._util.html import safe_json
from ..results import SampleRecord, Stored, read_samples

#: Samples per data file.
PAGE = 100
#: Characters of a text used by the list and its search.
SHORT = 160


def write_samples(result: Stored, folder: Path) -> int:
    """Write `pages/N.js`, 100 samples each, and `list.js` with one line per sample; returns the number of pages."""
    run = result.manifest.fingerprint[:12]
    names = result.manifest.metric_names
    listed: list[list[Any]] = []
    page: list[dict[str, Any]] = []
    for sample in read_samples(result.folder):
        page.append(sample.model_dump(exclude={"task", "split", "row"}))  # the page says them once
        listed.append(_line(sample, names[0] if names else ""))
        if len(page) == PAGE:
            _write_page(folder, run, len(listed), page)
            page = []
    if page:
        _write_page(folder, run, len(listed), page)
    _write(folder / "list.js", "prlmList", [listed])
    return -(-len(listed) // PAGE)


def _line(sample: SampleRecord, ranking: str) -> list[Any]:
    short = [text[:SHORT] for text in (sample.query, sample.answer, sample.gold or "")]
    return [sample.id, sample.user, sample.parsed is not None, sample.metrics.get(ranking), *short]


def as_script(function: str, arguments: list[Any]) -> bytes:
    """A script that calls `function` with JSON arguments, safe inside and outside of HTML."""
    return function.encode() + b"(..." + safe_json(arguments) + b");\n"


def _write_page(folder: Path, run: str, seen: int, page: list[dict[str, Any]]) -> None:
    number = -(-seen // PAGE)
    _write(folder / "pages" / f"{number}.js", "prlmPage", [run, number, page])


def _write(path: Path, function: str, arguments: list[Any]) -> None:
    with replacing(path) as file:
        file.write(as_script(function, arguments))
