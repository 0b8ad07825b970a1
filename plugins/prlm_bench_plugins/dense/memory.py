"""Remembers where the vectors of a profile are, so that a profile ranked again costs one look-up."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from .rows import Rows

#: What may be remembered, in characters of the texts that are kept alive for it.
ROOM = 1 << 26
#: What an item weighs besides its characters.
_ITEM = 64


@dataclass(frozen=True, slots=True)
class Group:
    """Texts whose vectors are wanted together."""

    #: Kept alive as long as its rows are remembered, so that its `id` can be their key.
    owner: object
    #: Put before each text.
    prefix: str
    #: At least one.
    texts: list[str]

    @property
    def weight(self) -> int:
        """What remembering it takes of the room."""
        return sum(map(len, self.texts)) + _ITEM * len(self.texts)


class Memory:
    """Rows by key, forgetting the oldest where the room is used up."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._kept: dict[Hashable, tuple[object, int, Rows]] = {}
        self._used = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def __getitem__(self, key: Hashable) -> Rows:
        return self._kept[key][2]

    def keep(self, key: Hashable, group: Group, rows: Rows) -> None:
        """Remember what is not here yet."""
        weight = group.weight
        self._kept[key] = (group.owner, weight, rows)
        self._used += weight
        while self._used > self._room:
            self._used -= self._kept.pop(next(iter(self._kept)))[1]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._used = 0
