"""`prlm-bench new-plugin`: what it writes, and that it works as it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

import prlm_bench
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import PluginHost, write_plugin
from prlm_bench.host._scaffold import PLUGIN_KINDS
from prlm_bench.testing import ReasonerContract, RetrieverContract

Cli = Callable[..., Any]
ROOT = Path(prlm_bench.__file__).resolve().parent.parent
RULES = "E,W,F,I,B,UP,SIM,ANN,D100,D101,D102,D103"


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_the_files(tmp_path: Path, kind: str) -> None:
    folder = write_plugin("longest-first", tmp_path, kind)
    assert folder == tmp_path / "prlm-bench-longest-first"
    package = "prlm_bench_longest_first"
    tasks = {"task": [f"{package}/longest_first.yaml"], "metric": [f"{package}/longest_first_headlines.yaml"]}
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "README.md",
        f"{package}/__init__.py",
        *tasks.get(kind, []),
        f"{package}/py.typed",
        "pyproject.toml",
        f"tests/test_{package}.py",
    ]
    for path in folder.rglob("*.*"):
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        assert not re.search("__[A-Z]+__", text), path
        assert text.endswith("\n") or not text
    assert kind in (folder / "README.md").read_text()


def test_an_unknown_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(PrlmBenchError, match=r"unknown kind of plugin 'retreiver' \(did you mean retriever"):
        write_plugin("mine", tmp_path, "retreiver")
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
@pytest.mark.parametrize("name", ["longest-first", "none", "example", "bm25", "a" * 30])
def test_any_name_makes_code_that_loads(tmp_path: Path, name: str, kind: str) -> None:
    folder = write_plugin(name, tmp_path, kind)
    (module,) = folder.glob("*/__init__.py")
    host = PluginHost([str(module)])
    assert host.failures == []
    if kind == "task":
        assert host.tasks.get(name.replace("-", "_")).title == f"Headlines of {name}"
        return
    registered = f"{name}@own" if kind == "metric" else name
    component = host.registry.get(kind, f"__init__/{registered}")
    assert (
        component.summary.endswith(("replace this with your own method.", ".")) and "replace this" in component.summary
    )


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project of each kind."""
    folder = tmp_path_factory.mktemp("generated")
    return {kind: write_plugin(f"my-{kind}", folder, kind) for kind in PLUGIN_KINDS}


@pytest.mark.parametrize("words", [("check", "--select", RULES), ("format", "--check")], ids=["check", "format"])
def test_it_is_clean(generated: dict[str, Path], words: tuple[str, ...]) -> None:
    ruff = [sys.executable, "-m", "ruff", *words, "--no-cache", "--line-length", "120"]
    for project in generated.values():  # each by its own pyproject.toml
        ended = subprocess.run([*ruff, "."], capture_output=True, text=True, cwd=project)
        if "No module named ruff" in ended.stderr:
            pytest.skip("needs ruff")
        assert ended.returncode == 0, ended.stdout


class TestRetrieverContract(RetrieverContract):
    """The generated module as a local plugin."""

    spec = "my-retriever:field=text"

    @pytest.fixture(autouse=True)
    def _local(self, generated: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        module = generated["retriever"] / "prlm_bench_my_retriever" / "__init__.py"
        monkeypatch.setattr(type(self), "plugins", [str(module)])


class TestReasonerContract(ReasonerContract):
    """The same, of a reasoner that drafts."""

    spec = "my-reasoner"

    @pytest.fixture(autouse=True)
    def _local(self, generated: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        module = generated["reasoner"] / "prlm_bench_my_reasoner" / "__init__.py"
        monkeypatch.setattr(type(self), "plugins", [str(module)])


BUILDS = """
from prlm_bench.interfaces import Context, Generator, Importer, Judge, Reasoner, Retriever, Reward, Trainer
from prlm_bench.metrics import Metric


def retriever(context: Context) -> Retriever:
    return context.build("retriever", "bm25")


def reasoner(context: Context) -> Reasoner:
    return context.build("reasoner", "direct")


def generator(context: Context) -> Generator:
    return context.build("generator", {"name": "copy"})


def reward(context: Context) -> Reward:
    return context.build("reward", "format")


def judge(context: Context) -> Judge:
    return context.build("judge", "mine")


def metric(context: Context) -> Metric:
    return context.build("metric", "rouge1@lamp")


def trainer(context: Context) -> Trainer:
    return context.build("trainer", "mine")


def importer(context: Context) -> Importer:
    return context.build("importer", "mine")
"""


@pytest.mark.slow
def test_mypy_is_satisfied_with_each(generated: dict[str, Path], tmp_path: Path) -> None:
    """Strictly, with every kind that `context.build` makes."""
    (tmp_path / "builds.py").write_text(BUILDS)
    files = [str(next(project.glob("prlm_bench_*"))) for project in generated.values()]
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "builds.py", *files]
    sources = f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "MYPYPATH": sources}, timeout=600
    )
    if "No module named mypy" in ended.stderr:
        pytest.skip("needs mypy")
    assert ended.returncode == 0, ended.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory, generated: dict[str, Path]) -> Path:
    """The wheels of all projects."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "-w", str(folder), *map(str, generated.values())], check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Path:
    """The Python of a fresh environment with these wheels in it, and what this one has besides."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=300)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, *map(str, wheels.glob("*.whl"))], check=True, timeout=300)
    (packages,) = folder.glob("lib/python*/site-packages")
    more = [str(ROOT), str(ROOT / "plugins"), *(path for path in sys.path if path.endswith("-packages"))]
    lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in more)
    (packages / "other-packages.pth").write_text(lines)
    return python


@pytest.mark.slow
def test_a_wheel_has_all_files_of_its_package(generated: dict[str, Path], wheels: Path) -> None:
    for kind, project in generated.items():
        (wheel,) = wheels.glob(f"prlm_bench_my_{kind}-*.whl")
        held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
        package = project / f"prlm_bench_my_{kind}"
        assert held == {f"{package.name}/{path.name}" for path in package.iterdir() if path.is_file()}


@pytest.mark.slow
def test_what_is_installed_from_wheels_passes_its_tests(
    generated: dict[str, Path], fresh: Path, tmp_path: Path
) -> None:
    for project in generated.values():  # away from the project, so that the installed package is tested
        shutil.copytree(project / "tests", tmp_path / "tests", dirs_exist_ok=True)
    command = [str(fresh), "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "tests"]
    tested = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert len(list((tmp_path / "tests").glob("test_*.py"))) == len(PLUGIN_KINDS)
    command = [sys.executable, *command[1:], "--continue-on-collection-errors"]
    without = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    failed = set(re.findall(r"^(?:ERROR|FAILED) tests/(\w+)\.py", without.stdout, re.MULTILINE))
    assert len(failed) == len(PLUGIN_KINDS), "its tests must notice that it is not installed"


@pytest.mark.slow
def test_the_command_of_its_readme_runs(generated: dict[str, Path], fresh: Path, tmp_path: Path) -> None:
    for kind, project in generated.items():
        text = (project / "README.md").read_text()
        (line,) = re.findall(r"^prlm-bench .*$", text, re.MULTILINE)
        if kind == "reasoner":  # needs a model
            line = line.replace("--generator tiny", "--generator my-generator")
        users = ["--synth-users", "4"] if " run " in line or " train " in line else []
        command = [str(fresh), "-m", "prlm_bench", *line.split()[1:], *users]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "warning" not in ended.stderr
