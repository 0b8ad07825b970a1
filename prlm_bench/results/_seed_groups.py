"""Results that differ in nothing but the seed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..identity import json_digest
from ._schema import Manifest
from ._store import Stored

_SEED = re.compile(r"\bseed=\d+")
#: One method's results, a seed each, in the order of the seeds.
SeedGroup = tuple[Stored, ...]


def seed_group_key(manifest: Manifest) -> str:
    """What results of one family share: all of the manifest but the seed, and what depends on it."""
    return json_digest(_without_seed(manifest.model_dump(exclude={"seed", "fingerprint", "command"})))


def _without_seed(value: Any) -> Any:
    """The same with no component known by its seed.

    A component says `seed=N` in its fingerprint where it samples, and one whose spec holds `{seed}` is another
    thing, such as a model that was trained with it, for each seed by intent.
    """
    if isinstance(value, list):
        return [_without_seed(member) for member in value]
    if not isinstance(value, dict):
        return value
    known = {name: _without_seed(member) for name, member in value.items()}
    if isinstance(known.get("spec"), str) and isinstance(known.get("fingerprint"), str):
        known["fingerprint"] = "" if "{seed}" in known["spec"] else _SEED.sub("", known["fingerprint"])
    return known


def seed_groups(stored: Iterable[Stored]) -> list[SeedGroup]:
    """Put seeds together; families in the order of their first result."""
    found: dict[str, list[Stored]] = {}
    for result in stored:
        found.setdefault(seed_group_key(result.manifest), []).append(result)
    return [tuple(sorted(members, key=lambda result: result.manifest.seed)) for members in found.values()]


def seeds_of(family: SeedGroup) -> tuple[int, ...]:
    """The seeds of a family."""
    return tuple(result.manifest.seed for result in family)
