"""Finds, checks and reads result folders of this and earlier schema versions."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel

from .._util.cache_folder import cache_root
from .._util.json_text import load_json
from .._util.reading import first_problem, validated
from ..data.store._hashes import file_state, recall, remember
from ..errors import DataError
from ._manifest import upgraded
from ._samples import SAMPLES, read_samples, row_fields, samples_digest
from ._schema import AddedMetric, AddedScores, Contribution, Manifest, SampleRecord, Summary, Timing

MANIFEST = "manifest.json"
SUMMARY = "summary.json"
TIMING = "timing.json"
SCORES = "scores.json"
CONTRIBUTION = "contribution.json"
JOURNAL = "journal.jsonl"

_log = logging.getLogger(__name__)

_AGAIN = "the row is damaged; repeat its run to make it again"

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Stored:
    """A finished result folder. Without samples (a published summary) it can be shown but not compared."""

    folder: Path
    manifest: Manifest
    summary: Summary
    #: Metrics that were added, by name; their figures are in `summary` too.
    added: Mapping[str, AddedMetric] = field(default_factory=dict)

    @property
    def metric_names(self) -> list[str]:
        """The metrics of the manifest, and those that were added."""
        return list(dict.fromkeys([*self.manifest.metric_names, *self.added]))

    @property
    def has_samples(self) -> bool:
        """Whether the folder contains the samples."""
        return (self.folder / SAMPLES).is_file()

    def samples(self) -> Iterator[SampleRecord]:
        """The samples, with what they say of their row, and with the metrics that were added.

        Raises:
            DataError: there are no samples, or a line violates the schema.
        """
        known = [(name, each.values) for name, each in self.added.items() if each.values]
        row = row_fields(self.manifest)
        for place, sample in enumerate(read_samples(self.folder)):
            metrics = sample.metrics | {name: values[place] for name, values in known}
            yield sample.model_copy(update={**row, "metrics": metrics})

    @property
    def contribution(self) -> Contribution | None:
        """Whose row it is, where somebody else made it."""
        return read_contribution(self.folder)

    @property
    def timing(self) -> Timing | None:
        """How long its completions took; None where nothing is known, as of published rows."""
        return read_timing(self.folder)


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


def read_contribution(folder: Path) -> Contribution | None:
    """Whose a row is; None where it was made here.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / CONTRIBUTION
    return _read(path, Contribution) if path.is_file() else None


def read_timing(folder: Path) -> Timing | None:
    """How long the completions of a row took; None where nothing is known."""
    try:
        return _read(folder / TIMING, Timing)
    except DataError:  # nothing else depends on it
        return None


def read_row(folder: Path, manifest: Manifest | None = None) -> Stored | None:
    """A finished row as it was written; None where the run has not finished.

    Whoever shows a row or takes it for done asks this function. The samples are hashed, once for as long as the file
    does not change.

    Args:
        folder: the result folder.
        manifest: what the row has to be; by default its own manifest.

    Raises:
        DataError: a file is damaged; the message names it.
    """
    manifest = manifest or read_manifest(folder)
    if not (folder / SUMMARY).is_file():
        return None
    stored = Stored(folder, manifest, _read(folder / SUMMARY, Summary))
    if stored.summary.fingerprint != manifest.fingerprint:
        return None
    if stored.summary.digest not in ("", stored.summary.digest_with(manifest)):
        raise DataError(f"{folder}: {MANIFEST} or {SUMMARY} was changed after it was written", _AGAIN)
    if stored.has_samples and not _has_samples_of(stored):
        raise DataError(f"{folder}: {SAMPLES} was changed after it was written", _AGAIN)
    read_contribution(folder)  # a row that is somebody else's is not shown as one of here
    return with_added(stored, read_added(stored))


def _has_samples_of(stored: Stored) -> bool:
    """Whether the samples are those of the summary; they are read only where their digest is not remembered."""
    path, wanted = stored.folder / SAMPLES, stored.summary.samples_sha256
    if recall(cache_root(), path) == wanted:
        return True
    status = path.stat()
    found = samples_digest(path, stored.manifest)
    if file_state(path.stat()) == file_state(status):
        remember(cache_root(), path, status, found)
    return found == wanted


