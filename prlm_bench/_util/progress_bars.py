"""Progress on standard error: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

#: Seconds between plain lines.
_EVERY = 10.0


class PlainProgress:
    """A line when a stage begins and ends, and every ten seconds between."""

    def __init__(self) -> None:
        self._label, self._total, self._done, self._first = "", 0, 0, 0
        self._began = self._said = time.monotonic()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def start(self, label: str, total: int, done: int = 0) -> None:
        """Say what begins."""
        self._label, self._total, self._done, self._first = label, total, done, done
        self._began = self._said = time.monotonic()
        self.note(f"{label}: {total} to do" + (f", {done} done before" if done else ""))

    def advance(self, count: int = 1) -> None:
        """Say how far it is, now and then."""
        if not count:
            return
        self._done += count
        now = time.monotonic()
        if self._done >= self._total or now - self._said >= _EVERY:
            self._said = now
            rate = (self._done - self._first) / max(now - self._began, 1e-9)
            left = (self._total - self._done) / rate if rate else 0.0
            self.note(f"{self._label}: {self._done}/{self._total}, {rate:.0f}/s, {left:.0f} s left")

    def note(self, text: str) -> None:
        """A line."""
        print(text, file=sys.stderr, flush=True)


class BarProgress:
    """A live bar."""

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
        """A new bar."""
        self._task = self._bar.add_task(label, total=total, completed=done)

    def advance(self, count: int = 1) -> None:
        """Move the bar."""
        if self._task is not None:
            from rich.progress import TaskID

            self._bar.advance(TaskID(self._task), count)

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._bar.console.print(text, highlight=False, markup=False)


def make_progress() -> PlainProgress | BarProgress:
    """What suits standard error."""
    return BarProgress() if sys.stderr.isatty() else PlainProgress()
