"""Writes the samples of results as packed data files that a page can load from a folder.

Pages opened from a folder cannot use fetch but can load scripts, so each data file is a script that calls a function
with a name and a text: JSON, compressed, in base64. Files are named by their content, so what results share is there
once: the same prompts under several generators, the same answers under several seeds.
"""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import orjson

from .._util.files import write_whole
from ..results import SampleRecord, Stored, read_samples

#: Samples per data file.
PAGE = 200
#: Characters of a text used by the list and its search.
SHORT = 160
#: What a sample knows before it is answered: the same for all generators that are given the same items.
ASKED = frozenset(
    ("id", "user", "query", "gold", "items", "prompt", "turns", "prompt_tokens", "shown", "cut", "dropped", "retrieval")
)
#: What each line says of its row, where it does: the page says it once, and rows with the same samples share files.
_OF_THE_ROW = {"task", "split", "row"}


def write_samples(result: Stored, folder: Path) -> str:
    """Write a result's samples.

    Args:
        result: a result with samples.
        folder: of the data files of all results.

    Returns:
        The name of its index: an object with `lines`, one for each sample, and `pages`, for every 200 of them the names
        of two files, one of questions and prompts, one of answers.
    """
    names = result.manifest.metric_names
    lines: list[list[Any]] = []
    pages: list[tuple[str, str]] = []
    page: list[dict[str, Any]] = []
    for sample in read_samples(result.folder):
        page.append(sample.model_dump(exclude=_OF_THE_ROW))
        lines.append(_line(sample, names[0] if names else ""))
        if len(page) == PAGE:
            pages.append(_write_page(folder, page))
            page = []
    if page:
        pages.append(_write_page(folder, page))
    return _write(folder, {"lines": lines, "pages": pages})


def _line(sample: SampleRecord, ranking: str) -> list[Any]:
    short = [text[:SHORT] for text in (sample.query, sample.answer, sample.gold or "")]
    return [sample.id, sample.user, sample.parsed is not None, sample.metrics.get(ranking), *short]


def _write_page(folder: Path, page: list[dict[str, Any]]) -> tuple[str, str]:
    asked = [{name: value for name, value in sample.items() if name in ASKED} for sample in page]
    answered = [{name: value for name, value in sample.items() if name not in ASKED} for sample in page]
    return _write(folder, asked), _write(folder, answered)


def _write(folder: Path, content: Any) -> str:
    """Write a data file, unless it is there; returns its name."""
    plain = orjson.dumps(content)
    name = hashlib.sha256(plain).hexdigest()[:24]
    path = folder / f"{name}.js"
    if not path.exists():
        write_whole(path, b'prlmData("%s","%s");\n' % (name.encode(), b64encode(zlib.compress(plain, 9))))
    return name
