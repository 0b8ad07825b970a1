"""Progress on standard error: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

#: Seconds between plain lines.
_EVERY = 10.0


class PlainProgress:
    """Prints a line when a stage begins and ends, and every ten seconds in between."""

    def __init__(self) -> None:
        self._label, self._total, self._done, self._first = "", 0, 0, 0
        self._began = self._reported = time.monotonic()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def start(self, label: str, total: int, done: int = 0) -> None:
        """Report the start of a stage."""
        self._label, self._total, self._done, self._first = label, total, done, done
        self._began = self._reported = time.monotonic()
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
            self.note(f"{self._label}: {self._done}/{self._total}, {rate:.0f}/s, {left:.0f} s left")

    def note(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)


class BarProgress:
    """Shows a live progress bar."""

    def __init__(self) -> None:
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

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
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
        self._task = self._bar.add_task(label, total=total, completed=done)

    def advance(self, count: int = 1) -> None:
        """Advance the bar."""
        if self._task is not None:
            from rich.progress import TaskID

            self._bar.advance(TaskID(self._task), count)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(text, highlight=False, markup=False)


def make_progress() -> PlainProgress | BarProgress:
    """A bar if standard error is a terminal, else plain lines."""
    return BarProgress() if sys.stderr.isatty() else PlainProgress()
