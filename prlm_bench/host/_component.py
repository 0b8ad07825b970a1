"""A registered component, and a choice of it with options."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

from .._util.text import without_logins
from ..errors import PluginError, PrlmBenchError, SpecError
from ..identity import code_digest, core_digest, object_state
from ..interfaces import Context, Fingerprinted
from ._checked_metric import CheckedMetric
from ._faults import Origin, PluginFault, WrongResultError, fault_of, no_exit
from ._specs import Option, canonical, options_of, takes_context, unwrapped

#: The methods that a component of each kind must have.
METHODS = {
    "retriever": ("rank",),
    "reasoner": ("prompts", "parse"),
    "generator": ("generate", "tokenizer"),
    "judge": ("judge",),
    "reward": ("score",),
    "metric": ("statistics", "value"),
    "trainer": ("train",),
    "importer": ("recognizes", "convert"),
    "engine": ("map",),
    "logger": ("log",),
}


@dataclass(frozen=True)
class Component:
    """A registered factory."""

    kind: str
    name: str
    #: The factory, or `package.module:attribute`, where it is found on first use.
    target: Callable[..., Any] | str
    origin: Origin
    aliases: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    #: Optional modules that it imports, each with the pip requirement that provides it.
    requires: Mapping[str, str] = field(default_factory=dict)
    ignores: frozenset[str] = frozenset()
    control: bool = False
    #: A generator whose completions are cached between runs: they depend only on its identity and the prompt.
    cached: bool = False
    #: The component itself if it was given as an object instead of by name.
    instance: Any = None

    @property
    def qualified(self) -> str:
        """`dist/name`, which is always unique."""
        return f"{self.origin.dist}/{self.name}"

    def missing(self) -> str | None:
        """The optional package that is not installed and how to install it; None if nothing is missing."""
        for module, requirement in self.requires.items():
            if not _is_there(module):
                return f"needs the package {module} (pip install '{requirement}')"
        return None

    @cached_property
    def factory(self) -> Callable[..., Any]:
        """What makes the component; its parameters are the component's options.

        Raises:
            PluginError: its module cannot be imported, or what is found there is no factory.
        """
        what = f"{self.kind} {self.name!r}"
        try:
            return check_factory(self.kind, self.name, load_target(what, self.target))
        except PluginError as error:
            if isinstance(self.target, str) and (why := self.missing()) is not None:
                raise PluginError(f"{what} {why}") from error
            raise

    @property
    def options(self) -> dict[str, Option]:
        """The factory's options by name."""
        return options_of(self.factory)

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (inspect.getdoc(unwrapped(self.factory)) or "").partition("\n")[0]

    def declared(self) -> dict[str, Any]:
        """What a metric declares: `summary`, `limits` and `higher_is_better`; None for what is not known.

        A metric without required options is made for it; of another one, the class may say it.
        """
        made: Any = self.factory
        if self.missing() is None and not any(option.required for option in self.options.values()):
            with suppress(PrlmBenchError):
                made = ComponentChoice(self, {}, self.name).make()
        found = {name: getattr(made, name, None) for name in ("limits", "higher_is_better")}
        summary = getattr(made, "summary", "")
        return {**found, "summary": summary if isinstance(summary, str) and summary else self.summary}

    @cached_property
    def source(self) -> str:
        """A digest of the code of the factory (see `identity.code_digest`), or of the core for its own components."""
        if self.instance is not None:
            return code_digest(type(self.instance))
        module = str(getattr(unwrapped(self.factory), "__module__", ""))
        return core_digest() if module.partition(".")[0] == "prlm_bench" else code_digest(self.factory)


