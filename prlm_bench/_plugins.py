"""Loads plugins one by one, so that a broken one costs a warning and nothing else."""

from __future__ import annotations

import copy
import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
from packaging.utils import canonicalize_name

from . import __version__, hookspecs
from ._registry import KINDS, Component, Origin, Registry, check_name, make_component, unknown_name
from .errors import PluginError, PrlmBenchError, UnknownNameError
from .tasks import TaskBook

GROUP = "prlm_bench"
#: Comma-separated plugin or distribution names; if set, no other installed plugin is loaded.
RESTRICT = "PRLM_BENCH_LOAD_PLUGINS"
#: The commands of prlm-bench itself, which a plugin cannot bring.
OWN_COMMANDS = frozenset(
    ("data", "doctor", "leaderboard", "list", "new-plugin", "plugins", "prompts", "rank", "results", "run", "score")
)
_HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("prlm_bench_register_"))
#: Whose lines are never the fault of a plugin.
_MACHINERY = (Path(__file__).parent, Path(pluggy.__file__).parent, Path(importlib.__file__).parent)


@dataclass(frozen=True, slots=True)
class Method:
    """A named composition of a retriever, a reasoner and a generator."""

    name: str
    retriever: str
    reasoner: str
    generator: str
    k: int | None
    origin: Origin

    @property
    def qualified(self) -> str:
        """`dist/name`, which is always unique."""
        return f"{self.origin.dist}/{self.name}"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that was loaded, and what it registered (kind and name)."""

    origin: Origin
    hooks: tuple[str, ...]
    registered: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A plugin that could not be loaded; it registered nothing."""

    origin: Origin
    #: One line: the kind of error and its message.
    error: str
    #: `file:line` of the fault; where no line of Python is at fault, what named the plugin.
    where: str
    #: What to do about it; may be empty.
    hint: str
    details: str

    def __str__(self) -> str:
        return f"plugin {self.origin} failed to load: {self.error}" + (f" ({self.hint})" if self.hint else "")


@dataclass
class _Pending:
    """What one plugin has registered so far; it counts only if all of its hooks succeed."""

    origin: Origin
    components: list[Component] = field(default_factory=list)
    methods: list[Method] = field(default_factory=list)
    tasks: list[Path] = field(default_factory=list)
    commands: dict[str, Any] = field(default_factory=dict)

    def component(self, kind: str) -> Callable[..., None]:
        def register(name: str, factory: Callable[..., Any], **traits: Any) -> None:
            made = make_component(kind, self.origin, name, factory, **traits)
            for label in (name, *made.aliases):
                self._once(kind, label, (n for c in self.components if c.kind == kind for n in (c.name, *c.aliases)))
            self.components.append(made)

        return register

    def method(
        self,
        name: str,
        *,
        retriever: str = "none",
        reasoner: str = "direct",
        generator: str,
        k: int | None = None,
    ) -> None:
        check_name("method", name)
        self._once("method", name, (m.name for m in self.methods))
        self.methods.append(Method(name, retriever, reasoner, generator, k, self.origin))

    def task(self, path: str | Path) -> None:
        # A path that is not absolute starts at the plugin's own file.
        self.tasks.append(Path(self.origin.file).parent / path)

    def command(self, name: str, app: Any) -> None:
        check_name("command", name)
        if not hasattr(app, "registered_commands"):
            raise PrlmBenchError(f"command {name!r} is no typer.Typer")
        if name in OWN_COMMANDS:
            raise PrlmBenchError(f"command {name!r} is one of prlm-bench itself", "choose another name")
        self._once("command", name, self.commands)
        self.commands[name] = app

    def registers(self) -> dict[str, Callable[..., None]]:
        return {hook: self.component(kind) for kind, hook in KINDS.items()} | {
            "prlm_bench_register_methods": self.method,
            "prlm_bench_register_tasks": self.task,
            "prlm_bench_register_commands": self.command,
        }

    def names(self) -> tuple[tuple[str, str], ...]:
        return (
            *((c.kind, c.name) for c in self.components),
            *(("method", m.name) for m in self.methods),
            *(("task", str(path)) for path in self.tasks),
            *(("command", name) for name in self.commands),
        )

    @staticmethod
    def _once(kind: str, name: str, taken: Iterable[str]) -> None:
        if name in taken:
            raise PrlmBenchError(f"{kind} {name!r} is registered twice")


