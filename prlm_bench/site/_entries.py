"""Rows of a table with their groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..report import Row, Table
from ..stats import Floats
from ._groups import tied_groups

#: For each metric that has a value for every sample, its statistics (value, 1) by user, shape (users, 2).
Totals = Mapping[str, Floats]


@dataclass(frozen=True)
class Entry:
    """A row with its group."""

    row: Row
    #: Entries of a group do not differ significantly from the best of it.
    group: int

    @property
    def runs(self) -> list[tuple[int, str]]:
        """Seed and fingerprint of each result of the row."""
        return list(zip(self.row.seeds, self.row.fingerprints, strict=True))


def make_entries(table: Table, totals: Mapping[str, Totals]) -> list[Entry]:
    """The entries of a table, best first.

    Args:
        table: its rows.
        totals: statistics by fingerprint and metric.
    """
    groups = tied_groups([_over_seeds(row, table.metrics[0], totals) for row in table.rows])
    return [Entry(row, group) for row, group in zip(table.rows, groups, strict=True)]


def _over_seeds(row: Row, name: str, totals: Mapping[str, Totals]) -> Floats | None:
    """Statistics by user, averaged over the seeds; None if a seed has none."""
    found = [totals[fingerprint].get(name) for fingerprint in row.fingerprints]
    known = [each for each in found if each is not None]
    return np.mean(known, axis=0) if known and len(known) == len(found) else None
