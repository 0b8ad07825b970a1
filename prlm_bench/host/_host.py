"""Loads plugins one by one, so that a broken one causes only a warning."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from .. import __version__
from .._util.names import matched
from ..errors import PluginError, PrlmBenchError
from ..identity import package_versions
from ..tasks import TaskRegistry
from ..threads import set_thread_defaults
from . import _hookspecs as hookspecs
from ._checked_metric import NOT_MADE, BrokenMetric, CheckedMetric
from ._component import Component, load_target
from ._discovery import GROUP, RESTRICT, installed, local
from ._failures import HOOKS, Failure, describe
from ._faults import Origin, PluginFault, know_plugin
from ._registry import KINDS, Registry, check_name, make_component, unknown_name
from ._tasks import KnownTasks

__all__ = ["GROUP", "RESTRICT", "Failure", "Method", "Plugin", "PluginHost"]


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
    """A loaded plugin, and what it registered (kind and name)."""

    origin: Origin
    hooks: tuple[str, ...]
    registered: tuple[tuple[str, str], ...]


def _hooks_of(module: Any) -> Any:
    """The hooks of a plugin's module alone: pluggy reads every attribute, and would import what waits for first use."""
    if not isinstance(module, ModuleType):  # an entry point may name any object with hooks
        return module
    hooks = ModuleType(module.__name__)
    for name, value in vars(module).items():
        if name.startswith("prlm_bench_") or hasattr(value, "prlm_bench_impl"):
            setattr(hooks, name, value)
    return hooks


def _typer(name: str, app: Any) -> Any:
    if not hasattr(app, "registered_commands"):
        raise PluginError(f"command {name!r} is not a typer.Typer")
    return app


