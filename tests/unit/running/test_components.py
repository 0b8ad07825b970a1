"""Components are made once, and what they are composed of is part of their identity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from prlm_bench.data import open_split
from prlm_bench.errors import RunError
from prlm_bench.host import PluginHost
from prlm_bench.running import Components


@pytest.fixture
def components(host: PluginHost, tmp_path: Path) -> Components:
    dataset = open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)
    return Components(host, dataset, tmp_path)


def test_a_choice_is_made_once_for_each_seed(host: PluginHost, components: Components) -> None:
    chosen = host.registry.choose("retriever", "random")
    first, identity = components.make(chosen, 0)
    assert components.make(host.registry.choose("retriever", "random"), 0)[0] is first
    assert components.make(chosen, 1)[0] is not first
    assert identity["spec"] == "random"


def test_the_inner_component_is_part_of_the_identity(host: PluginHost, components: Components) -> None:
    by_bm25 = components.make(host.registry.choose("retriever", "other-user:by=bm25"), 0)[1]
    by_default = components.make(host.registry.choose("retriever", "other-user"), 0)[1]
    assert by_bm25["fingerprint"] != by_default["fingerprint"]


def test_changed_code_of_the_inner_component_is_another_identity(
    host: PluginHost, components: Components, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = host.registry.choose("retriever", "other-user:by=bm25")
    before = components.make(chosen, 0)[1]
    inner = host.registry.get("retriever", "bm25")
    changed = replace(inner)
    changed.__dict__["source"] = "other code"
    monkeypatch.setattr(
        host.registry, "choose", lambda kind, spec: replace(chosen, component=changed, options={}, label="bm25")
    )
    dataset = open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)
    after = Components(host, dataset, tmp_path).make(chosen, 0)[1]
    assert before["fingerprint"] != after["fingerprint"]
    assert before["source"] == after["source"]


def test_what_the_data_lack_is_said_by_name(host: PluginHost, components: Components) -> None:
    with pytest.raises(RunError, match="generator vote cannot run on mini_lamp_4 dev: it needs a task whose answers"):
        components.ready("generator", "vote", 0)


def test_options_without_effect_make_another_object_and_no_other_identity(
    host: PluginHost, components: Components
) -> None:
    def made(spec: str) -> tuple[object, dict[str, str]]:
        return components.make(host.registry.choose("retriever", spec), 0)

    plain, fast = made("bm25"), made("bm25:backend=numpy")
    assert plain[0] is not fast[0] and plain[1] == fast[1]


@pytest.mark.parametrize(
    ("spec", "without"),
    [
        ("shuffled:of=bm25:backend=numpy", "shuffled"),
        ("shuffled:of='bm25:backend=numpy,k1=2'", "shuffled:of=bm25:k1=2.0"),
        ("hybrid:bm25:backend=numpy+random", "hybrid:of=bm25+random"),
        ("shuffled:of='decay:of=bm25:backend=numpy'", "shuffled:of=decay"),
    ],
)
def test_an_inner_option_without_effect_is_no_part_of_the_identity(
    spec: str, without: str, host: PluginHost, components: Components
) -> None:
    found, plain = (components.make(host.registry.choose("retriever", s), 0)[1] for s in (spec, without))
    assert found == plain
