"""Progress on standard error: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from ..progress import Silent
from .text import shown
from .verbosity import verbosity

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds between plain lines.
_EVERY = 10.0
#: Columns of a terminal below which a bar is short, and the rate gives way to what a run is doing.
_WIDE = 110


class QuietProgress(Silent):
    """Shows nothing."""

    def __enter__(self) -> QuietProgress:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class PlainProgress:
    """Prints a line when a stage begins and ends, and every ten seconds in between."""

    def __init__(self) -> None:
        self._label, self._total, self._done, self._first = "", 0, 0, 0
        self._began = self._reported = time.monotonic()
        self._status: Callable[[], str] = str

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def start(self, label: str, total: int, done: int = 0) -> None:
        """Report the start of a stage."""
        self._label, self._total, self._done, self._first = label, total, done, done
        self._began = self._reported = time.monotonic()
        self._status = str
        self.note(f"{label}: {total} to do" + (f", {done} done before" if done else ""))

    def advance(self, count: int = 1) -> None:
        """Report progress, at most every ten seconds."""
        if not count:
            return
        self._done += count
        now = time.monotonic()
        if self._done >= self._total or now - self._reported >= _EVERY:
            self._reported = now
            rate = (self._done - self._first) / max(now - self._began, 1e-9)
            left = (self._total - self._done) / rate if rate else 0.0
            words = [f"{self._done}/{self._total}", f"{rate:.0f}/s", f"{left:.0f} s left", self._status()]
            self.note(f"{self._label}: {', '.join(filter(None, words))}")

    def watch(self, status: Callable[[], str]) -> None:
        """Show what a run is doing in the lines of this stage."""
        self._status = status

    def note(self, text: str) -> None:
        """Print a line."""
        print(shown(text), file=sys.stderr, flush=True)


class BarProgress:
    """Shows a live progress bar.

    Args:
        console: where; by default standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.speed:.0f}/s" if task.speed else "")

        class Status(ProgressColumn):
            def render(_, task: Task) -> Text:
                return Text(self._status() if task.id == self._task else "")

        console = console or Console(stderr=True)
        wide = console.width >= _WIDE
        self._status: Callable[[], str] = str
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(40 if wide else 8),
            MofNCompleteColumn(),
            *((Rate(), TimeElapsedColumn()) if wide else ()),
            TimeRemainingColumn(),
            Status(),
            console=console,
        )
        self._task: int | None = None

    def __enter__(self) -> BarProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, label: str, total: int, done: int = 0) -> None:
        """Show a new bar."""
        self._status = str
        self._task = self._bar.add_task(label, total=total, completed=done)

    def advance(self, count: int = 1) -> None:
        """Advance the bar."""
        if self._task is not None:
            from rich.progress import TaskID

            self._bar.advance(TaskID(self._task), count)

    def watch(self, status: Callable[[], str]) -> None:
        """Show what a run is doing at the end of the bar."""
        self._status = status

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(shown(text), highlight=False, markup=False)


def make_progress() -> PlainProgress | BarProgress | QuietProgress:
    """A bar if standard error is a terminal, else plain lines; nothing after `--quiet`."""
    if verbosity.quiet:
        return QuietProgress()
    return BarProgress() if sys.stderr.isatty() else PlainProgress()
