"""How many threads libraries get, and that they get it before they are loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from prlm_bench import threads
from prlm_bench.errors import PrlmBenchError
from prlm_bench.running._engines import ProcessEngine

VARIABLES = (
    *("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_BLOCKTIME"),
    *("TOKENIZERS_PARALLELISM", "PRLM_BENCH_THREADS", "LOCAL_WORLD_SIZE"),
)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Eight cores, no control groups, and none of the variables; they are as before afterwards."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that what is set meanwhile is undone
        monkeypatch.delenv(name)
    monkeypatch.setattr(threads, "_ours", {})
    monkeypatch.setattr(threads, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(threads, "_MOUNTED", tmp_path / "mounted")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def chosen() -> dict[str, str]:
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


def test_a_process_has_all_cores_and_its_threads_sleep() -> None:
    threads.set_thread_defaults()
    assert chosen() == {"OMP_NUM_THREADS": "8", "RAYON_NUM_THREADS": "8", **WAITING}


@pytest.mark.parametrize(("launched", "each"), [("2", "4"), ("3", "2"), ("16", "1"), ("0", "8"), ("", "8"), ("x", "8")])
def test_launched_processes_share_the_cores(launched: str, each: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", launched)
    threads.set_thread_defaults()
    assert os.environ["OMP_NUM_THREADS"] == os.environ["RAYON_NUM_THREADS"] == each
    assert ("TOKENIZERS_PARALLELISM" in os.environ) == (each == "1")


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "ACTIVE", "TOKENIZERS_PARALLELISM": "true"}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    threads.set_thread_defaults(processes=8)
    assert chosen() == {**own, "RAYON_NUM_THREADS": "1", "KMP_BLOCKTIME": "0"}


def test_our_own_variable_goes_before_what_torchrun_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("PRLM_BENCH_THREADS", " 6 ")
    threads.set_thread_defaults()
    assert os.environ["OMP_NUM_THREADS"] == os.environ["RAYON_NUM_THREADS"] == "6"


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "²"])
def test_no_number_of_threads(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRLM_BENCH_THREADS", text)
    with pytest.raises(PrlmBenchError, match=f"PRLM_BENCH_THREADS={text}: not a number of threads"):
        threads.set_thread_defaults()


def test_no_number_of_threads_is_one_line_of_the_command(cli: Callable[..., Any]) -> None:
    assert cli("list", "tasks", PRLM_BENCH_THREADS="many").mistake.startswith("PRLM_BENCH_THREADS=many")


@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        ("0::/", {"cpu.max": "300000 100000"}, 3),
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "10000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/outer/inner", {"outer/cpu.max": "200000 100000", "outer/inner/cpu.max": "max 100000"}, 2),
        ("0::/not/mounted/here", {"cpu.max": "400000 100000"}, 4),
        ("4:cpu,cpuacct:/a", {"cpu,cpuacct/a/cpu.cfs_quota_us": "250000",
                              "cpu,cpuacct/a/cpu.cfs_period_us": "100000"}, 3),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("1:memory:/", {"memory/cpu.max": "100000 100000"}, 8),
    ],
)  # fmt: skip
def test_a_container_may_limit_the_time(group: str, files: dict[str, str], cores: int, tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text(f"{group}\n")
    for name, content in files.items():
        file = tmp_path / "mounted" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
    assert threads.core_count() == cores


def test_a_process_bound_to_some_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 7}, raising=False)
    assert (threads.core_count(), threads.thread_count(), threads.thread_count(2)) == (2, 2, 1)


def environment_of_worker(_: int) -> dict[str, str]:
    return chosen()


def nothing() -> None:
    pass


def values_of_workers(jobs: int) -> Iterable[dict[str, str]]:
    return list(ProcessEngine(jobs).map(environment_of_worker, range(2), nothing))


def test_workers_share_the_cores_and_the_parent_keeps_its_own() -> None:
    threads.set_thread_defaults()
    before = chosen()
    expected = {"OMP_NUM_THREADS": "2", "RAYON_NUM_THREADS": "2", **WAITING}
    assert all(found == expected for found in values_of_workers(4))
    assert chosen() == before
    threads.set_thread_defaults()
    assert chosen() == before


def test_workers_have_the_threads_that_the_user_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert {found["OMP_NUM_THREADS"] for found in values_of_workers(2)} == {"5"}


@pytest.mark.parametrize(
    "first",
    [
        "from prlm_bench.cli import application, main\ntry: main(['list', 'tasks'])\nexcept SystemExit: pass",
        "from prlm_bench.host import PluginHost\nPluginHost()",
        "from prlm_bench_plugins._hf import import_torch\nimport_torch()",
    ],
)
def test_torch_has_them_when_it_is_loaded(first: str) -> None:
    pytest.importorskip("torch")
    script = f"""
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()):
    exec({first!r})
import torch
print(torch.get_num_threads())
"""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PRLM_BENCH_THREADS": "1", "OMP_DISPLAY_ENV": "TRUE"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "1\n"
    if "libgomp" in ended.stderr or "OMP_WAIT_POLICY" in ended.stderr:  # a runtime that shows its settings
        assert "OMP_WAIT_POLICY = 'PASSIVE'" in ended.stderr
