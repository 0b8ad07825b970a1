"""The registered components by kind and name, each with its origin."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._util.names import matched
from ..errors import PluginError, PrlmBenchError, UnknownNameError
from ._component import METHODS, Component, ComponentChoice, check_factory
from ._faults import Origin
from ._specs import Spec, bind, parse_spec

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
        """A component by name, alias or `dist/name`, in upper or lower case.

        Raises:
            UnknownNameError: unknown name; the hint lists close matches or failed plugins.
            PluginError: two plugins register it.
        """
        names = [known for of, known in self._by_name if of == kind]
        found = self._by_name.get((kind, matched(name, names)), [])
        if len(found) > 1:
            origins = " and ".join(str(c.origin) for c in found)
            choices = " or ".join(c.qualified for c in found)
            raise PluginError(f"{kind} {name!r} is registered by {origins}", f"write {choices}")
        if not found:
            like_it = [known for known in names if ("/" in known) == ("/" in name)]
            raise unknown_name(kind, name, like_it, self.why_missing())
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
    for method in () if inspect.isroutine(value) else METHODS.get(kind, ()):
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
        check_factory(kind, name, factory)
    return component


def check_name(kind: str, name: object) -> None:
    """Raise a PrlmBenchError if `name` cannot be written in a spec."""
    if not isinstance(name, str) or not name or set(name) & set(":,=/+\"'") or any(map(str.isspace, name)):
        raise PrlmBenchError(f"invalid {kind} name {name!r}", "avoid blanks, quotes and : , = / +")
