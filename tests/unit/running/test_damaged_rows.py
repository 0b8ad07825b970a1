"""A finished row is what its summary says, or it costs a warning, is shown nowhere, and is made again."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from support.one_row import (
    Change,
    Command,
    Model,
    a_model,
    a_task,
    files,
    flipped,
    messages,
    prepared,
    run,
)

import prlm_bench as pb
from prlm_bench.data.store import _hashes
from prlm_bench.errors import DataError
from prlm_bench.host import PluginHost
from prlm_bench.results import find_results, is_finished, load_folders, read_manifest, verify
from prlm_bench.running import (
    PreparedTask,
)

__all__ = ["a_model", "a_task"]


ROW_DAMAGES: dict[str, tuple[str, Change]] = {
    "samples cut at a line": ("samples.jsonl", lambda content: content[: content.rindex(b"\n", 0, -1) + 1]),
    "samples cut in a character": ("samples.jsonl", lambda content: content[: content.rindex(b"\xe6") + 1]),
    "samples emptied": ("samples.jsonl", lambda content: b""),
    "samples edited": ("samples.jsonl", lambda content: content.replace(b"\xc3\xa9", b"\xc3\xa8", 1)),
    "samples with CRLF": ("samples.jsonl", lambda content: content.replace(b"\n", b"\r\n")),
    "samples doubled": ("samples.jsonl", lambda content: content + content),
    "figure edited": ("summary.json", lambda content: content.replace(b'"value": 0.', b'"value": 0.9', 1)),
    "summary emptied": ("summary.json", lambda content: b""),
    "summary is garbage": ("summary.json", lambda content: b"\xff" * 40),
    "a number beyond 64 bits": ("summary.json", lambda content: content.replace(b'"n": 12', b'"n": 1e30', 1)),
    "manifest edited": ("manifest.json", lambda content: content.replace(b'"k": 4', b'"k": 5')),
    "manifest emptied": ("manifest.json", lambda content: b""),
    "manifest is garbage": ("manifest.json", lambda content: b"{" * 100_000),
}


class TestFinishedRows:
    """A finished row is what its summary says, or it is shown nowhere and made again."""

    @pytest.mark.parametrize("damage", ROW_DAMAGES)
    def test_it_is_shown_nowhere_and_made_again(
        self,
        host: PluginHost,
        model: Model,
        task: PreparedTask,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        here: Command,
        damage: str,
    ) -> None:
        results = tmp_path / "results"
        folder, other = run(host, task, results), run(host, prepared(host, k=[1]), results)
        unbroken, model.asked = files(folder), []
        name, change = ROW_DAMAGES[damage]
        (folder / name).write_bytes(change(unbroken[name]))
        assert (folder / name).read_bytes() != unbroken[name]
        assert [stored.folder for stored in find_results(results)[0]] == [other]
        assert len(messages(caplog)) == 1
        assert messages(caplog)[0].startswith(f"prlm-bench: warning: {folder}")
        assert messages(caplog)[0].endswith("(the row is damaged; repeat its run to make it again)")
        with pytest.raises(DataError, match=str(folder)):
            load_folders([folder])
        assert [row.folder for row in pb.load_results(results)] == [other]
        for words in (("leaderboard",), ("results", "list"), ("site", "-o", "page"), ("results", "findings")):
            ended = here(*words, "--results", results)
            assert ended.status == 0, ended.stderr
        assert verify(folder, host) != []
        assert verify(other, host) == []
        caplog.clear()
        assert files(run(host, task, results)) == unbroken
        asked = 0 if name == "manifest.json" else 12
        assert len(model.asked) == asked, "the manifest alone is written again"
        assert len(messages(caplog)) == (1 if asked else 0)
        assert verify(folder, host) == []

    def test_verify_finds_every_flipped_bit_of_the_samples(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = run(host, task, tmp_path)
        content, rng = (folder / "samples.jsonl").read_bytes(), random.Random(40)
        for place in rng.sample(range(8 * len(content)), 100):
            (folder / "samples.jsonl").write_bytes(flipped(content, place))
            assert verify(folder, host) != [], place
            assert find_results(tmp_path)[0] == [], place

    @pytest.mark.parametrize("name", ["manifest.json", "summary.json"])
    def test_no_flipped_bit_of_a_small_file_shows_another_figure(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path, name: str
    ) -> None:
        folder = run(host, task, tmp_path)
        (whole,), _ = find_results(tmp_path)
        content, rng = (folder / name).read_bytes(), random.Random(41)
        for place in rng.sample(range(8 * len(content)), 200):
            (folder / name).write_bytes(flipped(content, place))
            for stored in find_results(tmp_path)[0]:  # a changed command, or white space
                assert stored.summary == whole.summary, place
                assert stored.manifest.model_copy(update={"command": whole.manifest.command}) == whole.manifest, place

    def test_a_file_that_looks_unchanged_is_read_again(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_hashes, "SETTLED", -1.0)
        folder = run(host, task, tmp_path)
        path, manifest = folder / "samples.jsonl", read_manifest(folder)
        assert is_finished(folder, manifest)
        status, content = path.stat(), path.read_bytes()
        path.write_bytes(content.replace(b"\xc3\xa9", b"\xc3\xa8", 1))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert not is_finished(folder, manifest)
        path.write_bytes(content)
        assert is_finished(folder, manifest)

    def test_samples_are_hashed_once(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_hashes, "SETTLED", -1.0)
        read: list[int] = []
        plain = _hashes.HashingReader.read
        monkeypatch.setattr(_hashes.HashingReader, "read", lambda self, n: read.append(n) or plain(self, n))
        run(host, task, tmp_path)
        find_results(tmp_path)
        read.clear()
        assert len(find_results(tmp_path)[0]) == 1
        run(host, task, tmp_path)
        assert read == []

    def test_a_damaged_note_of_a_hash_does_not_damn_a_row(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_hashes, "SETTLED", -1.0)
        monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path / "cache"))
        run(host, task, tmp_path / "results")
        find_results(tmp_path / "results")
        notes = list((tmp_path / "cache" / "hashes").iterdir())
        assert notes
        for note in notes:
            content = json.loads(note.read_text())
            note.write_text(json.dumps({**content, "sha256": "0" * 64}))
        assert len(find_results(tmp_path / "results")[0]) == 1

    def test_a_published_row_without_samples_is_shown(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = run(host, task, tmp_path)
        (folder / "samples.jsonl").unlink()
        assert [stored.folder for stored in find_results(tmp_path)[0]] == [folder]
        assert not is_finished(folder, task.manifests[0])
        assert messages(caplog) == []

    def test_an_earlier_summary_without_a_digest_is_shown(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = run(host, task, tmp_path)
        content = json.loads((folder / "summary.json").read_bytes())
        del content["digest"], content["reward_failures"]
        (folder / "summary.json").write_text(json.dumps(content))
        assert [stored.folder for stored in find_results(tmp_path)[0]] == [folder]
        assert (verify(folder, host), messages(caplog)) == ([], [])


class TestFolders:
    """Rows are found wherever they are, once."""

    def test_rows_below_a_link_are_found_and_loops_end(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path, here: Command
    ) -> None:
        results, elsewhere = tmp_path / "results", tmp_path / "elsewhere"
        elsewhere.mkdir()
        results.mkdir()
        (results / "mini_lamp_4").symlink_to(elsewhere)
        folder = run(host, task, results)
        assert elsewhere in folder.resolve().parents
        (results / "loop").symlink_to(results)
        (elsewhere / "back").symlink_to(results)
        (results / "nowhere").symlink_to(tmp_path / "missing")
        (results / "itself").symlink_to(results / "itself")
        assert [stored.folder for stored in find_results(results)[0]] == [folder]
        shown = here("results", "verify", results, "--json")
        assert (shown.status, list(json.loads(shown.stdout))) == (0, [str(folder)])

    def test_samples_and_summary_without_a_manifest_are_named(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = run(host, task, tmp_path)
        (folder / "manifest.json").unlink()
        assert find_results(tmp_path) == ([], [])
        (message,) = messages(caplog)
        assert message.startswith(
            f"prlm-bench: warning: {folder / 'manifest.json'}: cannot be read: No such file or directory"
        )
