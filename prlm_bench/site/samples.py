"""A result's samples as numbered data files that a page can load from a folder.

Pages opened from a folder may not fetch, but may load scripts; so each data file is a script that calls one
function with JSON. Nothing in it can end the script or be read as markup.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from .._files import replacing
from ..results.store import Stored, read_samples

#: Samples in one data file.
PAGE = 100
#: Characters of a text that the list and its search see.
_SHORT = 160


def write_samples(result: Stored, folder: Path) -> int:
    """Write `pages/N.js`, 100 samples each, and `list.js` with a line for each sample.

    Returns:
        The number of pages.
    """
    run = result.manifest.fingerprint[:12]
    listed: list[list[Any]] = []
    page: list[dict[str, Any]] = []
    pages = 0
    ranking = result.manifest.metrics[0]
    for sample in read_samples(result.folder):
        page.append(sample.model_dump())
        short = [text[:_SHORT] for text in (sample.query, sample.answer, sample.gold or "")]
        listed.append([sample.id, sample.user, sample.parsed is not None, sample.metrics.get(ranking), *short])
        if len(page) == PAGE:
            pages += 1
            _write(folder / "pages" / f"{pages}.js", "prlmPage", [run, pages, page])
            page = []
    if page:
        pages += 1
        _write(folder / "pages" / f"{pages}.js", "prlmPage", [run, pages, page])
    _write(folder / "list.js", "prlmList", [listed])
    return pages


def as_script(function: str, arguments: list[Any]) -> bytes:
    """A script that calls `function` with JSON arguments, safe inside and outside of HTML."""
    json = orjson.dumps(arguments)
    for char in (b"<", b">", b"&"):
        json = json.replace(char, b"\\u%04x" % ord(char))
    for text, escape in (("\u2028", b"\\u2028"), ("\u2029", b"\\u2029")):
        json = json.replace(text.encode(), escape)
    return function.encode() + b"(..." + json + b");\n"


def _write(path: Path, function: str, arguments: list[Any]) -> None:
    with replacing(path) as file:
        file.write(as_script(function, arguments))
