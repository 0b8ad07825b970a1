"""What tests of plugins share: a plugin that works, and distributions installed without pip."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from prlm_bench.errors import UnknownNameError
from prlm_bench.host import PluginHost
from prlm_bench.host._failures import Failure

#: Plugins that ship with prlm-bench.
SHIPPED = {"metrics", "baselines", "bm25"}

WORKS = """
from prlm_bench import Ranking, hookimpl

class Nothing:
    \"\"\"Finds nothing.\"\"\"

    def fingerprint(self):
        return ""

    def rank(self, examples, k=None):
        return [Ranking()] * len(examples)

@hookimpl
def prlm_bench_register_retrievers(register):
    register("zz-works", Nothing)
"""
#: Adds a hook; the line of its body is marked.
HOOK = "\n@hookimpl\ndef prlm_bench_register_{0}(register):\n    {1}  #!\n"
_numbers = itertools.count()


class Site:
    """A folder on Python's path that distributions are installed in, without pip."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def on_path(cls, parent: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
        """A new one, for this process and for those that it starts."""
        folder = parent / "site"
        folder.mkdir()
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))
        return cls(folder)

    def add(self, source: str, dist: str = "zz-dist", plugin: str = "zz-plugin", points: str | None = None) -> Path:
        """Install a distribution of one module with one entry point."""
        module = f"zz_module_{next(_numbers)}"
        file = self.folder / f"{module}.py"
        file.write_text(source, encoding="utf-8")
        info = self.folder / f"{dist.replace('-', '_')}-1.2.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.2\n")
        before = (info / "entry_points.txt").read_text() if (info / "entry_points.txt").exists() else "[prlm_bench]\n"
        (info / "entry_points.txt").write_text(before + (points or f"{plugin} = {module}") + "\n")
        (info / "RECORD").write_text(f"{file.name},,\n{info.name}/METADATA,,\n{info.name}/entry_points.txt,,\n")
        return file


def the_failure(host: PluginHost) -> Failure:
    """The one failure, all other plugins being well and nothing of this one being there."""
    (failure,) = host.failures
    assert {plugin.origin.plugin for plugin in host.plugins} >= SHIPPED
    assert host.registry.get("retriever", "bm25").origin.plugin == "bm25"
    with pytest.raises(UnknownNameError) as caught:
        host.registry.get("retriever", "zz-works")
    assert f"plugin {failure.origin} failed to load: {failure.error}" in str(caught.value)
    assert "\n" not in failure.error + failure.hint
    return failure
