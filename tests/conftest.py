"""What the tests share: a cache of their own, the command line, and real data where it is there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.paths import REAL_DATA
from support.real_models import smollm2

from prlm_bench.cli import _app
from prlm_bench.host import PluginHost

__all__ = ["smollm2"]


@pytest.fixture(scope="session", autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for the session, so that mini-LaMP is made once; none of the user's settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRLM_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("COLUMNS", "200")
        for name in ("PRLM_BENCH_DATA", "PRLM_BENCH_RESULTS", "PRLM_BENCH_LOAD_PLUGINS"):
            patch.delenv(name, raising=False)
        yield


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def mistake(self) -> str:
        """The one line that a mistake of the user gets."""
        assert self.status == 2, self
        assert self.stdout == "", self
        assert self.stderr.count("\n") == 1, self
        line = self.stderr.rstrip("\n")
        assert line.startswith("prlm-bench: "), line
        return line.removeprefix("prlm-bench: ")


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., Finished]:
    """The real command line, as a process of its own that starts in `tmp_path`."""

    def run(*words: object, timeout: float = 120, **environment: str) -> Finished:
        command = [sys.executable, "-m", "prlm_bench", *map(str, words)]
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, cwd=tmp_path, env={**os.environ, **environment}
        )
        return Finished(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[..., Finished]:
    """The command line in this process, which is faster; it starts in `tmp_path` too."""
    monkeypatch.chdir(tmp_path)
    _app._add_commands()
    # Commands of plugins are added to this list, and must not stay for the next test.
    monkeypatch.setattr(_app.app, "registered_groups", [*_app.app.registered_groups])

    def run(*words: object) -> Finished:
        capsys.readouterr()
        status = _app._run([str(word) for word in words])
        return Finished(status, *capsys.readouterr())

    return run


@pytest.fixture
def host() -> PluginHost:
    """The plugins of this installation; a test may add to its registry."""
    return PluginHost()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Files in LaMP's layout that lie beside the repository."""
    folder = REAL_DATA
    if not folder.is_dir():
        pytest.skip("needs the LaMP files in ../shared/data, which a clone does not have")
    return folder
