"""Progress of long work: the command line draws it, libraries and tests may stay silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

__all__ = ["ByteProgress", "Progress", "ShowsWork", "Silent", "Watches", "shown_on", "working"]


class Progress(Protocol):
    """Receives progress updates."""

    def start(self, label: str, total: int, done: int = 0) -> None:
        """Begin a stage of `total` units, `done` of which were finished by an earlier run.

        The label ends with the units, as in `site, rows`; without a comma they are questions.
        """
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


@runtime_checkable
class ShowsWork(Protocol):
    """A `Progress` that also shows long work inside a component."""

    def work(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Show work while the context is open; it gives what reports further finished units."""
        ...


#: What shows the work of components; the innermost is the last.
_screens: list[ShowsWork] = []


@contextmanager
def shown_on(screen: ShowsWork) -> Iterator[None]:
    """Have `screen` show the work of components while the context is open."""
    _screens.append(screen)
    try:
        yield
    finally:
        _screens.remove(screen)


@contextmanager
def working(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Report long work inside a component, such as the encoding of texts; it is shown if it takes long.

    Args:
        label: what is done, with the units at its end: `encoding, texts`.
        total: of how many units.

    Yields:
        what reports further finished units.
    """
    if not _screens:
        yield lambda count: None
        return
    with _screens[-1].work(label, total) as advance:
        yield advance


class Silent:
    """Discards all updates."""

    def start(self, label: str, total: int, done: int = 0) -> None:
        """Ignore."""

    def advance(self, count: int = 1) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""


class ByteProgress:
    """Reports byte counts as progress, in megabytes. Transfers under `MINIMUM` bytes are not reported.

    Args:
        progress: receives the updates.
        label: what is transferred.
    """

    MINIMUM = 20_000_000
    _UNIT = 1_000_000

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label.removesuffix(", bytes")
        self._done: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Report that `done` of `total` bytes have been transferred."""
        if total < self.MINIMUM:
            return
        if self._done is None:
            self._progress.start(f"{self._label}, MB", -(-total // self._UNIT), 0)
            self._done = 0
        units = -(-done // self._UNIT) if done >= total else done // self._UNIT
        self._progress.advance(units - self._done)
        self._done = units
