"""How a run tells what it is doing; the command line draws it, tests and libraries may stay silent."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the course of a run."""

    def start(self, label: str, total: int, done: int = 0) -> None:
        """A stage begins: `total` units, `done` of them from an earlier run."""
        ...

    def advance(self, count: int = 1) -> None:
        """`count` more units of the stage are done."""
        ...

    def note(self, text: str) -> None:
        """A line for the user."""
        ...


class Silent:
    """Tells nothing."""

    def start(self, label: str, total: int, done: int = 0) -> None:
        """Nothing."""

    def advance(self, count: int = 1) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class ByteProgress:
    """Turns `(bytes done, bytes in all)` into the course of a run; small files are not worth a word.

    Args:
        progress: who is told.
        label: what the bytes are.
    """

    LEAST = 20_000_000

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label
        self._done: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """So many bytes are done, of so many."""
        if total < self.LEAST:
            return
        if self._done is None:
            self._progress.start(self._label, total, 0)
            self._done = 0
        self._progress.advance(done - self._done)
        self._done = done
