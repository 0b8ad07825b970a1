"""Rows that somebody else has made: packed as one file, and taken in once they are checked."""

from __future__ import annotations

import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .._util.files import pretty, replacing, write_whole
from .._util.reading import reason
from ..data import open_split
from ..errors import DataError, PrlmBenchError
from ..host import PluginHost
from ._manifest import folder_name
from ._samples import SAMPLES, read_samples
from ._schema import ComponentIdentity, Contribution, Manifest
from ._store import (
    CONTRIBUTION,
    MANIFEST,
    SCORES,
    SUMMARY,
    TIMING,
    load_folders,
    load_unchecked,
    read_contribution,
    read_manifest,
)
from ._verify import verify

#: The files of a row, in the order in which they are packed; the first three must be there.
_FILES = (MANIFEST, SUMMARY, SAMPLES, CONTRIBUTION, TIMING, SCORES)
#: Bytes that the files of an archive may have together, and rows in it.
MAX_UNPACKED, MAX_ROWS = 1 << 30, 100
#: The earliest date that a zip can hold, so that the bytes do not depend on the time.
_DATE = (1980, 1, 1, 0, 0, 0)
_SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Received:
    """A row of an archive, and what came of it."""

    #: Where the row is, or would be.
    folder: Path
    #: Whose it is.
    contribution: Contribution
    #: What is wrong with it; a row with a problem is not taken in.
    problems: list[str]
    #: What a reader should know of it.
    notes: list[str]


def pack_rows(folders: Sequence[Path], contribution: Contribution, output: Path, host: PluginHost) -> None:
    """Pack finished rows with their samples for somebody else; equal rows give equal bytes.

    Args:
        folders: the rows.
        contribution: whose they are.
        output: the zip file.
        host: checks the rows as the one who takes them in will.

    Raises:
        DataError: a row is unfinished, damaged or without samples, or its figures are not those of its samples.
    """
    rows = load_folders(folders)
    for row in rows:
        problems = [f"{row.folder} has no samples"] if not row.has_samples else verify(row.folder, host)
        if problems:
            raise DataError(f"{row.folder}: {problems[0]}", "repeat its run")
    with replacing(output) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for row in rows:
            for name in _FILES:
                path = row.folder / name
                if name == CONTRIBUTION:
                    content = pretty(contribution.model_copy(update={"checked": []}).model_dump())
                elif path.is_file():
                    content = path.read_bytes()
                else:
                    continue
                entry = zipfile.ZipInfo(f"{folder_name(row.manifest).name}/{name}", _DATE)
                entry.create_system, entry.external_attr, entry.compress_type = 3, 0o644 << 16, zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)


def receive_rows(
    archive: Path,
    results: Path,
    host: PluginHost,
    *,
    data: Path | None = None,
    synth_users: int | None = None,
    keep_samples: bool = True,
) -> list[Received]:
    """Check the rows of an archive, and take in those that nothing is wrong with, marked as somebody else's.

    Schemas, fingerprint, digests and ids are checked, every figure is computed again from the samples, and questions,
    users and references are compared with the data here. That the method wrote these answers cannot be checked so.

    Args:
        archive: a file that `pack_rows` wrote.
        results: the results folder that takes them in.
        host: provides the task, its metrics and those that were added.
        data: a folder in LaMP's layout, or its parent; None means the default root.
        synth_users: users a split of a generated task.
        keep_samples: keep the samples too; without them the row is a published summary.

    Raises:
        DataError: the file is no such archive.
    """
    with tempfile.TemporaryDirectory() as place:
        found = []
        for folder in _unpacked(archive, Path(place)):
            try:
                found.append(_received(folder, results, host, data, synth_users, keep_samples))
            except PrlmBenchError as error:
                found.append(Received(Path(folder.name), Contribution(by="unknown"), [str(error)], []))
        return found