class PluginHost:
    """All loaded plugins, what they brought, and those that failed.

    Args:
        extra: local plugins, as given to `--plugin`: `path/to/file.py` or `package.module`.
    """

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self.extra = tuple(extra)
        self.registry = Registry()
        self.registry.why_missing = self._why_missing
        self.tasks = TaskBook()
        self.plugins: list[Plugin] = []
        self.failures: list[Failure] = []
        #: Commands of plugins: a `typer.Typer` by name.
        self.commands: dict[str, Any] = {}
        self._methods: dict[str, list[Method]] = {}
        self._manager = pluggy.PluginManager("prlm_bench")
        self._manager.add_hookspecs(hookspecs)
        self._load(Origin("metrics", "prlm-bench", __version__, ""), _importing("prlm_bench.metrics"))
        for origin, load in _installed():
            self._load(origin, load)
        for name in self.extra:
            dist = Path(name).stem if name.endswith(".py") else name
            self._load(Origin(name, dist, "", ""), _local(name))

    def method(self, name: str) -> Method:
        """A named method, by name or `dist/name`.

        Raises:
            PrlmBenchError: there is none, or two plugins bring it.
        """
        found = self._methods.get(name, [])
        if len(found) > 1:
            origins = " and ".join(str(m.origin) for m in found)
            choices = " or ".join(m.qualified for m in found)
            raise PluginError(f"method {name!r} is registered by {origins}", f"write {choices}")
        if not found:
            names = [known for known in self._methods if ("/" in known) == ("/" in name)]
            raise unknown_name("method", name, names, self._why_missing())
        return found[0]

    @property
    def methods(self) -> list[Method]:
        """All named methods, sorted by name."""
        found = {(m.name, m.origin.dist): m for methods in self._methods.values() for m in methods}
        return [found[key] for key in sorted(found)]

    def _load(self, origin: Origin, load: Callable[[], Any]) -> None:
        module = None
        try:
            module = load()
            if module in self._manager.get_plugins():
                return  # named twice, say by its distribution and by --plugin
            pending = _Pending(replace(origin, file=getattr(module, "__file__", None) or ""))
            self._manager.register(module, name=f"{origin.dist}/{origin.plugin}")
            self._manager.check_pending()
            hooks = self._collect(module, pending)
            tasks = copy.deepcopy(self.tasks) if pending.tasks else self.tasks
            for path in pending.tasks:
                tasks.add(path)
            self._check_unique(pending)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may even call sys.exit() while it is imported
            if module is not None and self._manager.is_registered(module):
                self._manager.unregister(module)
            self.failures.append(_failure(origin, module, error))
            return
        self.tasks = tasks
        for component in pending.components:
            self.registry.add(component)
        for method in pending.methods:
            for name in (method.name, method.qualified):
                self._methods.setdefault(name, []).append(method)
        self.commands.update(pending.commands)
        self.plugins.append(Plugin(pending.origin, hooks, pending.names()))

    def _collect(self, module: Any, pending: _Pending) -> tuple[str, ...]:
        for name in dir(module):
            if name in _HOOKS and not hasattr(getattr(module, name), "prlm_bench_impl"):
                raise PluginError(f"{name} is not marked as a hook", "write @prlm_bench.hookimpl above it")
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not module]
        registers = pending.registers()
        hooks = tuple(sorted(caller.name for caller in self._manager.get_hookcallers(module) or []))
        if not hooks:
            raise PluginError("it has no hooks", "docs/plugins.md shows how a plugin registers something")
        for hook in hooks:
            self._manager.subset_hook_caller(hook, others)(register=registers[hook])
        return hooks

    def _check_unique(self, pending: _Pending) -> None:
        """`dist/name` is always clear, and so is the name of a command."""
        for plugin in self.plugins:
            taken = plugin.registered if plugin.origin.dist == pending.origin.dist else ()
            for kind, name in pending.names():
                if ((kind, name) in taken and kind != "task") or (
                    kind == "command" and (kind, name) in plugin.registered
                ):
                    raise PluginError(f"{kind} {name!r} is registered by {plugin.origin} and by {pending.origin}")

    def _why_missing(self) -> str:
        if not self.failures:
            return ""
        return "; ".join(map(str, self.failures[:3])) + "; see `prlm-bench plugins --verbose`"


