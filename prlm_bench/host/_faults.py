"""Errors inside plugins: whose they are, in which line, and how they are told in one line."""

from __future__ import annotations

import inspect
import logging
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .._util.text import shown, well_formed
from ..errors import PluginError, PrlmBenchError

if TYPE_CHECKING:
    from ._component import ComponentChoice

__all__ = [
    "Fault",
    "Origin",
    "PluginFault",
    "WrongResultError",
    "fault_of",
    "keep_fault",
    "know_plugin",
    "named",
    "no_exit",
    "told",
]

_log = logging.getLogger(__name__)

_CORE = Path(__file__).resolve().parent.parent
_LIBRARIES = tuple({Path(path).resolve() for name, path in sysconfig.get_paths().items() if name.endswith("lib")})
#: The distribution of the plugins that ship.
_OWN = "prlm-bench"
#: Characters of an error that are shown.
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a plugin came from."""

    #: Name of the plugin: its entry point, or the file or module given to `--plugin`.
    plugin: str
    #: Distribution and version; for a local file its stem and an empty version.
    dist: str
    version: str
    #: The plugin module's file; if the import failed, what should have been imported.
    file: str

    def __str__(self) -> str:
        return f"{self.plugin} ({self.dist}{' ' + self.version if self.version else ''})"


#: The file of each loaded plugin, or its folder if it is a package, and the plugin.
_plugins: dict[Path, Origin] = {}


@dataclass(frozen=True, slots=True)
class Fault:
    """An error inside a plugin."""

    #: One line: the type and the message, of errors of prlm-bench's own kinds the message alone.
    error: str
    #: File and number of the plugin's line; None where the plugin raised a message for users.
    line: tuple[Path, int] | None
    #: The plugin that the line belongs to, where it is known.
    origin: Origin | None
    #: The traceback.
    details: str

    def __str__(self) -> str:
        return self.error if self.line is None else f"{self.error} at {_shown(self.line[0])}:{self.line[1]}"

    @property
    def stored(self) -> str:
        """The same with the name of the file alone, so that it does not depend on where things lie."""
        return self.error if self.line is None else f"{self.error} at {self.line[0].name}:{self.line[1]}"


class WrongResultError(PrlmBenchError):
    """A component that gave something else than its kind has to give.

    Args:
        message: what it gave.
        component: the component.
        method: the name of the method that gave it.
    """

    def __init__(self, message: str, component: Any = None, method: str = "") -> None:
        super().__init__(message)
        self.line = _definition(component, method)


class PluginFault(PluginError):
    """An error inside a plugin, told in one line.

    Args:
        what: the component, such as `metric meteor@amy from amy (amy 1.0)`.
        fault: the error.
    """

    def __init__(self, what: str, fault: Fault) -> None:
        super().__init__(f"{what}: {fault}")
        self.fault = fault


def know_plugin(origin: Origin) -> None:
    """Have the lines of a loaded plugin known as its own."""
    path = Path(origin.file).resolve() if origin.file else None
    if path is not None:
        _plugins[path.parent if path.name == "__init__.py" else path] = origin


def fault_of(error: BaseException) -> Fault:
    """What to tell of an error that came out of a component.

    The line is the innermost one of a plugin that does not ship with prlm-bench; else of other code that is neither
    a library's nor the core's; else of a plugin that ships.
    """
    inner = getattr(error, "fault", None)
    if isinstance(inner, Fault):
        return inner
    details = "".join(traceback.format_exception(error))
    if isinstance(error, PrlmBenchError):
        line = getattr(error, "line", None)
        return Fault(_one_line(str(error)), line, line and _owner(line[0]), details)
    line = _innermost(error)
    message = " ".join(str(error).split())
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return Fault(_one_line(text), line, line and _owner(line[0]), details)


def told(choice: ComponentChoice, fault: Fault) -> str:
    """A fault of a component in one line, with the component, its plugin, and the other plugin that it happened in."""
    elsewhere = fault.origin is not None and fault.origin != choice.component.origin
    return f"{choice.told}: {fault}" + (f" in plugin {fault.origin}" if elsewhere else "")


def keep_fault(message: str, fault: Fault) -> None:
    """Log the traceback of a fault below what is said of it, which `--debug` shows and `--log-file` keeps."""
    _log.debug("%s\n%s", message, fault.details.rstrip())


@contextmanager
def named(told: str) -> Iterator[None]:
    """Tell errors inside a component as a `PluginFault`; messages that it raises for users stay what they are.

    Args:
        told: what the component is called.
    """
    try:
        with no_exit():
            yield
    except WrongResultError as error:
        raise PluginFault(told, fault_of(error)) from error
    except PrlmBenchError:
        raise
    except Exception as error:
        raise PluginFault(told, fault_of(error)) from error


@contextmanager
def no_exit() -> Iterator[None]:
    """Make an error of `sys.exit()` inside a component, which must not end the run of the others."""
    try:
        yield
    except SystemExit as error:
        raise RuntimeError(f"it called sys.exit({error.code!r})").with_traceback(error.__traceback__) from error


def _innermost(error: BaseException) -> tuple[Path, int] | None:
    found: dict[int, tuple[Path, int]] = {}
    link: BaseException | None = error
    while link is not None and not found:
        for file, number in _lines(link.__traceback__):
            found[_rank(file)] = (file, number)
        found.pop(_NOBODY, None)
        link = link.__cause__
    return found[min(found)] if found else None


def _lines(trace: TracebackType | None) -> Iterator[tuple[Path, int]]:
    for frame, number in traceback.walk_tb(trace):
        if not frame.f_code.co_filename.startswith("<frozen"):
            yield _resolved(frame.f_code.co_filename), number


#: The place in `_rank` of code whose errors are not shown as its own.
_NOBODY = 9


def _rank(file: Path) -> int:
    owner = _owner(file)
    if owner is not None and owner.dist != _OWN:
        return 0
    if file.is_relative_to(_CORE):
        return _NOBODY
    if owner is not None:
        return 2
    return _NOBODY if any(file.is_relative_to(folder) for folder in _LIBRARIES) else 1


def _owner(file: Path) -> Origin | None:
    for path in (file, *file.parents):
        if path in _plugins:
            return _plugins[path]
    return None


@cache
def _resolved(file: str) -> Path:
    return Path(file).resolve()


def _definition(component: Any, method: str) -> tuple[Path, int] | None:
    found = getattr(type(component), method, None) or getattr(component, method, None)
    code = getattr(inspect.unwrap(found), "__code__", None) if callable(found) else None
    return (_resolved(code.co_filename), code.co_firstlineno) if code is not None else None


def _shown(file: Path) -> Path:
    try:
        return file.relative_to(Path.cwd())
    except (ValueError, OSError):  # it lies elsewhere, or the folder is gone
        return file


def _one_line(text: str) -> str:
    text = shown(well_formed(" ".join(text.split())))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
