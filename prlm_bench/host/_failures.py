"""Describes why a plugin failed to load: the error, its place and a hint."""

from __future__ import annotations

import importlib
import inspect
import re
import traceback
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pluggy

from .. import __version__
from ..errors import PluginError, PrlmBenchError
from . import _hookspecs as hookspecs
from ._faults import Origin

_PREFIX = "prlm_bench_register_"
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith(_PREFIX))
#: Folders whose frames are skipped when looking for the faulty line.
_MACHINERY = (Path(__file__).parent.parent, Path(pluggy.__file__).parent, Path(importlib.__file__).parent)


@dataclass(frozen=True, slots=True)
class Failure:
    """A plugin that failed to load; nothing of it is registered."""

    origin: Origin
    #: One line: the kind of error and its message.
    error: str
    #: `file:line` of the fault; if there is none, what should have been imported.
    where: str
    #: How to fix it; may be empty.
    hint: str
    details: str

    def __str__(self) -> str:
        return f"plugin {self.origin} failed to load: {self.error}" + (f" ({self.hint})" if self.hint else "")


def describe(origin: Origin, module: Any, error: BaseException) -> Failure:
    """The failure of a plugin.

    Args:
        origin: the plugin.
        module: the imported module; None if the import failed.
        error: the exception.
    """
    message = " ".join(str(error).split())
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    hint = f"pip install -U {origin.dist}, or report this to its authors" if origin.version else ""
    if isinstance(error, PrlmBenchError):
        text, hint = error.message, error.hint
    elif isinstance(error, pluggy.PluginValidationError):
        text, hint = _hook_mistake(message)
    elif isinstance(error, ImportError) and error.name:
        hint = _import_hint(origin, error)
    details = "".join(traceback.format_exception(error))
    return Failure(origin, text, _where(origin, module, error), hint, details)


def _where(origin: Origin, module: Any, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    if isinstance(error, pluggy.PluginValidationError | PluginError):
        hook = re.search(r"\bprlm_bench_\w+", str(error))
        code = getattr(inspect.unwrap(getattr(module, hook[0], describe)), "__code__", None) if hook else None
        if code is not None and code is not describe.__code__:
            return f"{code.co_filename}:{code.co_firstlineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = frame.filename
        if not file.startswith("<frozen") and not any(Path(file).is_relative_to(folder) for folder in _MACHINERY):
            return f"{file}:{frame.lineno}"
    own = getattr(module, "__file__", None)
    return f"{own}:1" if own else origin.file


def _hook_mistake(message: str) -> tuple[str, str]:
    """The error that pluggy found in a hook, and a hint."""
    match = re.search(r"hook '(\w+)'", message)
    name = match[1] if match else ""
    if name in HOOKS:
        return f"{name} has an unexpected argument", f"write def {name}(register)"
    close = get_close_matches(name.removeprefix(_PREFIX), [hook.removeprefix(_PREFIX) for hook in HOOKS], n=1)
    return f"unknown hook {name}", f"did you mean {_PREFIX}{close[0]}?" if close else "known: " + ", ".join(HOOKS)


def _import_hint(origin: Origin, error: ImportError) -> str:
    top = (error.name or "").partition(".")[0]
    if top in ("prlm_bench", "prlm_bench_plugins"):
        return f"it needs another version of prlm-bench; this is {__version__}"
    if not isinstance(error, ModuleNotFoundError):
        return f"pip install -U {top}"
    if top == origin.file.partition(".")[0]:  # the missing module is the plugin itself
        return f"reinstall {origin.dist}" if origin.version else "give path/to/file.py, or a module on the Python path"
    return f"pip install {top}"
