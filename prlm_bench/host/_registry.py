"""The registered components by kind and name, each with its origin."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

from .._util.text import without_logins
from ..errors import PluginError, PrlmBenchError, SpecError, UnknownNameError
from ..identity import code_digest, core_digest, object_state
from ..interfaces import Context, Fingerprinted
from ._specs import Option, Spec, bind, canonical, options_of, parse_spec, takes_context, unwrapped

#: The kinds of component and the hook that registers each.
KINDS = {
    "retriever": "prlm_bench_register_retrievers",
    "reasoner": "prlm_bench_register_reasoners",
    "generator": "prlm_bench_register_generators",
    "judge": "prlm_bench_register_judges",
    "reward": "prlm_bench_register_rewards",
    "metric": "prlm_bench_register_metrics",
    "importer": "prlm_bench_register_importers",
    "trainer": "prlm_bench_register_trainers",
    "engine": "prlm_bench_register_engines",
    "logger": "prlm_bench_register_loggers",
}
#: Requirements that a component can declare, as shown to the user.
NEEDS = {
    "date": "dates on every profile item",
    "relevance": "recorded relevant items",
    "items": "retrieved items",
    "answer-field": "a profile item field that holds an answer",
    "labels": "a task whose answers are labels or numbers",
    "candidates": "a task whose question names a candidate for each label",
    "train": "the training split with its golds",
    "users": "at least two users",
    "generator": "the generator while it builds prompts",
}
#: Inputs that a component can declare to ignore, so that a grid does not repeat it.
IGNORES = frozenset({"items", "reasoner"})


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
            return _checked(self.kind, self.name, load_target(what, self.target))
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
        """
        if self.component.instance is not None:
            return self.component.instance
        extra = {"context": context} if takes_context(self.component.factory) else {}
        if extra and context is None:
            raise PluginError(f"{self.component.kind} {self} needs a task and its data")
        try:
            made = self.component.factory(**self.options, **extra)
        except ValueError as error:
            raise SpecError(f"{self.component.kind} {self}: {error}") from error
        return made

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
        """Everything that determines the results of this component; passwords in addresses do not, and are left out."""
        fingerprint = made.fingerprint() if isinstance(made, Fingerprinted) else ""
        if self.component.instance is not None and not isinstance(made, Fingerprinted):
            fingerprint = object_state(made)
        origin = self.component.origin
        return {
            # Not the label: other installed plugins must not change the identity.
            "spec": without_logins(canonical(self.component.name, self.component.factory, self.options)),
            "plugin": self.component.qualified,
            "version": origin.version,
            "source": self.component.source,
            "fingerprint": without_logins(str(fingerprint)),
        }


