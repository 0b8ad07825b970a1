"""Errors that users can cause and fix, each with a hint."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from ._util.text import shown

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
    """An error that the user can fix.

    The command line prints it as one line with its hint and exits with status 2.

    Args:
        message: what was wrong, without a final full stop. It may quote foreign text: passwords in addresses are left
            out, and characters that are orders to a terminal are escaped.
        hint: how to fix it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = (shown(text) for text in (message, hint))
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors of worker processes are pickled, and subclasses take other arguments.
        return _restore, (type(self), self.message, self.hint)


def _restore(kind: type[PrlmBenchError], message: str, hint: str) -> PrlmBenchError:
    error = kind.__new__(kind)
    PrlmBenchError.__init__(error, message, hint)
    return error


class UnknownNameError(PrlmBenchError):
    """A name that is not registered; the hint lists close matches, else the first known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        folded = {known.casefold(): known for known in names}
        close = [folded[key] for key in get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)]
        if not hint:
            if "," in name and any(part.strip() in names for part in name.casefold().split(",")):
                hint = "name one at a time: repeat the option, or write a list in a run file"
            elif close:
                hint = "did you mean " + " or ".join(close) + "?"
            elif names:
                hint = "known: " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            else:
                hint = f"no {kind} is registered"
        super().__init__(f"unknown {kind} {name!r}", hint)


class SpecError(PrlmBenchError):
    """An invalid component spec or option."""


class TaskError(PrlmBenchError):
    """A task file that violates the schema; the message names file, line and field."""


class DataError(PrlmBenchError):
    """Unusable questions, golds or predictions."""


class PluginError(PrlmBenchError):
    """A required component whose plugin failed to load, or whose name is ambiguous."""


class MissingDependencyError(PrlmBenchError):
    """A feature whose optional package is not installed; the hint is the pip command."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(f"{feature} needs the package {package!r}", f"pip install 'prlm-bench[{extra}]'")


class RunError(PrlmBenchError):
    """A run that cannot be planned, resumed or finished."""