def _unpacked(archive: Path, place: Path) -> Iterator[Path]:
    """The row folders of an archive below `place`; only files of rows are unpacked, under names of our own."""
    try:
        with zipfile.ZipFile(archive) as opened:
            rows: dict[str, dict[str, zipfile.ZipInfo]] = {}
            for entry in opened.infolist():
                path = PurePosixPath(entry.filename)
                if len(path.parts) != 2 or path.name not in _FILES or path.name in rows.get(path.parts[0], {}):
                    raise DataError(f"{archive}: {entry.filename!r} does not belong into it", "make it with submit row")
                rows.setdefault(path.parts[0], {})[path.name] = entry
            size = sum(entry.file_size for row in rows.values() for entry in row.values())
            if not rows or len(rows) > MAX_ROWS or size > MAX_UNPACKED:
                most = f"{MAX_ROWS} rows and {MAX_UNPACKED >> 30} GiB at most"
                raise DataError(f"{archive}: {len(rows)} rows of {size} bytes, {most}")
            for number, row in enumerate(rows.values()):
                folder = place / str(number)
                for name, entry in row.items():
                    with opened.open(entry) as file:
                        write_whole(folder / name, file.read(entry.file_size + 1))
                yield folder  # what is wrong inside is said of this row alone
    except (OSError, zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, EOFError, ValueError) as error:
        raise DataError(f"{archive}: cannot be read: {reason(error)}", "make it with submit row") from None


def _received(
    unpacked: Path, results: Path, host: PluginHost, data: Path | None, synth_users: int | None, keep_samples: bool
) -> Received:
    manifest = read_manifest(unpacked)
    contribution = read_contribution(unpacked)
    if contribution is None:
        raise DataError(f"{unpacked.name}: no {CONTRIBUTION}", "make it with submit row")
    host.tasks.named(manifest.task)  # else the names that make up a path could be anything
    if manifest.split not in _SPLITS:
        raise DataError(f"unknown split {manifest.split!r}")
    folder = unpacked.parent / folder_name(manifest).name
    unpacked.rename(folder)
    target = results / folder_name(manifest)
    problems = [f"{target} is there already"] if target.exists() else []
    problems += [f"no {name}" for name in _FILES[:3] if not (folder / name).is_file()]
    problems = problems or [*verify(folder, host), *_against_data(folder, manifest, host, data, synth_users)]
    if not problems:
        checked = contribution.model_copy(update={"checked": ["figures", "data"]})
        for name in (SCORES, TIMING, *([SAMPLES] if keep_samples else []), MANIFEST):
            if (folder / name).is_file():
                write_whole(target / name, (folder / name).read_bytes())
        write_whole(target / CONTRIBUTION, pretty(checked.model_dump()))
        write_whole(target / SUMMARY, (folder / SUMMARY).read_bytes())
    return Received(target, contribution, problems, _notes(manifest))


def _notes(manifest: Manifest) -> list[str]:
    data = manifest.data
    found = [] if data.n == data.n_total else [f"{data.n} of {data.n_total} questions"]
    plugins = {part.plugin.partition("/")[0] for part in _components(manifest)} - {"prlm-bench", ""}
    return found + [f"needs the plugin {name}" for name in sorted(plugins)]


def _components(manifest: Manifest) -> list[ComponentIdentity]:
    method = manifest.method
    return [method.retriever, method.reasoner, method.generator, *manifest.rewards, *manifest.metrics]


def _against_data(
    folder: Path, manifest: Manifest, host: PluginHost, data: Path | None, synth_users: int | None
) -> Iterator[str]:
    """Compare the questions, users and references of a row with the data here."""
    said = manifest.data
    try:
        load_unchecked(folder)
        dataset = open_split(
            host.tasks.named(manifest.task),
            manifest.split,
            data,
            view=said.view,
            dates=said.dates,
            skip_invalid=said.n_invalid > 0,
            synth_users=synth_users,
        )
        samples = list(read_samples(folder))
    except PrlmBenchError as error:
        yield str(error)
        return
    if dict(dataset.sha256) != said.sha256:
        yield "its data files are not those here (their SHA-256 differs)"
        return
    here = list(zip(dataset.ids, dataset.users, dataset.golds, strict=True))[: said.n]
    for sample, (question, user, gold) in zip(samples, here, strict=False):
        if (sample.id, sample.user, sample.gold) != (question, user, gold):
            yield f"{SAMPLES}: question {sample.id!r}, its user or its reference is not that of the data"
            return
    if len(samples) != len(here):
        yield f"{SAMPLES}: {len(samples)} samples, but the data have {len(here)} questions"
