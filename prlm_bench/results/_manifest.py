"""The manifest of a result: what was run, and its unique fingerprint."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from .._util.text import without_logins
from ..identity import core_digest, json_digest, package_versions
from ._schema import SCHEMA_VERSION, DataIdentity, Manifest, MethodIdentity

if TYPE_CHECKING:
    from ..data import Dataset
    from ..tasks import Task

#: Packages that figures depend on, besides what components and metrics name themselves.
_PACKAGES = ("numpy", "sacrebleu", "ir_measures")
#: Fields that the fingerprint does not cover.
_OUTSIDE = ("schema_version", "fingerprint", "command", "name")
#: Fields that the fingerprint of version 1 did not include.
_NEW_IN_2 = ("core",)


def make_manifest(
    dataset: Dataset,
    limit: int | None,
    method: Mapping[str, Any],
    metrics: Sequence[Mapping[str, str]],
    rewards: Sequence[Mapping[str, str]],
    *,
    seed: int,
    control: bool,
    command: str,
    name: str = "",
) -> Manifest:
    """The manifest of one row.

    Args:
        dataset: the questions.
        limit: only the first questions; None means all.
        method: identities of `retriever`, `reasoner` and `generator`, and `k`.
        metrics, rewards: identities of metrics and rewards.
        seed: the run's seed.
        control: whether it is a control row.
        command: the command that reproduces this row.
        name: what the row is called in tables; empty where it has no name of its own.
    """
    content: dict[str, Any] = {
        "task": dataset.task.name,
        "benchmark": dataset.task.benchmark,
        "split": dataset.split,
        "data": _data_identity(dataset, limit).model_dump(),
        "method": MethodIdentity.model_validate(method).model_dump(),
        "rewards": [dict(identity) for identity in rewards],
        "metrics": [dict(identity) for identity in metrics],
        "seed": seed,
        "control": control,
        "core": core_digest(),
        "versions": {"prlm-bench": __version__, "python": ".".join(platform.python_version_tuple()[:2])}
        | package_versions(*_PACKAGES),
    }
    fingerprint = _fingerprint(content, dataset.task)
    return Manifest.model_validate(
        {**content, "fingerprint": fingerprint, "command": without_logins(command), "name": name}
    )


def _data_identity(dataset: Dataset, limit: int | None) -> DataIdentity:
    n = min(limit or len(dataset), len(dataset))
    return DataIdentity(
        sha256=dict(dataset.sha256),
        n_total=dataset.n_total,
        n_invalid=dataset.n_invalid,
        n=n,
        n_users=len(set(dataset.users[:n])),
        view=dataset.view,
        dates=dataset.dates,
        other_task=dataset.other_task,
    )


def manifest_fingerprint(manifest: Manifest, task: Task) -> str:
    """Compute the fingerprint of a manifest from its content, by the rules of its schema version."""
    content = manifest.model_dump(exclude=set(_OUTSIDE))
    if manifest.schema_version == 1:
        content = {name: value for name, value in content.items() if name not in _NEW_IN_2}
        content["metrics"] = manifest.metric_names
    return _fingerprint(content, task)


def _fingerprint(content: dict[str, Any], task: Task) -> str:
    # Rows from before the field was there keep their fingerprint.
    data = {name: value for name, value in content["data"].items() if name != "other_task" or value is not None}
    return json_digest({**content, "data": data, "task_definition": task.model_dump(mode="json")})


def upgraded(content: Any) -> Any:
    """Convert the JSON value of a manifest of any version to the current schema; `schema_version` is kept."""
    if not isinstance(content, dict) or content.get("schema_version", SCHEMA_VERSION) != 1:
        return content
    names = content.get("metrics")
    nothing = {"plugin": "", "version": "", "source": "", "fingerprint": ""}
    known = [{"spec": name, **nothing} for name in names] if isinstance(names, list) else names
    return {**content, "metrics": known, "core": ""}


def folder_name(manifest: Manifest) -> Path:
    """`task/split/method-seed-fingerprint`, valid on any file system."""
    method = manifest.method
    parts = (method.retriever.spec, method.k, method.reasoner.spec, method.generator.spec, manifest.seed)
    folder = method_folder(manifest.task, manifest.split, *parts)
    return folder.with_name(f"{folder.name}-{manifest.fingerprint[:8]}")


def method_folder(task: str, split: str, retriever: str, k: int, reasoner: str, generator: str, seed: int) -> Path:
    """`task/split/method-seed`, valid on any file system: `folder_name` without the fingerprint."""
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join([retriever, f"k{k}", reasoner, generator, f"s{seed}"]))
    return Path(task) / split / slug[:120].strip("-")