def _installed() -> Iterable[tuple[Origin, Callable[[], Any]]]:
    """The plugins of installed distributions, sorted, as far as RESTRICT lets them through."""
    found: dict[tuple[str, str], tuple[Origin, Callable[[], Any]]] = {}
    for dist in distributions():
        text = dist.read_text("entry_points.txt") or ""
        if GROUP not in text:
            continue
        name = dist.metadata["Name"]
        try:
            points = [point for point in dist.entry_points if point.group == GROUP]
        except Exception as error:  # a broken entry_points.txt can raise anything
            origin = Origin(name, name, dist.version, "")
            found.setdefault((name, ""), (origin, _raising(PluginError(f"cannot read its entry points: {error}"))))
            continue
        for point in points:
            found.setdefault((name, point.name), (Origin(point.name, name, dist.version, ""), point.load))
    wanted = os.environ.get(RESTRICT)
    if wanted is None:
        return [found[key] for key in sorted(found)]
    return _restricted(found, [name.strip() for name in wanted.split(",") if name.strip()])


def _restricted(
    found: dict[tuple[str, str], tuple[Origin, Callable[[], Any]]], wanted: list[str]
) -> Iterable[tuple[Origin, Callable[[], Any]]]:
    names = {key: {key[1], canonicalize_name(key[0])} for key in found}
    for key in sorted(found):
        if any(word in names[key] or canonicalize_name(word) in names[key] for word in wanted):
            yield found[key]
    known = set().union(*names.values()) - {""}
    for word in wanted:
        if word not in known and canonicalize_name(word) not in known:
            yield Origin(word, RESTRICT, "", ""), _raising(UnknownNameError("plugin", word, known))


def _raising(error: Exception) -> Callable[[], Any]:
    def load() -> Any:
        raise error

    return load


def _importing(name: str) -> Callable[[], ModuleType]:
    return lambda: importlib.import_module(name)


def _local(name: str) -> Callable[[], ModuleType]:
    def load() -> ModuleType:
        path = Path(name)
        if not path.is_file():
            raise PrlmBenchError(f"no such plugin file: {name}")
        # The name must hide no other module, nor another local plugin of the same file name.
        module_name = f"prlm_bench_local_{path.stem}_{hashlib.sha256(bytes(path.resolve())).hexdigest()[:8]}"
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
        return module

    return load if name.endswith(".py") else _importing(name)


def _failure(origin: Origin, module: Any, error: BaseException) -> Failure:
    message = " ".join(str(error).split())
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    hint = f"pip install -U {origin.dist}, or tell its authors" if origin.version else ""
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
    hook = re.search(r"\bprlm_bench_\w+", str(error))
    code = getattr(inspect.unwrap(getattr(module, hook[0], lambda: None)), "__code__", None) if hook else None
    if code is not None and not str(code.co_filename).startswith(str(_MACHINERY[0])):
        return f"{code.co_filename}:{code.co_firstlineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = frame.filename
        if not file.startswith("<frozen") and not any(Path(file).is_relative_to(folder) for folder in _MACHINERY):
            return f"{file}:{frame.lineno}"
    return getattr(module, "__file__", None) or f"the entry point or --plugin {origin.plugin}"


def _hook_mistake(message: str) -> tuple[str, str]:
    """What pluggy found wrong with a hook, and how it should be."""
    match = re.search(r"hook '(\w+)'", message)
    name = match[1] if match else ""
    if name in _HOOKS:
        return f"{name} takes an argument that it does not get", f"write def {name}(register)"
    close = get_close_matches(name, _HOOKS, n=1)
    return f"unknown hook {name}", f"did you mean {close[0]}?" if close else "known: " + ", ".join(_HOOKS)


def _import_hint(origin: Origin, error: ImportError) -> str:
    top = (error.name or "").partition(".")[0]
    if top in ("prlm_bench", "prlm_bench_plugins"):
        return f"it needs another version of prlm-bench; this is {__version__}"
    if not isinstance(error, ModuleNotFoundError):
        return f"pip install -U {top}"
    if not origin.version and top == origin.plugin.partition(".")[0]:
        return "give path/to/file.py, or a module that Python can import from here"
    return f"pip install {top}"
