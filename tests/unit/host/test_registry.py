"""The registry: names, aliases, clashes, identities, and what a plugin may register."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from prlm_bench.errors import PluginError, PrlmBenchError, SpecError, UnknownNameError
from prlm_bench.host import KINDS, NEEDS, Component, Origin, PluginHost, Registry
from prlm_bench.host._registry import IGNORES, make_component
from prlm_bench.identity import code_digest

ONE = Origin("one", "dist-one", "1.0", "one.py")
TWO = Origin("two", "dist-two", "2.0", "two.py")


class Sorts:
    """Sorts things.

    Args:
        key: by what.
    """

    def __init__(self, key: str = "size") -> None:
        if key == "nothing":
            raise ValueError("there is nothing to sort by")
        self.key = key

    def fingerprint(self) -> str:
        return f"sorted by {self.key}"

    def rank(self, examples: Any, k: int | None = None) -> Any:
        return []


def component(name: str, origin: Origin = ONE, factory: Callable[..., Any] = Sorts, **traits: Any) -> Component:
    return make_component("retriever", origin, name, factory, **traits)


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_component_is_found_by_name_alias_and_dist(registry: Registry) -> None:
    mine = component("sorts", aliases=["orders", "ranks"])
    registry.add(mine)
    for name in ("sorts", "orders", "ranks", "dist-one/sorts"):
        assert registry.get("retriever", name) is mine
    assert registry.all("retriever") == [mine]
    assert registry.all("generator") == []
    with pytest.raises(UnknownNameError):
        registry.get("generator", "sorts")


def test_two_origins_of_one_name_are_an_error_that_names_both(registry: Registry) -> None:
    one, two = component("sorts", ONE), component("sorts", TWO)
    registry.add(one)
    registry.add(two)
    with pytest.raises(PluginError) as caught:
        registry.get("retriever", "sorts")
    assert str(caught.value) == (
        "retriever 'sorts' is registered by one (dist-one 1.0) and two (dist-two 2.0) "
        "(write dist-one/sorts or dist-two/sorts)"
    )
    assert registry.get("retriever", "dist-one/sorts") is one
    assert registry.get("retriever", "dist-two/sorts") is two
    assert registry.all("retriever") == [one, two]


def test_an_alias_may_clash_too(registry: Registry) -> None:
    registry.add(component("sorts", ONE, aliases=["orders"]))
    registry.add(component("orders", TWO))
    with pytest.raises(PluginError, match="write dist-one/sorts or dist-two/orders"):
        registry.get("retriever", "orders")
    assert registry.get("retriever", "sorts").origin == ONE


def test_a_chosen_component_is_called_by_a_name_that_is_clear(registry: Registry) -> None:
    registry.add(component("sorts", ONE, aliases=["orders"]))
    assert str(registry.choose("retriever", "dist-one/sorts:date")) == "sorts:key=date"
    assert str(registry.choose("retriever", "orders:key=size")) == "sorts"
    before = registry.choose("retriever", "sorts").identity(Sorts())
    registry.add(component("sorts", TWO))
    chosen = registry.choose("retriever", "dist-one/sorts:date")
    assert str(chosen) == "dist-one/sorts:key=date"
    assert registry.choose("retriever", str(chosen)) == chosen
    # What else is installed is no part of an identity.
    assert registry.choose("retriever", "dist-one/sorts").identity(Sorts()) == before


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sort", "did you mean sorts?"),
        ("zzz", "known: other, sorts"),
        ("dist-one/sort", "did you mean dist-one/sorts"),
    ],
)
def test_an_unknown_name_has_close_matches(registry: Registry, name: str, hint: str) -> None:
    registry.add(component("sorts"))
    registry.add(component("other"))
    with pytest.raises(UnknownNameError) as caught:
        registry.get("retriever", name)
    assert str(caught.value).startswith(f"unknown retriever {name!r} ({hint}")


def test_close_matches_and_broken_plugins_are_both_told(registry: Registry) -> None:
    registry.add(component("sorts"))
    registry.why_missing = lambda: "plugin x failed to load"
    with pytest.raises(UnknownNameError, match=r"\(did you mean sorts\?; plugin x failed to load\)"):
        registry.get("retriever", "sort")


def test_nothing_registered_is_said(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown reward 'x' \(no reward is registered\)"):
        registry.get("reward", "x")


def test_the_identity_holds_all_that_tells_results_apart(registry: Registry) -> None:
    registry.add(component("sorts"))
    chosen = registry.choose("retriever", {"name": "sorts", "key": "date"})
    assert chosen.identity(Sorts("date")) == {
        "spec": "sorts:key=date",
        "plugin": "dist-one/sorts",
        "version": "1.0",
        "source": code_digest(chosen.component.factory),
        "fingerprint": "sorted by date",
    }
    assert chosen.identity(object())["fingerprint"] == ""


def test_a_partial_has_the_source_and_summary_of_what_it_wraps() -> None:
    plain, wrapped = component("a"), component("b", factory=partial(Sorts, "date"))
    assert plain.summary == wrapped.summary == "Sorts things."
    assert plain.source and wrapped.source
    assert plain.source != wrapped.source  # its argument decides too


def test_the_shipped_metrics_do_not_show_the_documentation_of_partial() -> None:
    assert not any("partial" in metric.summary for metric in PluginHost().registry.all("metric"))


def test_make_passes_options_and_context(registry: Registry) -> None:
    def factory(context: Any, key: str = "size") -> Any:
        made = Sorts(key)
        made.context = context  # type: ignore[attr-defined]
        return made

    registry.add(component("sorts"))
    registry.add(component("context", factory=factory))
    context: Any = object()
    assert registry.choose("retriever", "sorts:date").make(context).key == "date"
    made = registry.choose("retriever", "context:date").make(context)
    assert (made.context, made.key) == (context, "date")


def test_a_value_error_of_a_factory_is_a_mistake_in_the_spec(registry: Registry) -> None:
    registry.add(component("sorts"))
    context: Any = None
    with pytest.raises(SpecError, match="retriever sorts:key=nothing: there is nothing to sort by"):
        registry.choose("retriever", "sorts:nothing").make(context)


@pytest.mark.parametrize("name", ["", "a b", "a\tb", "a:b", "a,b", "a=b", "a/b", 'a"b', "a'b", "a+b", None, 3])
def test_names_that_cannot_be_written_in_a_spec(name: Any) -> None:
    with pytest.raises(PrlmBenchError, match=r"invalid retriever name .*avoid blanks"):
        component(name)
    with pytest.raises(PrlmBenchError, match="retriever name"):
        component("good", aliases=[name])


@pytest.mark.parametrize("name", ["rouge1@lamp", "bleu-4@prlm", "bm25", "Größe", "a.b", "(x)"])
def test_names_that_can(name: str) -> None:
    assert component(name).name == name


@pytest.mark.parametrize(
    ("traits", "said"),
    [
        ({"needs": ["dates"]}, "retriever 'x': unknown needs='dates' (known: answer-field, candidates, date,"),
        ({"ignores": ["date"]}, "retriever 'x': unknown ignores='date' (known: items, reasoner)"),
        ({"needs": "items"}, "retriever 'x': needs='items' is a string, not a list (write needs=['items'])"),
        ({"aliases": "y"}, "retriever 'x': aliases='y' is a string, not a list (write aliases=['y'])"),
        ({"factory": "Sorts"}, "retriever 'x': the factory is not callable"),
        ({"factory": lambda name: None}, "retriever 'x': an option cannot be called 'name'"),
    ],
)
def test_what_a_plugin_cannot_register(traits: dict[str, Any], said: str) -> None:
    with pytest.raises(PrlmBenchError) as caught:
        component("x", **traits)
    assert str(caught.value).startswith(said)


def test_the_vocabulary() -> None:
    assert component("x", needs=NEEDS, ignores=IGNORES, control=True).needs == set(NEEDS)
    assert all(hook == f"prlm_bench_register_{kind}s" for kind, hook in KINDS.items())


@pytest.mark.parametrize(
    ("requires", "missing"),
    [
        ({}, None),
        ({"json": "json"}, None),
        ({"xml.dom": "xml"}, None),
        ({"no_such_module": "no-such"}, "needs the package no_such_module (pip install 'no-such')"),
        ({"json": "json", "no_such.sub.module": "no[sub]"}, "needs the package no_such.sub.module"),
    ],
)
def test_what_a_component_requires(requires: dict[str, str], missing: str | None) -> None:
    said = component("x", requires=requires).missing()
    assert said is None if missing is None else str(said).startswith(missing)


def test_every_shipped_component_has_a_summary(host: PluginHost) -> None:
    bare = [c.name for kind in KINDS if kind != "metric" for c in host.registry.all(kind) if not c.summary]
    assert bare == []


def test_a_factory_that_is_named_is_imported_on_first_use() -> None:
    named = component("x", factory="fractions:Fraction")
    assert "factory" not in vars(named)
    assert list(named.options)[:2] == ["numerator", "denominator"]


@pytest.mark.parametrize(
    ("target", "requires", "said"),
    [
        ("no_such_module:Sorts", {}, "retriever 'x' (no_such_module:Sorts) cannot be loaded: ModuleNotFoundError: No"),
        ("fractions:Sorts", {}, "retriever 'x' (fractions:Sorts) cannot be loaded: AttributeError: module 'fractions'"),
        ("math:pi", {}, "retriever 'x': the factory is not callable"),
        ("no_such_module:Sorts", {"no_such": "no-such"}, "retriever 'x' needs the package no_such (pip install"),
    ],
)
def test_a_named_factory_that_cannot_be_imported(target: str, requires: dict[str, str], said: str) -> None:
    broken = component("x", factory=target, requires=requires)
    with pytest.raises(PluginError) as caught:
        _ = broken.factory
    assert str(caught.value).startswith(said)
