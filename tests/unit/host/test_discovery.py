"""Where plugins come from: installed distributions, as far as they are let through, and local files and modules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sites import HOOK, WORKS, Site, the_failure

from prlm_bench.errors import PluginError, UnknownNameError
from prlm_bench.host import PluginHost


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site.on_path(tmp_path, monkeypatch)


@pytest.fixture
def local(tmp_path: Path) -> Callable[..., str]:
    """Writes a plugin file and gives its path, as for `--plugin`."""

    def write(source: str = WORKS, name: str = "zz_local.py") -> str:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
        return str(file)

    return write


def test_an_entry_point_that_points_nowhere(site: Site) -> None:
    site.add("", points="zz-plugin = zz_nowhere")
    failure = the_failure(PluginHost())
    assert (failure.error, failure.where) == ("ModuleNotFoundError: No module named 'zz_nowhere'", "zz_nowhere")
    assert failure.hint == "reinstall zz-dist"


def test_an_entry_point_file_that_cannot_be_read(site: Site) -> None:
    site.add("", points="this is no entry point")
    failure = the_failure(PluginHost())
    assert str(failure.origin) == "zz-dist (zz-dist 1.2)"
    assert failure.error.startswith("invalid entry points")


def test_an_entry_point_may_name_an_object(site: Site) -> None:
    hook = "class Plugin:\n    @hookimpl\n    def prlm_bench_register_retrievers(self, register):\n    "
    source = WORKS.replace("@hookimpl\ndef prlm_bench_register_retrievers(register):\n", hook) + "\nplugin = Plugin()\n"
    file = site.add(source, points="")
    (site.folder / "zz_dist-1.2.dist-info/entry_points.txt").write_text(f"[prlm_bench]\nzz = {file.stem}:plugin\n")
    host = PluginHost()
    assert host.failures == []
    assert host.registry.get("retriever", "zz-works").origin.file == ""


@pytest.mark.parametrize(
    ("wanted", "loaded"),
    [
        ("", set()),
        (" , ", set()),
        ("bm25", {"bm25"}),
        ("zz-plugin", {"zz-plugin"}),
        (" bm25 , zz-plugin ", {"bm25", "zz-plugin"}),
        ("zz-dist", {"zz-plugin", "zz-other"}),
        ("Zz_Dist", {"zz-plugin", "zz-other"}),
        ("prlm-bench", {"baselines", "bm25"}),
    ],
)
def test_loading_can_be_restricted(site: Site, monkeypatch: pytest.MonkeyPatch, wanted: str, loaded: set[str]) -> None:
    site.add(WORKS)
    site.add(WORKS.replace("zz-works", "zz-more"), plugin="zz-other")
    monkeypatch.setenv("PRLM_BENCH_LOAD_PLUGINS", wanted)
    host = PluginHost()
    assert host.failures == []
    names = {plugin.origin.plugin for plugin in host.plugins} - {"metrics"}
    assert names >= loaded
    assert not names & ({"bm25", "zz-plugin", "zz-other"} - loaded)


def test_distributions_go_by_any_spelling_of_their_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add(WORKS, dist="Zz_Camel.Case")
    monkeypatch.setenv("PRLM_BENCH_LOAD_PLUGINS", "zz-camel-case")
    host = PluginHost()
    assert [plugin.origin.dist for plugin in host.plugins] == ["prlm-bench", "Zz_Camel.Case"]
    assert host.failures == []


def test_a_restriction_to_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRLM_BENCH_LOAD_PLUGINS", "baslines,bm25")
    host = PluginHost()
    (failure,) = host.failures
    said = "plugin baslines (PRLM_BENCH_LOAD_PLUGINS) failed to load: unknown plugin 'baslines' (did you mean baselines"
    assert str(failure).startswith(said)
    with pytest.raises(UnknownNameError, match="did you mean baselines"):
        host.registry.get("generator", "copy")


def test_local_plugins_are_loaded_under_a_restriction(local: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRLM_BENCH_LOAD_PLUGINS", "")
    host = PluginHost([local()])
    assert [plugin.origin.dist for plugin in host.plugins] == ["prlm-bench", "zz_local"]


def test_a_clash_names_both_origins_and_dist_name_works(site: Site) -> None:
    site.add(WORKS.replace("zz-works", "bm25"))
    host = PluginHost()
    assert host.failures == []
    with pytest.raises(PluginError) as caught:
        host.registry.get("retriever", "bm25")
    said = str(caught.value)
    assert "bm25 (prlm-bench " in said and "zz-plugin (zz-dist 1.2)" in said
    assert said.endswith("(write prlm-bench/bm25 or zz-dist/bm25)")
    assert host.registry.get("retriever", "zz-dist/bm25").summary == "Finds nothing."
    assert host.registry.get("retriever", "prlm-bench/bm25").origin.dist == "prlm-bench"


def test_methods_clash_in_the_same_way(site: Site) -> None:
    site.add("from prlm_bench import hookimpl\n" + HOOK.format("methods", "register('echo', generator='copy')"))
    host = PluginHost()
    with pytest.raises(PluginError, match=r"\(write prlm-bench/echo or zz-dist/echo\)"):
        host.method("echo")
    assert host.method("zz-dist/echo").generator == "copy"
    assert [m.origin.dist for m in host.methods if m.name == "echo"] == ["prlm-bench", "zz-dist"]
    with pytest.raises(UnknownNameError, match=r"unknown method 'ecko' \(did you mean echo\?\)"):
        host.method("ecko")


def test_one_distribution_cannot_bring_a_name_twice(site: Site) -> None:
    site.add(WORKS, plugin="zz-a")
    site.add(WORKS, plugin="zz-b")
    host = PluginHost()
    (failure,) = host.failures
    assert failure.error == "retriever 'zz-works' is registered by zz-a (zz-dist 1.2) and by zz-b (zz-dist 1.2)"
    assert host.registry.get("retriever", "zz-works").origin.plugin == "zz-a"


def test_a_local_file(local: Any) -> None:
    name = local()
    host = PluginHost([name])
    plugin = host.plugins[-1]
    assert (plugin.origin.plugin, plugin.origin.dist, plugin.origin.file) == (name, "zz_local", name)
    assert host.registry.get("retriever", "zz_local/zz-works").origin == plugin.origin


def test_a_local_file_may_hold_what_needs_its_module_by_name(local: Any) -> None:
    more = "from __future__ import annotations\nfrom dataclasses import dataclass\n" + WORKS
    host = PluginHost([local(more + "\n@dataclass\nclass Point:\n    x: int = 0\n")])
    assert host.failures == []
    module = sys.modules[host.registry.get("retriever", "zz-works").factory.__module__]
    assert module.Point(3).x == 3


@pytest.mark.parametrize("stem", ["json", "typing", "random"])
def test_a_local_file_named_like_a_module_hides_nothing(local: Any, stem: str) -> None:
    before = sys.modules[stem]
    own = f"zz/{stem}.py"
    host = PluginHost([local(f"import {stem} as same\nassert not same.__file__.endswith('{own}')\n{WORKS}", own)])
    assert host.failures == []
    assert sys.modules[stem] is before
    assert host.registry.get("retriever", f"{stem}/zz-works").origin.dist == stem


def test_two_local_files_of_one_name(local: Any) -> None:
    one = local(WORKS, "a/same.py")
    two = local(WORKS.replace("zz-works", "zz-two") + "# longer\n", "b/same.py")
    host = PluginHost([one, two, one])
    assert host.failures == []
    first, second = (host.registry.get("retriever", name) for name in ("zz-works", "zz-two"))
    assert first.source != second.source
    (failure,) = PluginHost([one, local(WORKS, "b/same.py")]).failures
    assert failure.error.startswith("retriever 'zz-works' is registered by")


def test_a_local_module_and_a_package(site: Site) -> None:
    (site.folder / "zz_package").mkdir()
    (site.folder / "zz_package/__init__.py").write_text("")
    (site.folder / "zz_package/part.py").write_text(WORKS)
    host = PluginHost(["zz_package.part"])
    assert host.registry.get("retriever", "zz_package.part/zz-works").name == "zz-works"


def test_naming_an_installed_plugin_again_changes_nothing() -> None:
    host = PluginHost(["prlm_bench_plugins.bm25"])
    assert host.failures == []
    assert host.registry.get("retriever", "bm25").origin.dist == "prlm-bench"


@pytest.mark.parametrize(
    ("name", "error", "hint"),
    [
        ("nowhere.py", "no such plugin file: nowhere.py", ""),
        (".", "ValueError: Empty module name", ""),
        ("zz_nowhere", "ModuleNotFoundError: No module named 'zz_nowhere'", "give path/to/file.py, or a module on"),
        ("json.zz_nowhere", "ModuleNotFoundError: No module named 'json.zz_nowhere'", "give path/to/file.py, or a"),
        ("json", "it has no hooks", "docs/tutorials/write-a-plugin.md"),
    ],
)
def test_a_local_plugin_that_is_not_there(name: str, error: str, hint: str) -> None:
    failure = the_failure(PluginHost([name]))
    assert failure.error == error or (name == "." and failure.error)
    assert failure.hint.startswith(hint)
