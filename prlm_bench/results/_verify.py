"""Verifies a result folder from its content, so that results can be contributed by pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._util.json_text import load_json
from ..errors import PrlmBenchError
from ..host import PluginHost
from ..metrics import Metric
from ..tasks import Task
from ._added import rescore
from ._manifest import manifest_fingerprint
from ._samples import SAMPLES, read_samples, samples_digest
from ._schema import AddedMetric, AddedScores, Manifest, SampleRecord, Summary
from ._store import JOURNAL, SCORES, Stored, load_unchecked
from ._summarize import summarize, summarized_fields

#: Relative tolerance of recomputed figures, for differences between machines.
_TOLERANCE = 1e-9


def verify(folder: Path, host: PluginHost, samples: Path | None = None) -> list[str]:
    """List the problems of a result folder; empty if the folder is valid.

    Checked: the files against their schemas, the fingerprint and the folder's name against the manifest, the checksum,
    number and ids of the samples, and every figure of the summary, and of metrics that were added, against a
    recomputation from the samples. Without samples only the first two are checked.

    Args:
        folder: a finished result folder.
        host: provides the task and its metrics.
        samples: a folder with the recreated samples of the same row; by default `folder` itself.
    """
    try:
        stored = load_unchecked(folder)
        task = host.tasks.named(stored.manifest.task)
        where = samples or folder
        problems = [*_identity(folder, stored, manifest_fingerprint(stored.manifest, task))]
        if not (where / SAMPLES).is_file():
            return problems
        records = list(read_samples(where))
        metrics = host.metrics(stored.manifest.metric_names)
    except PrlmBenchError as error:
        return [error.message]
    problems += [*_checksum(where, stored), *_samples(stored.manifest, records)]
    try:
        problems += _figures(stored.manifest, stored.summary, records, task, metrics)
        return [*problems, *_added(stored, where, host)]
    except PrlmBenchError as error:
        return [*problems, error.message]
    except Exception as error:  # metrics are plugins, and the samples may be anything
        return [*problems, f"{SAMPLES}: no figures can be computed: {' '.join(str(error).split())}"]


def _identity(folder: Path, stored: Stored, expected: str) -> Iterator[str]:
    manifest, summary = stored.manifest, stored.summary
    if manifest.fingerprint != expected:
        yield "manifest.json: the fingerprint does not match its content and this task definition"
    if summary.fingerprint != manifest.fingerprint:
        yield "summary.json: the fingerprint differs from the manifest"
    if summary.digest not in ("", summary.digest_with(manifest)):
        yield "summary.json: its digest does not match its content and the manifest"
    if not folder.name.endswith(manifest.fingerprint[:8]):
        yield f"the folder's name does not end with {manifest.fingerprint[:8]}"
    if (folder / JOURNAL).exists():
        yield f"{JOURNAL} exists: the run is unfinished"


def _checksum(folder: Path, stored: Stored) -> Iterator[str]:
    if samples_digest(folder / SAMPLES, stored.manifest) != stored.summary.samples_sha256:
        yield f"{SAMPLES}: the checksum differs from the summary"


def _samples(manifest: Manifest, records: list[SampleRecord]) -> Iterator[str]:
    if len(records) != manifest.data.n:
        yield f"{SAMPLES}: {len(records)} samples, but the manifest says {manifest.data.n}"
    if len({record.id for record in records}) != len(records):
        yield f"{SAMPLES}: a question occurs twice"
    if len({record.user for record in records}) != manifest.data.n_users:
        yield f"{SAMPLES}: the number of users differs from the manifest"


def _figures(
    manifest: Manifest, summary: Summary, records: list[SampleRecord], task: Task, metrics: Sequence[Metric]
) -> Iterator[str]:
    if not records:
        return
    plain = [record.model_dump() for record in records]
    light = [summarized_fields(record) for record in plain]
    summarized = summarize(light, task.labels, metrics)
    again = summarized.summary(manifest, summary.samples_sha256, summary.reward_failures)
    stored, recomputed = (_comparable(each, summary) for each in (summary, again))
    for where, old, new in _differences("summary.json", stored, recomputed):
        yield f"{where} is {old}, recomputed: {new}"
    for record, single in zip(plain, summarized.samples, strict=True):
        for where, old, new in _differences(f"{SAMPLES}: {record['id']}: metrics", record["metrics"], single):
            yield f"{where} is {old}, recomputed: {new}"


def _added(stored: Stored, samples: Path, host: PluginHost) -> Iterator[str]:
    """Compare the metrics that were added to a row with what they give now."""
    path = stored.folder / SCORES
    if not path.is_file():
        return
    scores = load_json(path, AddedScores)
    if scores.digest != scores.own_digest():
        yield f"{SCORES}: its digest does not match its content"
    if (scores.fingerprint, scores.samples_sha256) != (stored.manifest.fingerprint, stored.summary.samples_sha256):
        yield f"{SCORES} is of other samples"
        return
    again, faults = rescore(
        replace(stored, folder=samples), host, [each.identity.spec for each in scores.metrics], store=False
    )
    for name, fault in faults.items():
        yield f"{SCORES}: {name} has no value: {fault}"
    for old in scores.metrics:
        new = again.added.get(old.identity.spec)
        if new is not None and new.identity != old.identity:
            yield f"{SCORES}: {old.identity.spec} was computed by other code than that which is installed"
        elif new is not None:
            for where, was, now in _differences(f"{SCORES}: {old.identity.spec}", _plain(old), _plain(new)):
                yield f"{where} is {was}, recomputed: {now}"


def _plain(metric: AddedMetric) -> dict[str, Any]:
    values = dict(enumerate(metric.values))
    return {"summary": metric.summary.model_dump(), "values": {str(place): value for place, value in values.items()}}


def _comparable(summary: Summary, stored: Summary) -> dict[str, Any]:
    """The figures of a summary; `digest` is checked by itself, and earlier files count neither tokens nor rewards."""
    content = summary.model_dump(exclude={"schema_version", "digest"})
    for name in ("prompt_tokens", "completion_tokens"):
        if getattr(stored, name) is None:
            del content[name]
    for name, reward in content["rewards"].items():
        if name in stored.rewards and stored.rewards[name].n is None:
            del reward["n"]
    return content


def _differences(where: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(f"{where}.{key}", old.get(key), new.get(key))
    elif isinstance(old, float) and isinstance(new, float):
        if abs(old - new) > _TOLERANCE * max(1.0, abs(old)):
            yield where, old, new
    elif old != new:
        yield where, old, new
