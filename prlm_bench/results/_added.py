"""Metrics of finished rows that are computed from their samples: nothing is generated, and the row stays what it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from .._util.files import pretty, write_whole
from .._util.locks import lock
from ..errors import DataError, UnknownNameError
from ..host import Fault, PluginHost
from ._samples import read_samples
from ._schema import AddedMetric, AddedScores, ComponentIdentity
from ._store import SCORES, Stored, read_added, with_added
from ._summarize import score_answers

_log = logging.getLogger(__name__)


def rescore(
    stored: Stored, host: PluginHost, metrics: Sequence[str], *, store: bool = True
) -> tuple[Stored, dict[str, Fault]]:
    """A finished row with these metrics; those that it does not have are computed from its samples.

    Args:
        stored: the row.
        host: provides the metrics and the task.
        metrics: names, or specs.
        store: keep the figures in `scores.json` of the row, with the identity of the metric.

    Returns:
        The row, and the errors of metrics that have no value.

    Raises:
        UnknownNameError: there is no such metric.
        DataError: the row has no samples or no references, or references that no such metric can score.
    """
    made = [host.metric(name) for name in metrics]
    missing = [each for each in made if not _has(stored, each[0].name, each[1])]
    if not missing:
        return stored, {}
    records = list(read_samples(stored.folder))
    if any(record.gold is None for record in records):
        raise DataError(f"{stored.folder} has no references to score against")
    scored = score_answers(
        [record.answer for record in records],
        [record.gold for record in records],
        [record.user for record in records],
        host.tasks.named(stored.manifest.task).labels,
        [metric for metric, _ in missing],
    )
    found = {
        metric.name: AddedMetric(
            identity=ComponentIdentity.model_validate(identity),
            summary=scored.summaries[metric.name],
            values=[each[metric.name] for each in scored.samples if metric.name in each],
        )
        for metric, identity in missing
        if metric.name in scored.summaries
    }
    if not found:
        scored.refuse_golds()
        return stored, dict(scored.failures)
    if store:
        _write(stored, found)
    return with_added(stored, [*{**stored.added, **found}.values()]), dict(scored.failures)


def _has(stored: Stored, name: str, identity: Mapping[str, str]) -> bool:
    """Whether a row has a metric: by its manifest, or added by the same code."""
    added = stored.added.get(name)
    return name in stored.summary.metrics if added is None else added.identity.model_dump() == dict(identity)


def _write(stored: Stored, found: Mapping[str, AddedMetric]) -> None:
    path = stored.folder / SCORES
    with lock(path.with_name(f".{path.name}.lock")):
        known = {each.identity.spec: each for each in read_added(stored)}  # another process may have added some
        scores = AddedScores(
            fingerprint=stored.manifest.fingerprint,
            samples_sha256=stored.summary.samples_sha256,
            metrics=[*(known | dict(found)).values()],
        )
        scores.digest = scores.own_digest()
        write_whole(path, pretty(scores.model_dump()))


def without_stale(stored: Sequence[Stored], host: PluginHost) -> list[Stored]:
    """Rows without the added figures of metrics whose code has changed since; each metric costs one warning.

    Figures of metrics that are not installed stay.
    """
    identities: dict[str, dict[str, str] | None] = {}
    stale: dict[str, int] = {}
    kept = []
    for row in stored:
        current = []
        for name, each in row.added.items():
            if name not in identities:
                identities[name] = _identity(host, name)
            if identities[name] in (None, each.identity.model_dump()):
                current.append(each)
            else:
                stale[name] = stale.get(name, 0) + 1
        kept.append(with_added(row, current) if len(current) < len(row.added) else row)
    for name, count in stale.items():
        rows = f"{count} row{'s' * (count > 1)}"
        message = "prlm-bench: warning: %s has changed since it was added to %s; `results rescore` computes it again"
        _log.warning(message, name, rows)
    return kept


def _identity(host: PluginHost, name: str) -> dict[str, str] | None:
    try:
        return dict(host.metric(name)[1])
    except UnknownNameError:
        return None
