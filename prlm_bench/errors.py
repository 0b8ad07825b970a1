"""The one family of errors that a user can cause, each with a hint of what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

__all__ = [
    "DataError",
    "MissingDependencyError",
    "PluginError",
    "PrlmBenchError",
    "RunError",
    "SpecError",
    "TaskError",
    "UnknownNameError",
]


class PrlmBenchError(Exception):
    """A mistake that the user can mend.

    The command line prints it as one line, with its hint, and ends with exit status 2.

    Args:
        message: what was wrong, without a final full stop.
        hint: what to do about it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes hand their errors over by pickling; subclasses take other arguments.
        return _restore, (type(self), self.message, self.hint)


def _restore(kind: type[PrlmBenchError], message: str, hint: str) -> PrlmBenchError:
    error = kind.__new__(kind)
    PrlmBenchError.__init__(error, message, hint)
    return error


class UnknownNameError(PrlmBenchError):
    """A name that nobody registered; the hint holds the close matches, or all names where there are few."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        close = get_close_matches(name, names, n=3, cutoff=0.6)
        if not hint:
            if close:
                hint = "did you mean " + " or ".join(close) + "?"
            elif names:
                hint = "known: " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            else:
                hint = f"no {kind} is registered"
        super().__init__(f"unknown {kind} {name!r}", hint)


class SpecError(PrlmBenchError):
    """A component spec, or an option in it, that cannot be understood."""


class TaskError(PrlmBenchError):
    """A task file that does not follow the schema; the message names file, line and field."""


class DataError(PrlmBenchError):
    """Questions, golds or predictions that cannot be used as they are."""


class PluginError(PrlmBenchError):
    """A component that is needed but whose plugin could not be loaded, or whose name is not unique."""


class MissingDependencyError(PrlmBenchError):
    """An optional package that this feature needs; the hint is the pip line."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(f"{feature} needs the package {package!r}", f"pip install 'prlm-bench[{extra}]'")


class RunError(PrlmBenchError):
    """A run that cannot be planned, continued or finished as asked."""
