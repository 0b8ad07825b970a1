"""Turns a complete journal into a result folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import orjson

from .._files import pretty, replacing, write_whole
from ..metrics import Metric
from ..running.journal import Journal
from .schema import Manifest, Summary
from .store import JOURNAL, MANIFEST, SAMPLES, SUMMARY
from .summarize import describe_samples, score_answers


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
    light = ("user", "gold", "answer", "parsed", "shown", "cut", "dropped", "finish", "rewards", "retrieval")
    records = []
    for identifier in ids:
        record = journal.read(identifier)
        records.append({key: record[key] for key in light})
    users = [record["user"] for record in records]
    scored = score_answers(
        [record["answer"] for record in records], [record["gold"] for record in records], users, labels, metrics
    )
    described = describe_samples(records, users)
    finishes = [record["finish"] for record in records if record["finish"] is not None]
    checksum = hashlib.sha256()
    with replacing(folder / SAMPLES) as file:
        for identifier, single in zip(ids, scored.samples, strict=True):
            line = orjson.dumps({**journal.read(identifier), "metrics": single}) + b"\n"
            checksum.update(line)
            file.write(line)
    summary = Summary(
        fingerprint=manifest.fingerprint,
        n=len(ids),
        n_total=manifest.data.n_total,
        n_users=manifest.data.n_users,
        metrics=scored.summaries,
        rewards=described["rewards"],
        retrieval=described["retrieval"],
        parse_failures=described["shares"]["parse_failures"],
        truncated_prompts=described["shares"]["truncated_prompts"],
        truncated_completions=sum(f == "length" for f in finishes) / len(finishes) if finishes else None,
        items_shown=sum(record["shown"] for record in records) / len(records),
        samples_sha256=checksum.hexdigest(),
    )
    write_whole(folder / SUMMARY, pretty(summary.model_dump()))
    journal.close()
    tidy(folder)
    return summary


def tidy(folder: Path) -> None:
    """Remove what a finished folder no longer needs: the journal, and leavings of a process that was killed."""
    for path in [folder / JOURNAL, *folder.glob(".*.tmp")]:
        path.unlink(missing_ok=True)
