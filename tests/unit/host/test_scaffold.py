"""`prlm-bench new-plugin`: what it writes, and that it works as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import PluginHost, write_plugin
from prlm_bench.testing import RetrieverContract

Cli = Callable[..., Any]


def test_the_files(tmp_path: Path) -> None:
    folder = write_plugin("longest-first", tmp_path)
    assert folder == tmp_path / "prlm-bench-longest-first"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "README.md",
        "prlm_bench_longest_first.py",
        "pyproject.toml",
        "tests/test_prlm_bench_longest_first.py",
    ]
    for path in folder.rglob("*.*"):
        text = path.read_text(encoding="utf-8")
        assert "longest-first" in text
        assert "__NAME__" not in text and "__MODULE__" not in text and "__CLASS__" not in text
        assert text.endswith("\n")


@pytest.mark.parametrize(
    "name", ["", "Big", "1st", "a_b", "a b", "a.b", "a/b", "../a", "a--b", "-a", "a-", "größe", "a" * 31, "a\n"]
)
def test_names_that_cannot_be_a_plugin(tmp_path: Path, name: str) -> None:
    with pytest.raises(PrlmBenchError, match="invalid plugin name"):
        write_plugin(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "prlm-bench-mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(PrlmBenchError, match=r"prlm-bench-mine exists already \(choose another name or --output\)"):
        write_plugin("mine", tmp_path)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_the_command(here: Cli, tmp_path: Path) -> None:
    ended = here("new-plugin", "mine", "--output", "deep/er")
    assert ended.status == 0
    assert ended.stdout.splitlines()[0] == "wrote deep/er/prlm-bench-mine"
    assert "pip install -e 'deep/er/prlm-bench-mine[test]'" in ended.stdout
    assert (tmp_path / "deep/er/prlm-bench-mine/pyproject.toml").is_file()
    assert "exists already" in here("new-plugin", "mine", "-o", "deep/er").mistake
    assert "invalid plugin name 'Mine'" in here("new-plugin", "Mine").mistake


@pytest.mark.parametrize("name", ["longest-first", "none", "example", "bm25", "a" * 30])
def test_any_name_makes_clean_code(tmp_path: Path, name: str) -> None:
    folder = write_plugin(name, tmp_path)
    ruff = [sys.executable, "-m", "ruff"]
    for words in (["check", "--select", "E,W,F,I,B,UP,SIM,ANN,D100,D101,D102,D103"], ["format", "--check"]):
        ended = subprocess.run([*ruff, *words, "--no-cache", str(folder)], capture_output=True, text=True)
        if "No module named ruff" in ended.stderr:
            pytest.skip("needs ruff")
        assert ended.returncode == 0, ended.stdout
    (module,) = folder.glob("*.py")
    host = PluginHost([str(module)])
    assert host.failures == []
    assert host.registry.get("retriever", f"{module.stem}/{name}").summary.startswith(
        "Ranks the user's longest items first"
    )


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plugin("longest-first", tmp_path_factory.mktemp("generated"))


class TestContract(RetrieverContract):
    """The generated module as a local plugin."""

    spec = "longest-first:field=text"

    @pytest.fixture(autouse=True)
    def _local(self, generated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "plugins", [str(generated / "prlm_bench_longest_first.py")])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["longest-first", "bm25"])
def test_it_installs_and_passes_its_own_tests(tmp_path: Path, name: str) -> None:
    project = write_plugin(name, tmp_path)
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(project)], check=True, timeout=120)
    environment = {**os.environ, "PYTHONPATH": str(target)}

    def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *words]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)

    # The module beside the tests is out of the way, so that the installed one is tested.
    (project / f"prlm_bench_{name.replace('-', '_')}.py").unlink()
    tested = run("pytest", "-q", "-W", "error", cwd=project)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    listed = run("prlm_bench", "list", "retrievers", cwd=tmp_path)
    assert listed.returncode == 0 and listed.stderr == ""
    rows = [line.split() for line in listed.stdout.splitlines()]
    assert any(row[:1] == [name] and row[-1] == f"prlm-bench-{name}" for row in rows), listed.stdout
    without = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=project, env={**os.environ, "PYTHONPATH": ""}, capture_output=True
    )
    assert without.returncode != 0, "its tests must notice that it is not installed"
