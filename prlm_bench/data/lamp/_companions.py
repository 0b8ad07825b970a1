"""Small files beside the questions, read whole; among them the relevant items, joined by question id."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..._util.json_text import StructureError, parse_json
from ..store._hashes import HashingReader
from ._problems import kind, text_problem


@dataclass(slots=True)
class Relevance:
    """The truly relevant profile items of one split."""

    sha256: str
    #: Question id to item ids.
    items: dict[str, list[str]] = field(default_factory=dict)
    #: Question id to what is wrong with its entry.
    bad: dict[str, str] = field(default_factory=dict)


def read_relevance(path: Path, cache: Path) -> Relevance:
    """Read `{question id: [item id, ...]}`.

    Raises:
        StructureError: no such object, or no JSON at all.
    """
    content, sha256 = read_whole(path, cache)
    if not isinstance(content, dict):
        raise StructureError(str(path), f"not of the form {{question id: [item ids]}}: it is {kind(content)}", 0)
    relevance = Relevance(sha256)
    for question, ids in content.items():
        if not isinstance(ids, list):
            relevance.bad[question] = f"is {kind(ids)}, not a list of item ids"
            continue
        wrong = next((problem for problem in map(text_problem, ids) if problem), None)
        if wrong is not None:
            relevance.bad[question] = f"an item id {wrong}"
        else:
            relevance.items[question] = ids
    return relevance


def read_whole(path: Path, cache: Path) -> tuple[Any, str]:
    """The JSON content of a small file, and the file's SHA-256, which is remembered.

    Raises:
        DataError: the file cannot be read.
        StructureError: it is not JSON in UTF-8.
    """
    with HashingReader(path) as reader:
        data = b"".join(iter(lambda: reader.read(1 << 22), b""))
        sha256 = reader.finish(cache)
    return parse_json(str(path), data), sha256
