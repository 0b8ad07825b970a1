"""A line of a journal is taken as it was written, or its question is asked again."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.one_row import (
    WHOLE,
    Change,
    Model,
    a_model,
    a_task,
    begun,
    files,
    flipped,
    messages,
    prepared,
    run,
)

from prlm_bench.errors import RunError
from prlm_bench.host import PluginHost
from prlm_bench.results import is_finished
from prlm_bench.running import (
    PreparedTask,
    preview,
)

__all__ = ["a_model", "a_task"]


LINE_DAMAGES: dict[str, Change] = {
    "an extra field": lambda line: line.replace(b'"query"', b'"mood":1,"query"'),
    "a missing field": lambda line: line.replace(b'"finish":"stop",', b""),
    "a wrong type": lambda line: line.replace(b'"shown":4', b'"shown":"4"'),
    "another answer": lambda line: line.replace(b'"answer":"', b'"answer":"better '),
    "cut at a byte of a character": lambda line: line[: line.index(b"\xe6") + 1],
    "two lines in one": lambda line: line[:-1],
    "another row": lambda line: line.replace(b'"row":"', b'"row":"0'),
    "no object": lambda line: b"[1, 2]\n",
    "another encoding": lambda line: line[:-1].decode().encode("utf-16") + b"\n",
    "zeros": lambda line: b"\x00" * len(line) + b"\n",
}

#: What a line without a checksum, as an earlier release wrote it, cannot show.
SEALED_ONLY = ("another answer", "another row")


class TestJournal:
    """A line is taken as it was written, or its question is asked again."""

    @pytest.mark.parametrize("flips", [40, pytest.param(160, marks=pytest.mark.slow)])
    def test_no_flipped_bit_changes_a_byte(
        self,
        host: PluginHost,
        model: Model,
        task: PreparedTask,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        flips: int,
    ) -> None:
        unbroken = files(run(host, task, tmp_path / "unbroken"))
        path = begun(host, model, task, tmp_path / "results")
        content, rng = path.read_bytes(), random.Random(flips)
        for place in rng.sample(range(8 * len(content)), flips):
            shutil.rmtree(path.parent)
            path.parent.mkdir()
            path.write_bytes(flipped(content, place))
            caplog.clear()
            model.asked = []
            assert files(run(host, task, tmp_path / "results")) == unbroken, place
            assert 2 <= len(model.asked) <= 3, "what is intact is not asked again"
            torn = place // 8 == len(content) - 1
            assert len(messages(caplog)) == (0 if torn else 1), place

    @pytest.mark.parametrize(
        ("damage", "sealed"),
        [
            (damage, sealed)
            for damage in LINE_DAMAGES
            for sealed in (True, False)
            if sealed or damage not in SEALED_ONLY
        ],
    )
    def test_a_damaged_line_is_asked_again_with_one_warning(
        self,
        host: PluginHost,
        model: Model,
        task: PreparedTask,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        damage: str,
        sealed: bool,
    ) -> None:
        unbroken = files(run(host, task, tmp_path / "unbroken"))
        path = begun(host, model, task, tmp_path / "results")
        lines = path.read_bytes().splitlines(keepends=True)
        if not sealed:
            lines = [line[: line.index(b',"row":"')] + b"}\n" for line in lines]
        for number in (2, 7):
            lines[number] = LINE_DAMAGES[damage](lines[number])
        path.write_bytes(b"".join(lines))
        assert files(run(host, task, tmp_path / "results")) == unbroken
        joined = damage.startswith(("two", "cut"))
        assert len(model.asked) == (5 if joined else 3)
        said = f"prlm-bench: warning: {path}: 2 lines are damaged or foreign; the questions are asked again"
        assert messages(caplog) == [said]

    @pytest.mark.parametrize(
        "change",
        [
            lambda content: content.replace(b"\n", b"\r\n"),
            lambda content: b"\xef\xbb\xbf" + content,
            lambda content: content + content,
            lambda content: b"".join(content.splitlines(keepends=True)[::-1]),
            lambda content: content.replace(b"\n", b"\n\n"),
            lambda content: b"".join(line[: line.index(b',"row":"')] + b"}\n" for line in content.splitlines()),
        ],
        ids=["CRLF", "byte order mark", "doubled", "reversed", "blank lines", "of an earlier release"],
    )
    def test_what_keeps_every_line_whole_costs_no_question(
        self,
        host: PluginHost,
        model: Model,
        task: PreparedTask,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        change: Change,
    ) -> None:
        unbroken = files(run(host, task, tmp_path / "unbroken"))
        path = begun(host, model, task, tmp_path / "results")
        path.write_bytes(change(path.read_bytes()))
        assert preview(task, tmp_path / "results")[0]["done"] == 11
        assert files(run(host, task, tmp_path / "results")) == unbroken
        assert (model.asked, messages(caplog)) == (task.ids[-1:], [])

    def test_lines_of_another_row_are_no_answers(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        unbroken = files(run(host, task, tmp_path / "unbroken"))
        other = begun(host, model, prepared(host, k=[1]), tmp_path / "results")
        path = begun(host, model, task, tmp_path / "results")
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(other.read_bytes() + b"".join(lines[:5]))
        assert preview(task, tmp_path / "results")[0]["done"] == 5
        assert files(run(host, task, tmp_path / "results")) == unbroken
        assert len(model.asked) == 7
        assert "11 lines are damaged or foreign" in caplog.text

    def test_a_change_during_the_run_is_one_line_and_loses_nothing_else(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path
    ) -> None:
        unbroken = files(run(host, task, tmp_path / "unbroken"))
        path = task.folder(tmp_path / "results", 0) / "journal.jsonl"

        def cut(count: int) -> None:
            if count == 8:
                os.truncate(path, path.stat().st_size // 2)

        model.before, model.asked = cut, []
        with pytest.raises(RunError, match=r"journal\.jsonl: another program changed it during the run"):
            run(host, task, tmp_path / "results")
        assert files(run(host, task, tmp_path / "results")) == unbroken
        assert len(model.asked) < 20

    def test_the_target_of_a_link_is_not_touched(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path
    ) -> None:
        path = begun(host, model, task, tmp_path / "results")
        target = path.rename(tmp_path / "precious")
        with target.open("ab") as file:
            file.write(b"half a line")
        before = target.read_bytes()
        path.symlink_to(target)
        with pytest.raises(RunError, match=r"journal\.jsonl is not a regular file \(remove it"):
            run(host, task, tmp_path / "results")
        assert target.read_bytes() == before
        assert sorted(each.name for each in path.parent.iterdir()) == ["journal.jsonl", "manifest.json"]


class TestInMidRun:
    """Another program may take away what a run has written."""

    @pytest.mark.parametrize(
        "remove",
        [
            lambda folder: (folder / "manifest.json").unlink(),
            lambda folder: (folder / "manifest.json").rename(folder / "manifest.old"),
            lambda folder: (folder / "manifest.json").write_bytes(b""),
            lambda folder: shutil.rmtree(folder),
            lambda folder: folder.rename(folder.with_name("elsewhere")),
        ],
        ids=["manifest removed", "manifest renamed", "manifest emptied", "folder removed", "folder renamed"],
    )
    def test_the_row_is_finished_all_the_same(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path, remove: Callable[[Path], Any]
    ) -> None:
        unbroken, model.asked = files(run(host, task, tmp_path / "unbroken")), []
        folder = task.folder(tmp_path / "results", 0)
        model.before = lambda count: remove(folder) if count == 6 else None
        assert run(host, task, tmp_path / "results") == folder
        found = {name: content for name, content in files(folder).items() if name in WHOLE}
        assert found == unbroken
        assert is_finished(folder, task.manifests[0])
        model.before = lambda count: None
        run(host, task, tmp_path / "results")
        assert len(model.asked) == 12

    def test_a_full_disk_at_the_end_names_the_file(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        unbroken = files(run(host, task, tmp_path / "unbroken"))
        begun(host, model, task, tmp_path / "results")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as caught:
            run(host, task, tmp_path / "results")
        assert Path(caught.value.filename).parent == task.folder(tmp_path / "results", 0)
        monkeypatch.undo()
        assert files(run(host, task, tmp_path / "results")) == unbroken
