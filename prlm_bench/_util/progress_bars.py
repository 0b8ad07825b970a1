"""Progress on standard error: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from ..progress import Silent, shown_on
from .text import shown
from .verbosity import verbosity

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds between plain lines, and until a bar is worth while.
_EVERY, _SOON = 10.0, 2.0
#: Columns of a terminal below which a bar is short, and the rate gives way to what a run is doing.
_WIDE = 110


def pace(rate: float, label: str = "") -> str:
    """Units a second, or below one a second the seconds that a unit takes: `12/s`, `3.4/s`, `2.5 s/question`.

    Args:
        rate: units a second; nothing is said of 0.
        label: of the stage, which ends with the units.
    """
    if rate <= 0:
        return ""
    if rate >= 1:
        return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
    units = label.rpartition(", ")[2] if ", " in label else "questions"
    seconds = 1 / rate
    return f"{seconds:.0f} s/{_one(units)}" if seconds >= 10 else f"{seconds:.1f} s/{_one(units)}"


def _one(units: str) -> str:
    """The singular: `questions`, `kinds of prompts`, `MB`."""
    first, *rest = units.split(" ")
    return " ".join([first.removesuffix("s"), *rest])


def clock(seconds: float) -> str:
    """A time as h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


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
        self._shown = shown_on(self)
        self._shown.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.__exit__(None, None, None)

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
            # The first answer has waited for the model to load, and tells nothing of the time left.
            told = rate if self._done - self._first > 1 or self._done >= self._total else 0.0
            self._line(self._label, self._done, self._total, rate, self._status(), of=told)

    def _line(
        self, label: str, done: int, total: int, rate: float, status: str = "", *, of: float | None = None
    ) -> None:
        of = rate if of is None else of
        left = f"{clock((total - done) / of)} left" if of else ""
        self.note(f"{label}: {', '.join(filter(None, [f'{done}/{total}', pace(rate, label), left, status]))}")

    @contextmanager
    def work(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """Print a line about the work of a component every ten seconds."""
        began = reported = time.monotonic()
        done = 0

        def advance(count: int) -> None:
            nonlocal done, reported
            done += count
            now = time.monotonic()
            if now - reported >= _EVERY:
                reported = now
                self._line(label, done, total, done / (now - began))

        yield advance

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
                return Text(pace(task.speed or 0.0, task.description))

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
        self._shown = shown_on(self)
        self._shown.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.__exit__(None, None, None)
        self._bar.stop()

    @contextmanager
    def work(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar for the work of a component once it takes seconds, and remove it at the end."""
        task = self._bar.add_task(label, total=total, visible=False)
        soon = threading.Timer(_SOON, partial(self._bar.update, task, visible=True))
        soon.daemon = True
        soon.start()
        try:
            yield partial(self._bar.advance, task)
        finally:
            soon.cancel()
            soon.join()
            self._bar.remove_task(task)

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
