"""`prlm-bench doctor`: every check, good and bad."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sites import WORKS, Site

from prlm_bench import doctor as diagnosis
from prlm_bench.host import Origin, PluginHost
from prlm_bench.host._registry import make_component

Cli = Callable[..., Any]


def checks() -> dict[str, diagnosis.Check]:
    found = diagnosis.diagnose(PluginHost())
    assert len({check.name for check in found}) == len(found)
    return {check.name: check for check in found}


def test_this_installation_is_sound(here: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = here("doctor")
    assert (ended.status, ended.stderr) == (0, ""), ended
    lines = {line.split("  ")[0].strip(): line for line in ended.stdout.splitlines()}
    for name in (
        "prlm-bench",
        "Python",
        "threads",
        "numpy",
        "pluggy",
        "plugin bm25",
        "plugin baselines",
        "cache folder",
    ):
        assert " ok " in lines[name]
    assert "PRLM_BENCH_DATA is not set" in lines["data root"]
    assert "PROBLEM" not in ended.stdout


def test_as_json(here: Cli) -> None:
    found = json.loads(here("doctor", "--json").stdout)
    assert all(set(check) == {"check", "ok", "found", "hint"} for check in found)
    assert {"check": "prlm-bench", "ok": True, "found": "0.1.0", "hint": ""} in found


def test_test_and_development_tools_are_no_matter() -> None:
    assert not {"pytest", "mypy", "hypothesis"} & {name.split(" ")[0] for name in checks()}


EXTRA = "no-such-package (extra hf)"


@pytest.mark.parametrize(
    ("requirement", "name", "ok", "found", "hint"),
    [
        ("no-such-package>=1", "no-such-package", False, "not installed", "reinstall prlm-bench"),
        ('no-such-package; extra == "hf"', EXTRA, None, "not installed", "pip install 'prlm-bench[hf]'"),
        ("pluggy<1", "pluggy", False, None, "tested with <1"),
        ("pluggy>=1", "pluggy", True, None, ""),
    ],
)
def test_packages(
    monkeypatch: pytest.MonkeyPatch, requirement: str, name: str, ok: bool | None, found: str | None, hint: str
) -> None:
    monkeypatch.setattr(diagnosis, "requires", lambda dist: [requirement])
    check = checks()[name]
    assert (check.ok, check.hint) == (ok, hint)
    assert found is None or check.found == found


def test_broken_plugins_are_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Cli) -> None:
    site = Site.on_path(tmp_path, monkeypatch)
    site.add(WORKS)
    broken = site.add("import no_such_module", dist="zz-broken", plugin="zz-bad")
    site.add("pass", dist="zz-empty", plugin="zz-empty")
    ended = here("doctor")
    assert ended.status == 2
    assert ended.stderr == "prlm-bench: problems with plugin zz-bad, plugin zz-empty\n"
    found = checks()
    assert found["plugin zz-plugin"].ok is True
    assert found["plugin zz-bad"] == diagnosis.Check(
        "plugin zz-bad", False, "ModuleNotFoundError: No module named 'no_such_module'", "pip install no_such_module"
    )
    assert found["plugin zz-empty"].hint.startswith("docs/tutorials/write-a-plugin.md")
    assert here("doctor", "--json").status == 2
    assert broken.exists()


def test_a_component_that_lacks_its_package_is_no_problem() -> None:
    host = PluginHost()
    origin = Origin("zz", "zz", "1", "")
    host.registry.add(make_component("retriever", origin, "zz-dense", object, requires={"no_such": "no-such[all]"}))
    found = {check.name: check for check in diagnosis.diagnose(host)}
    check = found["retriever zz-dense"]
    assert (check.ok, check.found) == (None, "needs the package no_such (pip install 'no-such[all]')")
    assert "retriever bm25" not in found


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path / "not/there/yet"))
    good = checks()["cache folder"]
    assert good.ok is True and good.found.startswith(f"{tmp_path}/not/there/yet, ") and good.found.endswith(" GB free")
    assert not (tmp_path / "not").exists()
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("PRLM_BENCH_CACHE", str(file / "cache"))
    bad = checks()["cache folder"]
    assert (bad.ok, bad.hint) == (False, "set PRLM_BENCH_CACHE to a writable folder with free space")


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 0.4e9

    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda path: Full)
    assert checks()["cache folder"].ok is False


def test_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRLM_BENCH_DATA", "")
    assert checks()["data root"].ok is None
    monkeypatch.setenv("PRLM_BENCH_DATA", str(tmp_path / "nowhere"))
    assert checks()["data root"] == diagnosis.Check("data root", False, str(tmp_path / "nowhere"), "no such folder")
    monkeypatch.setenv("PRLM_BENCH_DATA", str(tmp_path))
    assert checks()["data root"].hint == "run `prlm-bench data download`"
    for folder in ("LaMP_4", "LaMP_7_time"):
        (tmp_path / folder / "dev").mkdir(parents=True)
        (tmp_path / folder / "dev/dev_questions.json").write_text("[]")
    assert checks()["data root"] == diagnosis.Check("data root", True, f"{tmp_path}: LaMP_4, LaMP_7_time")
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("PRLM_BENCH_DATA", f"~/{tmp_path.name}/LaMP_4")
    assert checks()["data root"].ok is True


def test_threads_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "core_count", lambda: 4)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert checks()["threads"] == diagnosis.Check("threads", True, "4 on 4 cores, waiting: passive")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert checks()["threads"].ok is None
