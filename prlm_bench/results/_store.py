"""Finds and reads result folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from ..errors import DataError
from ._schema import Manifest, SampleRecord, Summary

MANIFEST = "manifest.json"
SAMPLES = "samples.jsonl"
SUMMARY = "summary.json"
JOURNAL = "journal.jsonl"

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Stored:
    """A finished result folder."""

    folder: Path
    manifest: Manifest
    summary: Summary


@dataclass(frozen=True)
class Unfinished:
    """A result folder whose run has not ended."""

    folder: Path
    manifest: Manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a result folder.

    Raises:
        DataError: it is not there or against the schema.
    """
    return _read(folder / MANIFEST, Manifest)


def is_finished(folder: Path, fingerprint: str) -> bool:
    """True where `folder` holds the whole result of this fingerprint."""
    path = folder / SUMMARY
    return path.is_file() and (folder / SAMPLES).is_file() and _read(path, Summary).fingerprint == fingerprint


def load_results(root: Path) -> tuple[list[Stored], list[Unfinished]]:
    """All result folders below `root`, sorted by path.

    Raises:
        DataError: `root` does not exist, or a file in it is against the schema.
    """
    if not root.is_dir():
        raise DataError(f"no results folder {root}", "prlm-bench run makes one; --results names another")
    finished: list[Stored] = []
    unfinished: list[Unfinished] = []
    for path in sorted(root.rglob(MANIFEST)):
        folder = path.parent
        manifest = read_manifest(folder)
        if is_finished(folder, manifest.fingerprint):
            finished.append(_stored(folder))
        else:
            unfinished.append(Unfinished(folder, manifest))
    return finished, unfinished


def load_folders(folders: Iterable[Path]) -> list[Stored]:
    """Finished result folders by path.

    Raises:
        DataError: one of them is not whole.
    """
    return [_stored(folder) for folder in folders]


def _stored(folder: Path) -> Stored:
    return Stored(folder, read_manifest(folder), _read(folder / SUMMARY, Summary))


def read_samples(folder: Path) -> Iterator[SampleRecord]:
    """The samples of a finished folder, one by one.

    Raises:
        DataError: a line is against the schema; the message names it.
    """
    with (folder / SAMPLES).open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield SampleRecord.model_validate(orjson.loads(line))
            except (orjson.JSONDecodeError, ValidationError) as error:
                raise DataError(f"{folder / SAMPLES}:{number}: {_first(error)}") from None


def _read(path: Path, schema: type[T]) -> T:
    try:
        return schema.model_validate(orjson.loads(path.read_bytes()))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise DataError(f"{path}: {_first(error)}", "the folder is damaged; remove it and run again") from None


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
