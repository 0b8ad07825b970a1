"""Converts a complete journal into a result folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from .._util.files import pretty, replacing, write_whole
from ..errors import DataError
from ..host import Fault
from ..metrics import Metric
from ._journal import JOURNAL_FIELDS, REWARD_FAILURES, SECONDS, Journal, lock_of
from ._samples import ROW_FIELDS, SAMPLES, row_head
from ._schema import Manifest, Summary, Timing
from ._store import CONTRIBUTION, JOURNAL, MANIFEST, SUMMARY, TIMING, read_manifest, read_row, read_timing
from ._summarize import score_answers, summarize, summarized_fields


def begin(folder: Path, manifest: Manifest) -> None:
    """Write the manifest before the first sample, so that every folder is identified."""
    write_whole(folder / MANIFEST, pretty(manifest.model_dump()))


def finish(
    folder: Path,
    manifest: Manifest,
    journal: Journal,
    ids: Sequence[str],
    labels: Sequence[str],
    metrics: Sequence[Metric],
    *,
    timed: bool = True,
) -> tuple[Summary, dict[str, Fault]]:
    """Write samples in the order of the data, then the summary; the journal is removed last.

    A reward that failed for one sample has no value in the whole row, nor has a metric that failed; the summary says
    why.

    Args:
        folder: the folder of the run.
        manifest: written again, in case that another program has removed it.
        journal: contains all of `ids`.
        ids: the n questions, in order.
        labels: the task's labels.
        metrics: the metrics to compute.
        timed: whether the journal says how long completions took; if not, what the folder says of it stays.

    Returns:
        The summary, and the errors of metrics by name.
    """
    # Prompts and completions are large, so they are read again line by line when the samples are written.
    records = []
    failures: dict[str, str] = {}
    seconds: list[float] = []
    tokens = 0
    for identifier in ids:
        record = journal.read(identifier)
        failures = record.get(REWARD_FAILURES, {}) | failures
        if SECONDS in record:
            seconds.append(record[SECONDS])
            tokens += (record["completion_tokens"] or 0) + (record["generator_prompt_tokens"] or 0)
        records.append(summarized_fields(record))
    failures = dict(sorted(failures.items()))
    for record in records:
        record["rewards"] = _without(record["rewards"], failures)
    summarized = summarize(records, labels, metrics)
    begin(folder, manifest)
    checksum, head = hashlib.sha256(), row_head(manifest)
    with replacing(folder / SAMPLES) as file:
        for identifier, single in zip(ids, summarized.samples, strict=True):
            text = journal.text(identifier)
            if failures or seconds:
                record = orjson.loads(text)
                kept = {name: value for name, value in record.items() if name not in JOURNAL_FIELDS}
                text = orjson.dumps({**kept, "rewards": _without(record["rewards"], failures)})
            line = text[:-1] + b',"metrics":' + orjson.dumps(single) + b"}\n"
            checksum.update(line)  # see `samples_digest`
            file.write(head + line[1:])
    summary = summarized.summary(manifest, checksum.hexdigest(), failures)
    if timed:
        _write_timing(folder, seconds, tokens)
        (folder / CONTRIBUTION).unlink(missing_ok=True)  # now it is made here
    write_whole(folder / SUMMARY, pretty(summary.model_dump()))
    journal.close()
    tidy(folder)
    return summary, summarized.failures


def finish_again(
    folder: Path, manifest: Manifest, ids: Sequence[str], labels: Sequence[str], metrics: Sequence[Metric]
) -> tuple[Summary, dict[str, Fault]] | None:
    """Compute the metrics of a finished row that failed before; None where none of them gives figures now.

    Nothing is generated: the samples go back into a journal, from which the row is finished as it was before.

    Args:
        folder: a finished result folder with its samples.
        manifest, ids, labels, metrics: see `finish`.
    """
    stored = read_row(folder, manifest)
    if stored is None or not stored.summary.metric_failures:
        return None
    with (folder / SAMPLES).open("rb") as file:
        records = [orjson.loads(line) for line in file]
    answers, golds, users = ([record[name] for record in records] for name in ("answer", "gold", "user"))
    failed = [metric for metric in metrics if metric.name in stored.summary.metric_failures]
    if not score_answers(answers, golds, users, labels, failed).summaries:
        return None
    journal = Journal(folder / JOURNAL, manifest.fingerprint)
    for record in records:
        for name in ("metrics", *ROW_FIELDS):
            record.pop(name, None)
        lost = {REWARD_FAILURES: stored.summary.reward_failures} if stored.summary.reward_failures else {}
        journal.append(record["id"], orjson.dumps({**record, **lost}))
    return finish(folder, manifest, journal, ids, labels, metrics, timed=False)


def share_time(folders: Sequence[Path]) -> None:
    """Divide the time of finished rows among them by their tokens.

    Their completions were generated in one stream, in which those of several rows come at once: what passes until one
    arrives says nothing of its row.
    """
    known = {folder: timing for folder in folders if (timing := read_timing(folder)) is not None}
    tokens, seconds = (sum(getattr(timing, name) for timing in known.values()) for name in ("tokens", "seconds"))
    for folder, timing in known.items() if tokens else ():
        shared = timing.model_copy(update={"seconds": round(seconds * timing.tokens / tokens, 6)})
        write_whole(folder / TIMING, pretty(shared.model_dump()))


def _write_timing(folder: Path, seconds: Sequence[float], tokens: int) -> None:
    """Write how long the completions took that were generated; nothing where none were."""
    if seconds:
        timing = Timing(answers=len(seconds), seconds=round(sum(seconds), 6), tokens=tokens)
        write_whole(folder / TIMING, pretty(timing.model_dump()))
    else:
        (folder / TIMING).unlink(missing_ok=True)


def _without(rewards: dict[str, Any], failed: dict[str, str]) -> dict[str, Any]:
    return {name: value for name, value in rewards.items() if name not in failed}


def tidy(folder: Path, manifest: Manifest | None = None) -> None:
    """Remove what a finished folder no longer needs: the journal and what a killed process left behind.

    Args:
        folder: a finished result folder.
        manifest: if given, it is written again where it is missing or damaged.
    """
    if manifest is not None and not _holds(folder, manifest):
        begin(folder, manifest)
    for path in [folder / JOURNAL, lock_of(folder / JOURNAL), *folder.glob(".*.tmp")]:
        path.unlink(missing_ok=True)


def _holds(folder: Path, manifest: Manifest) -> bool:
    try:
        return read_manifest(folder).model_copy(update={"command": manifest.command}) == manifest
    except DataError:
        return False
