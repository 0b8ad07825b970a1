"""Loads plugins one by one, so that a broken one costs a warning and nothing else."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from . import __version__, hookspecs
from ._registry import KINDS, Component, Origin, Registry, make_component
from .errors import PluginError, PrlmBenchError, UnknownNameError
from .tasks import TaskBook

GROUP = "prlm_bench"
#: Comma-separated plugin or distribution names; if set, no other installed plugin is loaded.
RESTRICT = "PRLM_BENCH_LOAD_PLUGINS"


@dataclass(frozen=True, slots=True)
class Method:
    """A named composition of a retriever, a reasoner and a generator."""

    name: str
    retriever: str
    reasoner: str
    generator: str
    k: int | None
    origin: Origin


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
    #: `file:line` of the fault.
    where: str
    #: The pip line where a package is missing, else empty.
    hint: str
    details: str


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
            self.components.append(make_component(kind, self.origin, name, factory, **traits))

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
        self.methods.append(Method(name, retriever, reasoner, generator, k, self.origin))

    def task(self, path: str | Path) -> None:
        self.tasks.append(Path(path))

    def command(self, name: str, app: Any) -> None:
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
        self.commands: dict[str, Any] = {}
        self._methods: dict[str, list[Method]] = {}
        self._manager = pluggy.PluginManager("prlm_bench")
        self._manager.add_hookspecs(hookspecs)
        own = Origin("metrics", "prlm-bench", __version__, "prlm_bench.metrics")
        self._load(own, lambda: importlib.import_module(own.file))
        for dist, point in _entry_points():
            origin = Origin(point.name, dist.metadata["Name"], dist.version, point.value)
            self._load(origin, point.load)
        for name in self.extra:
            self._load(Origin(name, Path(name).stem if name.endswith(".py") else name, "", name), _local(name))

    def method(self, name: str) -> Method:
        """A named method.

        Raises:
            PrlmBenchError: there is none, or two plugins bring it.
        """
        found = self._methods.get(name, [])
        if len(found) > 1:
            raise PluginError(f"method {name!r} is registered by " + " and ".join(str(m.origin) for m in found))
        if not found:
            raise UnknownNameError("method", name, self._methods, hint=self._why_missing())
        return found[0]

    @property
    def methods(self) -> list[Method]:
        """All named methods, sorted by name."""
        return sorted((m for found in self._methods.values() for m in found), key=lambda m: m.name)

    def _load(self, origin: Origin, load: Callable[[], ModuleType]) -> None:
        pending = _Pending(origin)
        module = None
        try:
            module = load()
            self._manager.register(module, name=f"{origin.dist}/{origin.plugin}")
            self._manager.check_pending()
            hooks = self._collect(module, pending)
            for path in pending.tasks:
                self.tasks.add(path)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may even call sys.exit() while it is imported
            if module is not None and self._manager.is_registered(module):
                self._manager.unregister(module)
            self.failures.append(_failure(origin, error))
            return
        for component in pending.components:
            self.registry.add(component)
        for method in pending.methods:
            self._methods.setdefault(method.name, []).append(method)
        self.commands.update(pending.commands)
        self.plugins.append(Plugin(origin, hooks, pending.names()))

    def _collect(self, module: ModuleType, pending: _Pending) -> tuple[str, ...]:
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not module]
        registers = pending.registers()
        hooks = tuple(sorted(caller.name for caller in self._manager.get_hookcallers(module) or []))
        for hook in hooks:
            self._manager.subset_hook_caller(hook, others)(register=registers[hook])
        return hooks

    def _why_missing(self) -> str:
        if not self.failures:
            return ""
        broken = "; ".join(f"plugin {f.origin} failed to load: {f.error}" for f in self.failures[:3])
        return f"{broken}; see `prlm-bench plugins --verbose`"


def _entry_points() -> list[tuple[Distribution, EntryPoint]]:
    wanted = os.environ.get(RESTRICT)
    names = None if wanted is None else {name.strip() for name in wanted.split(",") if name.strip()}
    found: dict[tuple[str, str], tuple[Distribution, EntryPoint]] = {}
    for dist in distributions():
        for point in dist.entry_points:
            name = dist.metadata["Name"] if point.group == GROUP else ""
            if name and (names is None or point.name in names or name in names):
                found.setdefault((name, point.name), (dist, point))
    return [found[key] for key in sorted(found)]


def _local(name: str) -> Callable[[], ModuleType]:
    def load() -> ModuleType:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        path = Path(name)
        if not path.is_file():
            raise PrlmBenchError(f"no such plugin file: {name}")
        module_name = f"prlm_bench_local_{path.stem}"  # must not hide a module of that name
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

    return load


def _failure(origin: Origin, error: BaseException) -> Failure:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    frames = [f for f in frames if f.filename != __file__] or frames
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else origin.file
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}:{error.lineno}"
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    hint = f"pip install {missing.partition('.')[0]}" if missing else ""
    message = " ".join(str(error).split())
    details = "".join(traceback.format_exception(error))
    return Failure(origin, f"{type(error).__name__}: {message}", where, hint, details)