def read_added(stored: Stored) -> list[AddedMetric]:
    """What was added to a row. A file that is damaged, or of other samples, costs a warning."""
    path = stored.folder / SCORES
    if not path.is_file():
        return []
    try:
        found = _read(path, AddedScores)
        if found.digest != found.own_digest():
            raise DataError(f"{path} was changed after it was written")
    except DataError as error:
        _log.warning("prlm-bench: warning: %s; `prlm-bench results rescore` makes it again", error.message)
        return []
    of = (found.fingerprint, found.samples_sha256)
    if of != (stored.manifest.fingerprint, stored.summary.samples_sha256):
        _log.warning("prlm-bench: warning: %s is of other samples; `prlm-bench results rescore` makes it again", path)
        return []
    return found.metrics


def with_added(stored: Stored, added: Iterable[AddedMetric]) -> Stored:
    """A row with these metrics added to its own, in place of those that were added before."""
    own = {name: each for name, each in stored.summary.metrics.items() if name not in stored.added}
    known = {each.identity.spec: each for each in added if each.identity.spec not in stored.manifest.metric_names}
    metrics = own | {name: each.summary for name, each in known.items()}
    return Stored(stored.folder, stored.manifest, stored.summary.model_copy(update={"metrics": metrics}), known)


def is_finished(folder: Path, manifest: Manifest) -> bool:
    """True if `folder` contains the complete result that `manifest` describes, samples included.

    A damaged one costs a warning, and is not finished.
    """
    try:
        stored = read_row(folder, manifest)
    except DataError as error:
        if not (folder / JOURNAL).is_file():  # else it is being made again already
            _log.warning("prlm-bench: warning: %s; a run makes the row again", error.message)
        return False
    return stored is not None and stored.has_samples


def row_folders(root: Path) -> list[Path]:
    """All result folders at and below `root`, finished or not, sorted by path.

    Symbolic links are followed; a folder that can be reached in several ways is listed once.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for name, folders, files in os.walk(root, followlinks=True, onerror=_warn):
        status = Path(name).stat()
        place = status.st_dev, status.st_ino
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders.sort()
        if MANIFEST in files or {SAMPLES, SUMMARY} <= {*files}:
            found.append(Path(name))
    return sorted(found)


def _warn(error: Exception) -> None:
    if isinstance(error, FileNotFoundError):
        return  # it has just been removed
    _log.warning("prlm-bench: warning: %s", error)


def find_results(root: Path) -> tuple[list[Stored], list[Unfinished]]:
    """All finished and unfinished result folders below `root`, sorted by path; a finished one has a summary.

    A damaged folder costs a warning, and is in neither list.

    Raises:
        DataError: `root` does not exist.
    """
    if not root.is_dir():
        raise DataError(f"no results folder {root}", "create one with `prlm-bench run`, or use --results")
    finished: list[Stored] = []
    unfinished: list[Unfinished] = []
    for folder in row_folders(root):
        try:
            # A journal next to a summary: a run is recreating the samples of a published or damaged row.
            stored = None if (folder / JOURNAL).is_file() else read_row(folder)
            if stored is not None:
                finished.append(stored)
            else:
                unfinished.append(Unfinished(folder, read_manifest(folder)))
        except DataError as error:
            _warn(error)
    return finished, unfinished


def load_folders(folders: Iterable[Path]) -> list[Stored]:
    """Finished result folders by path.

    Raises:
        DataError: one of them is incomplete or damaged.
    """
    return [_finished(folder) for folder in folders]


def _finished(folder: Path) -> Stored:
    stored = read_row(folder)
    if stored is None:
        raise DataError(f"{folder} is not finished", "repeat its run")
    return stored


def load_unchecked(folder: Path) -> Stored:
    """A finished result folder whose files follow the schema, whether or not they agree with each other.

    Raises:
        DataError: a file is missing or violates the schema.
    """
    return Stored(folder, read_manifest(folder), _read(folder / SUMMARY, Summary))


def _read(path: Path, schema: type[T], upgrade: Callable[[Any], Any] = lambda content: content) -> T:
    value = validated(schema, upgrade(load_json(path, dict[str, Any], hint=_AGAIN)), str(path), _AGAIN)
    try:
        orjson.dumps(value.model_dump())  # fails on numbers that no run can have written
        return value
    except TypeError as error:
        raise DataError(f"{path}: {first_problem(error)}", _AGAIN) from None