class Registry:
    """Components by kind and name. If two plugins register a name, only `dist/name` is unambiguous."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, str], list[Component]] = {}
        #: Appended to the unknown-name error, to suggest the plugin that may be missing.
        self.why_missing: Callable[[], str] = lambda: ""

    def add(self, component: Component) -> None:
        """Add a component under its name, its aliases and `dist/name`."""
        for name in (component.name, *component.aliases, component.qualified):
            self._by_name.setdefault((component.kind, name), []).append(component)

    def all(self, kind: str) -> list[Component]:
        """The components of a kind, sorted by name."""
        found = {id(c): c for (k, _), cs in self._by_name.items() if k == kind for c in cs}
        return sorted(found.values(), key=lambda c: (c.name, c.origin.dist))

    def get(self, kind: str, name: str) -> Component:
        """A component by name, alias or `dist/name`.

        Raises:
            UnknownNameError: unknown name; the hint lists close matches or failed plugins.
            PluginError: two plugins register it.
        """
        found = self._by_name.get((kind, name), [])
        if len(found) > 1:
            origins = " and ".join(str(c.origin) for c in found)
            choices = " or ".join(c.qualified for c in found)
            raise PluginError(f"{kind} {name!r} is registered by {origins}", f"write {choices}")
        if not found:
            names = [n for k, n in self._by_name if k == kind and ("/" in n) == ("/" in name)]
            raise unknown_name(kind, name, names, self.why_missing())
        return found[0]

    def choose(self, kind: str, spec: str | Mapping[str, Any] | Spec | ComponentChoice) -> ComponentChoice:
        """Select a component and validate its options.

        Args:
            kind: one of `KINDS`.
            spec: the component and its options; an existing choice is returned unchanged.

        Raises:
            PrlmBenchError: unknown name, unknown or ill-typed option.
        """
        if isinstance(spec, ComponentChoice):
            return spec
        parsed = spec if isinstance(spec, Spec) else parse_spec(spec)
        component = self.get(kind, parsed.name)
        unique = len(self._by_name[kind, component.name]) == 1
        options = bind(kind, component.factory, parsed)
        return ComponentChoice(component, options, component.name if unique else component.qualified)


#: The methods that a component of each kind must have.
_METHODS = {
    "retriever": ("rank",),
    "reasoner": ("prompts", "parse"),
    "generator": ("generate", "tokenizer"),
    "judge": ("judge",),
    "reward": ("score",),
}


def given(kind: str, value: Any) -> ComponentChoice:
    """Wrap a class, a factory or an object as a component, without registering it.

    Class attributes `needs`, `ignores`, `control` and `cached` have the same meaning as at registration.

    Args:
        kind: one of `KINDS`.
        value: the component, or a class or function that creates it with defaults.

    Raises:
        PrlmBenchError: it lacks a method of its kind.
    """
    makes = isinstance(value, type) or inspect.isroutine(value)
    kind_of = value if makes else type(value)
    for method in () if inspect.isroutine(value) else _METHODS.get(kind, ()):
        if not hasattr(value, method):
            raise PrlmBenchError(
                f"{kind_of.__name__} is not a {kind}: it has no {method}", "see docs/tutorials/write-a-plugin.md"
            )
    traits = {
        name: getattr(kind_of, name) for name in ("needs", "ignores", "control", "cached") if hasattr(kind_of, name)
    }
    origin = Origin("python", "python", "", inspect.getsourcefile(kind_of) or "" if _has_file(kind_of) else "")
    factory = value if makes else _Given(value)
    component = make_component(kind, origin, kind_of.__name__, factory, **traits)
    if makes:
        return ComponentChoice(component, bind(kind, factory, Spec(component.name, {})), component.name)
    options = {name: held for name, held in sorted(getattr(value, "__dict__", {}).items()) if _is_shown(name, held)}
    return ComponentChoice(replace(component, instance=value), options, component.name)


def _has_file(kind: Any) -> bool:
    return getattr(sys.modules.get(getattr(kind, "__module__", "")), "__file__", None) is not None


def _is_shown(name: str, held: Any) -> bool:
    return not name.startswith("_") and isinstance(held, str | int | float | bool | None)


@dataclass(frozen=True)
class _Given:
    """The factory of a component given as an object."""

    value: Any

    def __call__(self) -> Any:
        return self.value


def unknown_name(kind: str, name: str, names: Iterable[str], why_missing: str) -> UnknownNameError:
    """The error for an unknown name, with close matches and the plugins that failed to load."""
    error = UnknownNameError(kind, name, names)
    return UnknownNameError(kind, name, names, f"{error.hint}; {why_missing}") if why_missing else error


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # its parent is missing, or it was created by hand
        return module in sys.modules


def make_component(
    kind: str,
    origin: Origin,
    name: str,
    factory: Callable[..., Any] | str,
    *,
    aliases: Iterable[str] = (),
    needs: Collection[str] = (),
    requires: Mapping[str, str] | None = None,
    ignores: Collection[str] = (),
    control: bool = False,
    cached: bool = False,
) -> Component:
    """Validate a registration.

    Raises:
        PrlmBenchError: an invalid name, a factory that is not callable, an unknown need.
    """
    for what, given in (("aliases", aliases), ("needs", needs), ("ignores", ignores)):
        if isinstance(given, str):
            raise PrlmBenchError(
                f"{kind} {name!r}: {what}={given!r} is a string, not a list", f"write {what}=[{given!r}]"
            )
    for label in (name, *aliases):
        check_name(kind, label)
    for what, given, known in (("needs", needs, NEEDS.keys()), ("ignores", ignores, IGNORES)):
        for word in given:
            if word not in known:
                raise PrlmBenchError(f"{kind} {name!r}: unknown {what}={word!r}", "known: " + ", ".join(sorted(known)))
    if cached and kind != "generator":
        raise PrlmBenchError(f"{kind} {name!r}: only generators are cached")
    traits = (frozenset(needs), dict(requires or {}), frozenset(ignores), control, cached)
    component = Component(kind, name, factory, origin, tuple(aliases), *traits)
    if not (isinstance(factory, str) and ":" in factory):
        _checked(kind, name, factory)
    return component


def _checked(kind: str, name: str, factory: Any) -> Callable[..., Any]:
    if not callable(factory):
        raise PluginError(f"{kind} {name!r}: the factory is not callable")
    if kind != "metric" and "name" in options_of(factory):
        raise PluginError(f"{kind} {name!r}: an option cannot be called 'name'", "it names the component in YAML")
    made: Callable[..., Any] = factory
    return made


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
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(f"{what} ({target}) cannot be loaded: {reason}") from error


def check_name(kind: str, name: object) -> None:
    """Raise a PrlmBenchError if `name` cannot be written in a spec."""
    if not isinstance(name, str) or not name or set(name) & set(":,=/+\"'") or any(map(str.isspace, name)):
        raise PrlmBenchError(f"invalid {kind} name {name!r}", "avoid blanks, quotes and : , = / +")
