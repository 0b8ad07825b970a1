"""Seeded draws that come out the same on every machine and Python version."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Draws from a seed made of any parts, such as (seed, task, user, "preferences").

    Only `Random.random` and string seeds are used: Python promises that both keep giving the same numbers,
    and promises it of no other method.
    """

    def __init__(self, *key: object) -> None:
        self._draw = random.Random("/".join(map(str, key))).random

    def below(self, limit: int) -> int:
        """A whole number from 0 to `limit` - 1."""
        return int(self._draw() * limit)

    def chance(self, share: float) -> bool:
        """True with probability `share`."""
        return self._draw() < share

    def pick(self, options: Sequence[T]) -> T:
        """One of `options`."""
        return options[self.below(len(options))]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """`options` in a random order."""
        rest = list(options)
        return [rest.pop(self.below(len(rest))) for _ in options]
