"""Rows of a table with their groups."""

from __future__ import annotations

from dataclasses import dataclass

from ..report import Row, Table


@dataclass(frozen=True)
class Entry:
    """A row with its group."""

    row: Row
    #: Entries of a group are not shown to differ from the best of it; 0 where there are no groups.
    group: int

    @property
    def runs(self) -> list[tuple[int, str]]:
        """Seed and fingerprint of each result of the row."""
        return list(zip(self.row.seeds, self.row.fingerprints, strict=True))


def make_entries(table: Table) -> list[Entry]:
    """The entries of a table, best first."""
    numbers = table.groups.numbers or [0] * len(table.rows)
    return [Entry(row, group) for row, group in zip(table.rows, numbers, strict=True)]
