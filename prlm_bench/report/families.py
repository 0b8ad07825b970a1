"""Results that differ in nothing but the seed."""

from __future__ import annotations

from collections.abc import Iterable

from .._files import digest
from ..results.schema import Manifest
from ..results.store import Stored

#: One method's results, a seed each, in the order of the seeds.
Family = tuple[Stored, ...]


def family_key(manifest: Manifest) -> str:
    """What results of one family share: all of the manifest but the seed, and what depends on it."""
    return digest(manifest.model_dump(exclude={"seed", "fingerprint", "command"}))


def families(stored: Iterable[Stored]) -> list[Family]:
    """Put seeds together; families in the order of their first result."""
    found: dict[str, list[Stored]] = {}
    for result in stored:
        found.setdefault(family_key(result.manifest), []).append(result)
    return [tuple(sorted(members, key=lambda result: result.manifest.seed)) for members in found.values()]


def seeds_of(family: Family) -> tuple[int, ...]:
    """The seeds of a family."""
    return tuple(result.manifest.seed for result in family)
