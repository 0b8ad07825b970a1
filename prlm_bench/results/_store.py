"""Finds and reads result folders of this and earlier schema versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from ..errors import DataError
from ._manifest import upgraded
from ._schema import Manifest, Summary

MANIFEST = "manifest.json"
SAMPLES = "samples.jsonl"
SUMMARY = "summary.json"
JOURNAL = "journal.jsonl"

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Stored:
    """A finished result folder. Without samples (a published summary) it can be shown but not compared."""

    folder: Path
    manifest: Manifest
    summary: Summary

    @property
    def has_samples(self) -> bool:
        """Whether the folder contains the samples."""
        return (self.folder / SAMPLES).is_file()


@dataclass(frozen=True)
class Unfinished:
    """A result folder of an unfinished run."""

    folder: Path
    manifest: Manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a result folder.

    Raises:
        DataError: it is missing or violates the schema.
    """
    return _read(folder / MANIFEST, Manifest, upgraded)


def is_finished(folder: Path, fingerprint: str) -> bool:
    """True if `folder` contains the complete result of this fingerprint, samples included."""
    return (folder / SAMPLES).is_file() and _has_summary(folder, fingerprint)


def _has_summary(folder: Path, fingerprint: str) -> bool:
    path = folder / SUMMARY
    return path.is_file() and _read(path, Summary).fingerprint == fingerprint


def find_results(root: Path) -> tuple[list[Stored], list[Unfinished]]:
    """All finished and unfinished result folders below `root`, sorted by path; a finished one has a summary.

    Raises:
        DataError: `root` does not exist, or a file in it violates the schema.
    """
    if not root.is_dir():
        raise DataError(f"no results folder {root}", "create one with `prlm-bench run`, or use --results")
    finished: list[Stored] = []
    unfinished: list[Unfinished] = []
    for path in sorted(root.rglob(MANIFEST)):
        folder = path.parent
        manifest = read_manifest(folder)
        # A journal next to a summary: a run is recreating the samples of a published row.
        if _has_summary(folder, manifest.fingerprint) and not (folder / JOURNAL).is_file():
            finished.append(_stored(folder))
        else:
            unfinished.append(Unfinished(folder, manifest))
    return finished, unfinished


def load_folders(folders: Iterable[Path]) -> list[Stored]:
    """Finished result folders by path.

    Raises:
        DataError: one of them is incomplete.
    """
    return [_stored(folder) for folder in folders]


def _stored(folder: Path) -> Stored:
    return Stored(folder, read_manifest(folder), _read(folder / SUMMARY, Summary))


def _read(path: Path, schema: type[T], upgrade: Callable[[Any], Any] = lambda content: content) -> T:
    try:
        return schema.model_validate(upgrade(orjson.loads(path.read_bytes())))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise DataError(f"{path}: {first_problem(error)}", "the folder is damaged; remove it and run again") from None


def first_problem(error: Exception) -> str:
    """The first problem of a parsing error, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
