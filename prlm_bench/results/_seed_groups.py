"""Groups of results that differ only in the seed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..identity import json_digest
from ._schema import Manifest
from ._store import Stored

#: How the fingerprint of a component that samples states its seed.
SEED = re.compile(r"\bseed=\d+")
#: The results of one method, one per seed, ordered by seed.
SeedGroup = tuple[Stored, ...]


def seed_group_key(manifest: Manifest) -> str:
    """A key shared by results that differ only in the seed: the manifest without the seed and what depends on it."""
    return json_digest(_without_seed(manifest.model_dump(exclude={"seed", "fingerprint", "command", "name"})))


def _without_seed(value: Any) -> Any:
    """A copy without the seeds in component identities.

    A component that samples has `seed=N` in its fingerprint. One whose spec contains `{seed}`, such as a model trained
    with it, differs between seeds on purpose.
    """
    if isinstance(value, list):
        return [_without_seed(member) for member in value]
    if not isinstance(value, dict):
        return value
    known = {name: _without_seed(member) for name, member in value.items()}
    if isinstance(known.get("spec"), str) and isinstance(known.get("fingerprint"), str):
        known["fingerprint"] = "" if "{seed}" in known["spec"] else SEED.sub("", known["fingerprint"])
    return known


def seed_groups(stored: Iterable[Stored]) -> list[SeedGroup]:
    """Group results by method; groups in the order of their first result."""
    found: dict[str, list[Stored]] = {}
    for result in stored:
        found.setdefault(seed_group_key(result.manifest), []).append(result)
    return [tuple(sorted(members, key=lambda result: result.manifest.seed)) for members in found.values()]


def have_same_samples(group: SeedGroup) -> bool:
    """True if all results have the same samples, as all seeds of a deterministic method have."""
    return len({result.summary.samples_sha256 for result in group}) == 1


def seeds_of(group: SeedGroup) -> tuple[int, ...]:
    """The seeds of a group."""
    return tuple(result.manifest.seed for result in group)
