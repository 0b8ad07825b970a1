"""`prlm-bench doctor`: every check, good and bad."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from support.sites import WORKS, Site

from prlm_bench.doctor import Check, _installation as installation, _models as models, diagnose
from prlm_bench.host import Origin, PluginHost
from prlm_bench.host._registry import make_component

Cli = Callable[..., Any]
PROBE, CARDS = models.probe_torch, models.cards_of_the_driver


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """No servers, keys or cards of the machine that tests run on."""
    monkeypatch.setattr(models, "_LOCAL", {})
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(models, "cards_of_the_driver", list)
    monkeypatch.setattr(models, "version", lambda name: "9.9")
    monkeypatch.setattr(models, "probe_torch", lambda: {"version": "9.9+cpu", "cuda": None, "cards": []})


def checks() -> dict[str, Check]:
    found = diagnose(PluginHost())
    assert len({check.name for check in found}) == len(found)
    return {check.name: check for check in found}


def test_this_installation_is_sound(here: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ended = here("doctor")
    assert (ended.status, ended.stderr) == (0, ""), ended
    found = set(re.findall(r"^  ok +(\S+(?: \S+)?)  ", ended.stdout, re.MULTILINE))
    assert found >= {"prlm-bench", "Python", "threads", "packages", "plugin bm25", "plugin baselines", "cache folder"}
    assert re.search(r"^  - +data root +PRLM_BENCH_DATA is not set$", ended.stdout, re.MULTILINE)
    assert "PROBLEM  " not in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_as_json(here: Cli) -> None:
    found = json.loads(here("doctor", "--json").stdout)
    assert all(set(check) == {"check", "group", "ok", "found", "gives", "hint"} for check in found)
    known = {"check": "prlm-bench", "group": "This installation", "ok": True, "found": "0.1.0"}
    assert known | {"gives": "", "hint": ""} in found


def test_test_and_development_tools_are_no_matter() -> None:
    assert not {"extra test", "extra dev"} & checks().keys()
    assert not {"pytest", "mypy", "hypothesis"} & set(checks()["packages"].found.split())


@pytest.mark.parametrize(
    ("requirement", "name", "ok", "found", "hint"),
    [
        ("no-such-package>=1", "no-such-package", False, "not installed", "reinstall prlm-bench"),
        ('no-such; extra == "hf"', "extra hf", None, "not installed: no-such", "pip install 'prlm-bench[hf]'"),
        ('pluggy<1; extra == "hf"', "extra hf", False, None, "pip install 'prlm-bench[hf]'"),
        ('pluggy; extra == "hf"', "extra hf", True, None, ""),
        ("pluggy<1", "pluggy", False, None, "tested with <1"),
        ("pluggy>=1", "packages", True, None, ""),
    ],
)
def test_packages(
    monkeypatch: pytest.MonkeyPatch, requirement: str, name: str, ok: bool | None, found: str | None, hint: str
) -> None:
    monkeypatch.setattr(installation, "requires", lambda dist: [requirement])
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
    assert found["plugin zz-bad"] == Check(
        "plugin zz-bad",
        False,
        "ModuleNotFoundError: No module named 'no_such_module'",
        "pip install no_such_module",
        group="Plugins",
    )
    assert found["plugin zz-empty"].hint.startswith("docs/tutorials/write-a-plugin.md")
    assert here("doctor", "--json").status == 2
    assert broken.exists()


def test_a_component_that_lacks_its_package_is_no_problem() -> None:
    host = PluginHost()
    origin = Origin("zz", "zz", "1", "")
    host.registry.add(make_component("retriever", origin, "zz-dense", object, requires={"no_such": "no-such[all]"}))
    found = {check.name: check for check in diagnose(host)}
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

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Full)
    assert checks()["cache folder"].ok is False


def test_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRLM_BENCH_DATA", "")
    assert checks()["data root"].ok is None
    monkeypatch.setenv("PRLM_BENCH_DATA", str(tmp_path / "nowhere"))
    assert checks()["data root"] == Check(
        "data root", False, str(tmp_path / "nowhere"), "no such folder", group="Folders"
    )
    monkeypatch.setenv("PRLM_BENCH_DATA", str(tmp_path))
    assert checks()["data root"].hint == "run `prlm-bench data download`"
    for folder in ("LaMP_4", "LaMP_7_time"):
        (tmp_path / folder / "dev").mkdir(parents=True)
        (tmp_path / folder / "dev/dev_questions.json").write_text("[]")
    assert checks()["data root"] == Check("data root", True, f"{tmp_path}: LaMP_4, LaMP_7_time", group="Folders")
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("PRLM_BENCH_DATA", f"~/{tmp_path.name}/LaMP_4")
    assert checks()["data root"].ok is True


def test_threads_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "core_count", lambda: 4)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert checks()["threads"] == Check("threads", True, "4 on 4 cores, waiting: passive")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert checks()["threads"].ok is None


def test_torch_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks()["torch"].found == "9.9+cpu, built for CPUs"
    none = checks()["GPU"]
    assert (none.ok, none.found.partition(";")[0]) == (None, "none")
    assert "models of billions of parameters" in none.gives
    monkeypatch.setattr(models, "cards_of_the_driver", lambda: ["Card 1, 9 GiB"])
    unused = checks()["GPU"]
    assert (unused.ok, unused.found) == (None, "Card 1, 9 GiB, but torch is not built for it")
    assert "pip install torch with CUDA" in unused.hint
    probe = {"version": "9.9", "cuda": "12.8", "cards": []}
    monkeypatch.setattr(models, "probe_torch", lambda: probe)
    assert checks()["GPU"].found == "Card 1, 9 GiB, but torch cannot use it: is the driver too old?"
    probe["cards"] = ["Card 1, 9 GiB", "Card 2, 9 GiB"]
    assert (checks()["GPU"].ok, checks()["GPU"].found) == (True, "Card 1, 9 GiB; Card 2, 9 GiB")
    assert checks()["torch"].found == "9.9, built for CUDA 12.8"
    monkeypatch.setattr(models, "probe_torch", lambda: {"error": "OSError: libcudart.so.12"})
    broken = checks()["torch"]
    assert (broken.ok, broken.found) == (False, "9.9 cannot be used: OSError: libcudart.so.12")


def test_without_torch_it_says_what_torch_would_give(monkeypatch: pytest.MonkeyPatch, here: Cli) -> None:
    def none(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(models, "version", none)
    missing = checks()["torch"]
    assert (missing.ok, missing.hint) == (None, "pip install 'prlm-bench[lm]'")
    assert "language models through transformers" in missing.gives
    printed = " ".join(here("doctor").stdout.split())
    assert (
        "torch not installed gives: language models through transformers, training, dense retrieval do: pip" in printed
    )


def test_what_torch_says_of_itself() -> None:
    """The real one, in its own process."""
    pytest.importorskip("torch")
    found = PROBE()
    assert set(found) == {"version", "cuda", "cards"}
    assert found["version"] == version("torch")


def test_the_drivers_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert CARDS() == []
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H100, 81559 MiB'\n")
    program.chmod(0o755)
    assert CARDS() == ["NVIDIA H100, 81559 MiB"]
    program.write_text("#!/bin/sh\necho 'no driver'\nexit 9\n")
    assert CARDS() == []


class Listing(BaseHTTPRequestHandler):
    """A server that has one answer for every GET."""

    status, body = 200, b""
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        type(self).asked.append((self.path, self.headers["Authorization"]))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, type[Listing]]]:
    handler = type("Own", (Listing,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/v1", handler
        running.shutdown()


MODELS = json.dumps({"data": [{"id": f"model-{number}"} for number in range(5)]}).encode()


def test_a_server_that_answers_is_named_with_its_models(
    server: tuple[str, type[Listing]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, handler = server
    handler.body = MODELS
    assert checks()["server"].found.startswith("OPENAI_BASE_URL is not set; none at ")
    monkeypatch.setattr(models, "_LOCAL", {address: "a server"})
    found = checks()[f"server {address}"]
    assert (found.ok, found.hint) == (True, f"--generator openai-api:model=model-0,base_url={address}")
    assert found.found == "the default address of a server; it serves model-0, model-1, model-2 and 2 more"
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    found = checks()[f"server {address}"]
    assert found.found == "OPENAI_BASE_URL; it serves model-0, model-1, model-2 and 2 more"
    assert checks()["key OPENAI_API_KEY"] == Check("key OPENAI_API_KEY", True, "is set", group=found.group)
    assert set(handler.asked) == {("/v1/models", None)}


@pytest.mark.parametrize(
    ("status", "body", "ok", "words"),
    [
        (401, b"", True, "lists its models to a key only"),
        (404, b"", False, "status 404"),
        (200, b"<html>", False, "no list of models"),
        (200, b"[" * 100_000, False, "no list of models"),
        (200, b" " * (models._LONGEST + 1), False, "no list of models"),
        (200, b'{"data": []}', True, "it serves no model"),
    ],
)
def test_a_named_server_that_has_no_list(
    server: tuple[str, type[Listing]], monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, ok: bool, words: str
) -> None:
    address, handler = server
    handler.status, handler.body = status, body
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    found = checks()[f"server {address}"]
    assert found.ok is ok and words in found.found
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.setattr(models, "_LOCAL", {address: "a server"})
    assert (f"server {address}" in checks()) == (
        status == 200 and ok
    )  # whatever else listens there is no server of models


def test_a_server_that_is_down_is_a_problem(monkeypatch: pytest.MonkeyPatch, here: Cli) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    ended = here("doctor")
    assert (ended.status, ended.stderr) == (2, "prlm-bench: problems with server http://127.0.0.1:1/v1\n")


@pytest.mark.parametrize("address", ["http://me:secret@host/v1", "http://host/v1?key=secret", "host", "file:///secret"])
def test_an_address_that_is_none_is_not_repeated(monkeypatch: pytest.MonkeyPatch, here: Cli, address: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    ended = here("doctor")
    assert "secret" not in ended.stdout + ended.stderr
    assert ended.stderr == "prlm-bench: problems with server OPENAI_BASE_URL\n"
