"""Remembers where the vectors of a profile are, so that a profile seen again costs one look-up."""

from __future__ import annotations

from collections import OrderedDict

from .rows import Rows

#: A prefix and the texts that it is put before.
Group = tuple[str, tuple[str, ...]]

#: What may be remembered, in characters of the texts that are kept alive for it.
ROOM = 1 << 26
#: What an item costs besides its characters.
_ITEM = 64


class Memory:
    """Rows by group, forgetting the oldest beyond `room` characters.

    Keys hold the texts themselves: comparing them costs nothing where the objects are the same, and a hash alone
    could be another profile's.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._rows: OrderedDict[Group, Rows] = OrderedDict()
        self._weight = 0

    def __contains__(self, group: Group) -> bool:
        return group in self._rows

    def __getitem__(self, group: Group) -> Rows:
        return self._rows[group]

    def keep(self, group: Group, rows: Rows) -> None:
        """Remember a group that is not here."""
        self._rows[group] = rows
        self._weight += _weight(group)
        while self._weight > self._room:
            oldest, _ = self._rows.popitem(last=False)
            self._weight -= _weight(oldest)

    def clear(self) -> None:
        """Forget everything."""
        self._rows.clear()
        self._weight = 0


def _weight(group: Group) -> int:
    return sum(map(len, group[1])) + _ITEM * len(group[1])
