"""What mini-LaMP is made with: sizes, seed, noise and strength."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ...errors import PrlmBenchError

#: Version of the generator, kept in the metadata. Raise it whenever the bytes for some arguments change.
VERSION = "1"

SPLITS = ("train", "dev", "test")

_LIMITS = {
    "train_users": (1, 999_999),
    "dev_users": (1, 999_999),
    "test_users": (1, 999_999),
    "questions_per_user": (1, 1000),
    "profile_size": (3, 5000),
}


@dataclass(frozen=True, slots=True)
class SynthConfig:
    """Arguments of the generator; equal configurations give equal bytes.

    Args:
        seed: any whole number.
        train_users: users of the train split; those of the other splits likewise.
        questions_per_user: questions of each user in each split.
        profile_size: items in the profile of a user's first question; later profiles hold more.
        noise: share of an item's traits that are drawn at random instead of shown as the user's own.
        strength: probability that an item shows the user's side of the aggregated trait; golds always do.
        share_users: the splits share their users, and a user's dev and test questions come after the
            train questions in time; by default each split has users of its own.

    Raises:
        PrlmBenchError: a value out of its range.
    """

    seed: int = 0
    train_users: int = 60
    dev_users: int = 40
    test_users: int = 40
    questions_per_user: int = 3
    profile_size: int = 12
    noise: float = 0.1
    strength: float = 0.75
    share_users: bool = False

    def __post_init__(self) -> None:
        _whole("seed", self.seed)
        for name, (low, high) in _LIMITS.items():
            value = _whole(name, getattr(self, name))
            if not low <= value <= high:
                raise PrlmBenchError(f"mini-LaMP {name} is {value}", f"from {low} to {high}")
        if not 0 <= _number("noise", self.noise) <= 1:
            raise PrlmBenchError(f"mini-LaMP noise is {self.noise}", "from 0 to 1")
        if not 0.5 < _number("strength", self.strength) <= 1:
            raise PrlmBenchError(f"mini-LaMP strength is {self.strength}", "above 0.5, at most 1")
        # 1 and 1.0 are equal and must be written alike.
        for name in ("noise", "strength"):
            object.__setattr__(self, name, float(getattr(self, name)))

    @classmethod
    def of(cls, users: int, strength: float = strength) -> Self:
        """So many users in each split."""
        return cls(train_users=users, dev_users=users, test_users=users, strength=strength)

    @property
    def users(self) -> dict[str, int]:
        """The number of users by split."""
        return {"train": self.train_users, "dev": self.dev_users, "test": self.test_users}


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise PrlmBenchError(f"mini-LaMP {name} is {value!r}", "a whole number is needed")
    return value


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PrlmBenchError(f"mini-LaMP {name} is {value!r}", "a number is needed")
    return value
