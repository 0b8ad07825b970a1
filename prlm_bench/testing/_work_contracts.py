"""Contracts of what makes artefacts and data: trainers and importers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ..data import open_split
from ..errors import PrlmBenchError
from ..host import PluginHost
from ..progress import Silent
from ._contracts import Contract


class _Interrupts(Silent):
    """Progress that stops the work at its first update."""

    def __init__(self) -> None:
        self.stopped = False

    def advance(self, count: int = 1) -> None:
        """Interrupt."""
        self.stopped = True
        raise KeyboardInterrupt


class TrainerContract(Contract):
    """A trainer writes an artefact, resumes, and says in JSON what it made.

    Give `spec` the options of a training that takes seconds.
    """

    kind = "trainer"
    split: ClassVar[str] = "train"
    #: Keys of the manifest that may differ between trainings, such as `seconds`.
    varies: ClassVar[frozenset[str]] = frozenset()

    def test_writes_an_artefact_and_its_manifest(self, component: Any, tmp_path: Path) -> None:
        """The manifest is JSON, and the folder is there; the same command again finds it finished."""
        output = tmp_path / "artefact"
        manifest = _plain(component.train(output, Silent()))
        assert output.is_dir()
        before = _files(output)
        assert self._same(component.train(output, Silent())) == self._same(manifest)
        assert _files(output) == before, "a finished artefact is not made again"

    def test_what_was_interrupted_is_resumed(self, component: Any, tmp_path: Path) -> None:
        """After an interruption the same command gives the manifest of one that was not interrupted."""
        stops = _Interrupts()
        with suppress(KeyboardInterrupt):
            component.train(tmp_path / "artefact", stops)
        if not stops.stopped:
            pytest.skip("it reports no progress, so nothing can stop it on its way")
        resumed = self._same(component.train(tmp_path / "artefact", Silent()))
        whole = self._same(component.train(tmp_path / "whole", Silent()))
        moved = json.loads(json.dumps(whole).replace(str(tmp_path / "whole"), str(tmp_path / "artefact")))
        assert resumed == moved

    def test_its_methods_can_be_run(self, component: Any, tmp_path: Path) -> None:
        """Each of `methods` names a retriever, a reasoner and a generator that are registered."""
        host = PluginHost(self.plugins)
        for label, method in component.train(tmp_path / "artefact", Silent()).get("methods", {}).items():
            assert isinstance(label, str) and set(method) <= {"retriever", "k", "reasoner", "generator"}
            for kind in set(method) - {"k"}:
                host.registry.choose(kind, method[kind])

    def _same(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in _plain(manifest).items() if name not in self.varies}


class ImporterContract(Contract):
    """An importer knows the files of its family, and writes them in LaMP's layout.

    Subclasses override the fixture `folder` with a few files of the family, and set `task` to a task that takes them.
    """

    kind = "importer"
    #: The split that the files are.
    split: ClassVar[str] = "dev"

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A folder with a few files of the family."""
        raise NotImplementedError("override the fixture `folder`: a folder with a few files of the family")

    def test_recognizes_its_own_files_alone(self, component: Any, folder: Path, tmp_path: Path) -> None:
        """Without changing anything."""
        empty, other = tmp_path / "empty", tmp_path / "other"
        for made in (empty, other):
            made.mkdir()
        (other / "notes.txt").write_text("no data\n", encoding="utf-8")
        before = _files(folder)
        assert component.recognizes(folder) is True
        assert component.recognizes(empty) is False
        assert component.recognizes(other) is False
        assert _files(folder) == before

    def test_writes_what_the_task_opens(self, component: Any, folder: Path, tmp_path: Path) -> None:
        """The same bytes each time, and questions that can be read."""
        before = _files(folder)
        for name in ("one", "two"):
            component.convert(folder, tmp_path / name, Silent())
        assert _files(folder) == before, "its files are not changed"
        assert _files(tmp_path / "one") == _files(tmp_path / "two")
        task = PluginHost(self.plugins).tasks.get(self.task)
        assert len(open_split(task, self.split, tmp_path / "one", any_task=True)) > 0

    def test_damaged_files_are_an_error_or_left_out(self, component: Any, folder: Path, tmp_path: Path) -> None:
        """Each file cut in half: an error of one line, or files that are whole; never a part of one."""
        for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])
            output = tmp_path / f"cut-{number}"
            try:
                component.convert(folder, output, Silent())
            except PrlmBenchError as error:
                assert "\n" not in str(error)
            for written in output.rglob("*.json") if output.exists() else ():
                json.loads(written.read_bytes())
            path.write_bytes(content)


def _plain(manifest: Any) -> dict[str, Any]:
    """A manifest as JSON reads it again."""
    assert isinstance(manifest, Mapping)
    plain: dict[str, Any] = json.loads(json.dumps(dict(manifest), allow_nan=False))
    return plain


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
