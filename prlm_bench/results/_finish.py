"""Turns a complete journal into a result folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import orjson

from .._util.files import pretty, replacing, write_whole
from ..metrics import Metric
from ._journal import Journal, lock_of
from ._schema import Manifest, Summary
from ._store import JOURNAL, MANIFEST, SAMPLES, SUMMARY
from ._summarize import SUMMARIZED, summarize


def begin(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, before the first sample, so that a folder always says what it is."""
    write_whole(folder / MANIFEST, pretty(manifest.model_dump()))


def finish(
    folder: Path,
    manifest: Manifest,
    journal: Journal,
    ids: Sequence[str],
    labels: Sequence[str],
    metrics: Sequence[Metric],
) -> Summary:
    """Write samples in the order of the data, then the summary; the journal is removed last.

    Args:
        folder: the cell's folder.
        journal: holds every id of `ids`.
        ids: the n questions, in order.
        labels: the task's labels.
        metrics: what to score with.
    """
    # Prompts and completions are what is large; they are read again, line by line, when they are written.
    records = []
    for identifier in ids:
        record = journal.read(identifier)
        records.append({key: record[key] for key in SUMMARIZED})
    summarized = summarize(records, labels, metrics)
    checksum = hashlib.sha256()
    with replacing(folder / SAMPLES) as file:
        for identifier, single in zip(ids, summarized.samples, strict=True):
            line = orjson.dumps({**journal.read(identifier), "metrics": single}) + b"\n"
            checksum.update(line)
            file.write(line)
    summary = summarized.summary(manifest, checksum.hexdigest())
    write_whole(folder / SUMMARY, pretty(summary.model_dump()))
    journal.close()
    tidy(folder)
    return summary


def tidy(folder: Path) -> None:
    """Remove what a finished folder no longer needs: the journal and what a killed process left behind."""
    for path in [folder / JOURNAL, lock_of(folder / JOURNAL), *folder.glob(".*.tmp")]:
        path.unlink(missing_ok=True)