@dataclass(frozen=True)
class ComponentChoice:
    """A component with validated options, not yet created."""

    component: Component
    options: Mapping[str, Any]
    #: Its display name, or `dist/name` if another plugin registers the same name.
    label: str

    def __str__(self) -> str:
        return without_logins(canonical(self.label, self.component.factory, self.options))

    def make(self, context: Context | None = None) -> Any:
        """Call the factory.

        Args:
            context: for factories with a parameter of this name.

        Raises:
            PrlmBenchError: the component rejects its options, or needs a context that is not given.
            PluginFault: the factory raised another error than that.
        """
        if self.component.instance is not None:
            return self.component.instance
        extra = {"context": context} if takes_context(self.component.factory) else {}
        if extra and context is None:
            raise PluginError(f"{self.component.kind} {self} needs a task and its data")
        try:
            with no_exit():
                made = self.component.factory(**self.options, **extra)
        except PrlmBenchError:
            raise
        except ValueError as error:
            raise SpecError(f"{self.component.kind} {self}: {error}") from error
        except Exception as error:
            raise PluginFault(self.told, fault_of(error)) from error
        self._check(made)
        return made if self.component.kind != "metric" else self._metric(made)

    @property
    def spec(self) -> str:
        """The canonical spec by the component's own name: other installed plugins must not change an identity."""
        return without_logins(canonical(self.component.name, self.component.factory, self.options))

    @property
    def told(self) -> str:
        """What errors call it: kind, name with options, and plugin."""
        return f"{self.component.kind} {self} from {self.component.origin}"

    def _check(self, made: Any) -> None:
        """Check that what the factory made has the methods of its kind; none is read, since that may load a model."""
        for method in () if hasattr(type(made), "__getattr__") else METHODS.get(self.component.kind, ()):
            if inspect.getattr_static(made, method, METHODS) is METHODS:
                wrong = WrongResultError(f"made a {type(made).__name__}, which has no {method}", made, "__init__")
                raise PluginFault(self.told, fault_of(wrong))

    def _metric(self, made: Any) -> CheckedMetric:
        try:
            return CheckedMetric(made, self.spec, self.told)
        except Exception as error:
            raise PluginFault(self.told, fault_of(error)) from error

    def with_inner(self, inner: Mapping[str, str]) -> ComponentChoice:
        """The same choice with the specs of its inner components replaced, so that none has an option without effect.

        Args:
            inner: the canonical text of each spec that the component was built from.
        """

        def swapped(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return [swapped(member) for member in value]
            return inner.get(value, value) if isinstance(value, str) else value

        return replace(self, options={name: swapped(value) for name, value in self.options.items()})

    def identity(self, made: Any) -> dict[str, str]:
        """Everything that determines the results of this component."""
        made = made.inner if isinstance(made, CheckedMetric) else made
        fingerprint = self._fingerprint(made) if isinstance(made, Fingerprinted) else ""
        if self.component.instance is not None and not isinstance(made, Fingerprinted):
            fingerprint = object_state(made)
        origin = self.component.origin
        return {
            "spec": self.spec,
            "plugin": self.component.qualified,
            "version": origin.version,
            "source": self.component.source,
            "fingerprint": without_logins(str(fingerprint)),
        }

    def _fingerprint(self, made: Fingerprinted) -> str:
        try:
            with no_exit():
                return made.fingerprint()
        except PrlmBenchError:
            raise
        except Exception as error:
            raise PluginFault(self.told, fault_of(error)) from error


def load_target(what: str, target: Any) -> Any:
    """What a plugin registered: the thing itself, or what `package.module:attribute` names.

    Args:
        what: the kind and name of what is registered, for errors.

    Raises:
        PluginError: it cannot be imported.
    """
    if not isinstance(target, str) or ":" not in target:
        return target
    try:
        return resolve_name(target)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may even call sys.exit() at import
        raise PluginError(f"{what} ({target}) cannot be loaded: {fault_of(error)}") from error


def check_factory(kind: str, name: str, factory: Any) -> Callable[..., Any]:
    if not callable(factory):
        raise PluginError(f"{kind} {name!r}: the factory is not callable")
    if kind != "metric" and "name" in options_of(factory):
        raise PluginError(f"{kind} {name!r}: an option cannot be called 'name'", "it names the component in YAML")
    made: Callable[..., Any] = factory
    return made


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # its parent is missing, or it was created by hand
        return module in sys.modules