@dataclass
class _Pending:
    """The registrations of one plugin; they take effect only if all of its hooks succeed."""

    origin: Origin
    #: The name of the plugin's module.
    module: str
    #: Command names that plugins cannot use.
    reserved: frozenset[str] = frozenset()
    components: list[Component] = field(default_factory=list)
    methods: list[Method] = field(default_factory=list)
    tasks: list[Path] = field(default_factory=list)
    commands: dict[str, Any] = field(default_factory=dict)

    def component(self, kind: str) -> Callable[..., None]:
        def register(name: str, factory: Callable[..., Any] | str, **traits: Any) -> None:
            made = make_component(kind, self.origin, name, self._absolute(factory), **traits)
            taken = [label for c in self.components if c.kind == kind for label in (c.name, *c.aliases)]
            for label in (name, *made.aliases):
                self._once(kind, label, taken)
                taken.append(label)
            self.components.append(made)

        return register

    def method(
        self,
        name: str,
        *,
        generator: str,
        retriever: str = "none",
        reasoner: str = "direct",
        k: int | None = None,
    ) -> None:
        check_name("method", name)
        self._once("method", name, (m.name for m in self.methods))
        self.methods.append(Method(name, retriever, reasoner, generator, k, self.origin))

    def task(self, path: str | Path) -> None:
        # A relative path is relative to the plugin's file.
        self.tasks.append(Path(self.origin.file).parent / path)

    def command(self, name: str, app: Any) -> None:
        check_name("command", name)
        if not isinstance(app, str):
            _typer(name, app)
        if name in self.reserved:
            raise PrlmBenchError(f"command {name!r} is a built-in command", "choose another name")
        self._once("command", name, self.commands)
        self.commands[name] = self._absolute(app)

    def _absolute(self, target: Any) -> Any:
        """A target of the plugin's own package, such as `._retriever:BM25`, with the name of the package."""
        return f"{self.module}{target}" if isinstance(target, str) and target.startswith(".") else target

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
    """All loaded plugins, what they registered, and the failures.

    Args:
        extra: local plugins, as given to `--plugin`: `path/to/file.py` or `package.module`.
        reserved: command names that plugins cannot use.
    """

    def __init__(self, extra: Iterable[str] = (), reserved: Iterable[str] = ()) -> None:
        set_thread_defaults()  # before a plugin loads a library that reads them
        self.extra = tuple(dict.fromkeys(map(str, extra)))
        self._reserved = frozenset(reserved)
        self.registry = Registry()
        self.registry.why_missing = self._why_missing
        self.tasks: TaskRegistry = KnownTasks()
        self.plugins: list[Plugin] = []
        self.failures: list[Failure] = []
        self._commands: dict[str, Any] = {}
        self._methods: dict[str, list[Method]] = {}
        self._manager = pluggy.PluginManager("prlm_bench")
        self._manager.add_hookspecs(hookspecs)
        self._modules: list[Any] = []
        own = Origin("metrics", "prlm-bench", __version__, "prlm_bench.metrics._builtin")
        self._load(own, lambda: importlib.import_module("prlm_bench.metrics._builtin"))
        for origin, load in (*installed(), *map(local, self.extra)):
            self._load(origin, load)

    def method(self, name: str) -> Method:
        """A named method, by name or `dist/name`.

        Raises:
            PrlmBenchError: the name is unknown, or two plugins register it.
        """
        found = self._methods.get(matched(name, self._methods), [])
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

    @property
    def commands(self) -> list[str]:
        """The names of the commands of plugins, sorted."""
        return sorted(self._commands)

    def command(self, name: str) -> Any:
        """A command of a plugin, a `typer.Typer`.

        Raises:
            PluginError: it cannot be imported, or is no `typer.Typer`.
            UnknownNameError: there is no such command.
        """
        if name not in self._commands:
            raise unknown_name("command", name, self._commands, self._why_missing())
        return _typer(name, load_target(f"command {name!r}", self._commands[name]))

    def metrics(self, names: Iterable[str]) -> list[CheckedMetric]:
        """Metrics by name, or by spec where they have options.

        Raises:
            PrlmBenchError: a metric is unknown, or its package is not installed.
        """
        return [self.metric(name)[0] for name in names]

    def metric(self, name: str) -> tuple[CheckedMetric, dict[str, str]]:
        """A metric and its identity. Where its factory raised an error, what is returned raises it when it is called.

        Raises:
            PrlmBenchError: it is unknown, or its package is not installed.
        """
        choice = self.registry.choose("metric", name)
        missing = choice.component.missing()
        if missing is not None:
            raise PluginError(f"metric {name} {missing}")
        made: CheckedMetric
        try:
            made = choice.make()
        except PluginFault as fault:
            made = CheckedMetric(BrokenMetric(fault), choice.spec, choice.told)
        identity = choice.identity(made)
        # The words that a metric counts may be another package's.
        versions = package_versions(*choice.component.requires).items()
        if isinstance(made.inner, BrokenMetric):
            identity["fingerprint"] = NOT_MADE
        needed = " ".join(f"{name}={number}" for name, number in versions)
        return made, {**identity, "fingerprint": f"{identity['fingerprint']} {needed}".strip()}

    def _load(self, origin: Origin, load: Callable[[], Any]) -> None:
        module = plugin = None
        try:
            module = load()
            if module in self._modules:
                return  # already loaded, for example from its distribution and by --plugin
            origin = replace(origin, file=getattr(module, "__file__", None) or "")
            pending = _Pending(origin, getattr(module, "__module__", None) or module.__name__, self._reserved)
            plugin = _hooks_of(module)
            self._manager.register(plugin, name=f"{origin.dist}/{origin.plugin}")
            self._manager.check_pending()
            hooks = self._collect(plugin, pending)
            tasks = copy.deepcopy(self.tasks) if pending.tasks else self.tasks
            for path in pending.tasks:
                tasks.add(path)
            self._check_unique(pending)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may even call sys.exit() at import
            if plugin is not None and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            self.failures.append(describe(origin, module, error))
            return
        self._modules.append(module)
        know_plugin(origin)
        self.tasks = tasks
        for component in pending.components:
            self.registry.add(component)
        for method in pending.methods:
            for name in (method.name, method.qualified):
                self._methods.setdefault(name, []).append(method)
        self._commands.update(pending.commands)
        self.plugins.append(Plugin(pending.origin, hooks, pending.names()))

    def _collect(self, plugin: Any, pending: _Pending) -> tuple[str, ...]:
        for name in dir(plugin):
            if name in HOOKS and not hasattr(getattr(plugin, name), "prlm_bench_impl"):
                raise PluginError(f"{name} is not marked as a hook", "write @prlm_bench.hookimpl above it")
        others = [other for other in self._manager.get_plugins() if other is not plugin]
        registers = pending.registers()
        hooks = tuple(sorted(caller.name for caller in self._manager.get_hookcallers(plugin) or []))
        if not hooks:
            raise PluginError(
                "it has no hooks", "docs/tutorials/write-a-plugin.md shows how a plugin registers something"
            )
        for hook in hooks:
            self._manager.subset_hook_caller(hook, others)(register=registers[hook])
        return hooks

    def _check_unique(self, pending: _Pending) -> None:
        """Refuse duplicates of `dist/name` and of command names."""
        mine = {entry for entry in pending.names() if entry[0] != "task"}
        for plugin in self.plugins:
            same_dist = plugin.origin.dist == pending.origin.dist
            for kind, name in sorted(mine.intersection(plugin.registered)):
                if same_dist or kind == "command":
                    raise PluginError(f"{kind} {name!r} is registered by {plugin.origin} and by {pending.origin}")

    def _why_missing(self) -> str:
        if not self.failures:
            return ""
        return "; ".join(map(str, self.failures[:3])) + "; see `prlm-bench plugins --verbose`"
