"""Progress of long work: the command line draws it, libraries and tests may stay silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

__all__ = ["ByteProgress", "Progress", "Silent", "Watches"]


class Progress(Protocol):
    """Receives progress updates."""

    def start(self, label: str, total: int, done: int = 0) -> None:
        """Begin a stage of `total` units, `done` of which were finished by an earlier run."""
        ...

    def advance(self, count: int = 1) -> None:
        """Report `count` more finished units of the stage."""
        ...

    def note(self, text: str) -> None:
        """Show one line to the user."""
        ...


@runtime_checkable
class Watches(Protocol):
    """A `Progress` that also shows what a run is doing at the moment."""

    def watch(self, status: Callable[[], str]) -> None:
        """Show what `status` returns, a few words, beside the progress of the stage that began last.

        It is called from any thread, whenever the progress is drawn.
        """
        ...


class Silent:
    """Discards all updates."""

    def start(self, label: str, total: int, done: int = 0) -> None:
        """Ignore."""

    def advance(self, count: int = 1) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""


class ByteProgress:
    """Reports byte counts as progress. Transfers under `MINIMUM` bytes are not reported.

    Args:
        progress: receives the updates.
        label: what the bytes are.
    """

    MINIMUM = 20_000_000

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label
        self._done: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Report that `done` of `total` bytes have been transferred."""
        if total < self.MINIMUM:
            return
        if self._done is None:
            self._progress.start(self._label, total, 0)
            self._done = 0
        self._progress.advance(done - self._done)
        self._done = done
