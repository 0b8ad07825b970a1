"""What was damaged on the disk is noticed, costs one warning, and is made again: no figure comes from it."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

import prlm_bench as pb
from prlm_bench import Completion, Prompt, Ranking, Sample
from prlm_bench._util import file_hashes
from prlm_bench.errors import DataError, RunError
from prlm_bench.host import Origin, PluginHost
from prlm_bench.host._registry import make_component
from prlm_bench.records import Example
from prlm_bench.results import find_results, is_finished, load_folders, read_manifest, verify
from prlm_bench.running import (
    CachedGenerator,
    GenerationCache,
    PreparedTask,
    RunConfig,
    execute,
    prepare_tasks,
    preview,
)

Change = Callable[[bytes], bytes]
Command = Callable[..., Any]
MINE = Origin("mine", "mine", "1", "mine.py")
WHOLE = ["manifest.json", "samples.jsonl", "summary.json"]


class Model:
    """Answers with the question's id; fails at one question, if told to, and calls `before` at each."""

    tokenizer = None

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails_at: str | None = None
        self.before: Callable[[int], object] = lambda count: None

    def fingerprint(self) -> str:
        return ""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for j, prompt in enumerate(prompts):
            if prompt.example.id == self.fails_at:
                raise RuntimeError("the model is gone")
            self.before(len(self.asked))
            self.asked.append(prompt.example.id)
            yield j, Completion(f"{prompt.example.id} \u00e9\u65e5 {prompt.shown}", finish="stop", tokens=4)


@pytest.fixture
def model(host: PluginHost) -> Model:
    made = Model()
    host.registry.add(make_component("generator", MINE, "model", lambda: made))
    return made


@pytest.fixture
def task(host: PluginHost, model: Model) -> PreparedTask:
    return prepared(host)


def config(**fields: Any) -> RunConfig:
    base = {"tasks": ["mini_lamp_4"], "synth_users": 4, "retrievers": ["bm25"], "generators": ["model"]}
    return RunConfig.model_validate({**base, "controls": False, **fields})


def prepared(host: PluginHost, **fields: Any) -> PreparedTask:
    (made,) = prepare_tasks(config(**fields), host)
    return made


def run(host: PluginHost, task: PreparedTask, results: Path) -> Path:
    """Run the only cell to its end."""
    task.pipeline.failed.clear()
    outcome = execute(config(), host, results, tasks=[task])
    (folder,) = [*outcome.finished, *outcome.already]
    return folder


def begun(host: PluginHost, model: Model, task: PreparedTask, results: Path) -> Path:
    """Run until the last question; the journal that is left."""
    model.fails_at = task.ids[-1]
    execute(config(), host, results, tasks=[task])
    model.fails_at, model.asked = None, []
    return task.folder(results, 0) / "journal.jsonl"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


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

    DAMAGES: dict[str, Change] = {
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

    @pytest.mark.parametrize("sealed", [True, False], ids=["with a checksum", "of an earlier release"])
    @pytest.mark.parametrize("damage", DAMAGES)
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
        if not sealed and damage in ("another answer", "another row"):
            pytest.skip("an earlier release wrote no checksums")
        unbroken = files(run(host, task, tmp_path / "unbroken"))
        path = begun(host, model, task, tmp_path / "results")
        lines = path.read_bytes().splitlines(keepends=True)
        if not sealed:
            lines = [line[: line.index(b',"row":"')] + b"}\n" for line in lines]
        for number in (2, 7):
            lines[number] = self.DAMAGES[damage](lines[number])
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


class TestFinishedRows:
    """A finished row is what its summary says, or it is shown nowhere and made again."""

    DAMAGES: dict[str, tuple[str, Change]] = {
        "samples cut at a line": ("samples.jsonl", lambda content: content[: content.rindex(b"\n", 0, -1) + 1]),
        "samples cut in a character": ("samples.jsonl", lambda content: content[: content.rindex(b"\xe6") + 1]),
        "samples emptied": ("samples.jsonl", lambda content: b""),
        "samples edited": ("samples.jsonl", lambda content: content.replace(b"\xc3\xa9", b"\xc3\xa8", 1)),
        "samples with CRLF": ("samples.jsonl", lambda content: content.replace(b"\n", b"\r\n")),
        "samples doubled": ("samples.jsonl", lambda content: content + content),
        "figure edited": ("summary.json", lambda content: content.replace(b'"value": 0.', b'"value": 0.9', 1)),
        "summary emptied": ("summary.json", lambda content: b""),
        "summary is garbage": ("summary.json", lambda content: b"\xff" * 40),
        "manifest edited": ("manifest.json", lambda content: content.replace(b'"k": 4', b'"k": 5')),
        "manifest emptied": ("manifest.json", lambda content: b""),
        "manifest is garbage": ("manifest.json", lambda content: b"{" * 100_000),
    }

    @pytest.mark.parametrize("damage", DAMAGES)
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
        name, change = self.DAMAGES[damage]
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
        monkeypatch.setattr(file_hashes, "SETTLED", -1.0)
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
        monkeypatch.setattr(file_hashes, "SETTLED", -1.0)
        read: list[int] = []
        plain = file_hashes.HashingReader.read
        monkeypatch.setattr(file_hashes.HashingReader, "read", lambda self, n: read.append(n) or plain(self, n))
        run(host, task, tmp_path)
        find_results(tmp_path)
        read.clear()
        assert len(find_results(tmp_path)[0]) == 1
        run(host, task, tmp_path)
        assert read == []

    def test_a_damaged_note_of_a_hash_does_not_damn_a_row(
        self, host: PluginHost, model: Model, task: PreparedTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(file_hashes, "SETTLED", -1.0)
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
        assert message.startswith(f"prlm-bench: warning: {folder / 'manifest.json'}: No such file or directory")


IDENTITY = {"spec": "mine", "plugin": "dist/mine", "version": "1", "source": "abc", "fingerprint": ""}


def prompt(text: str) -> Prompt:
    return Prompt(Example("q", "u", "input", "query", ()), Ranking(), text)


class Echo:
    """Repeats the prompt."""

    tokenizer = None

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for index, each in enumerate(prompts):
            yield index, Completion(f"to {each.text}: \u00e9", finish="stop", tokens=3, cost=0.5)


class TestCompletionCache:
    """A kept completion is what was kept, or it is asked again."""

    PROMPTS = tuple(prompt(str(number)) for number in range(40))

    def fill(self, root: Path) -> Path:
        cache = GenerationCache(root, IDENTITY)
        list(CachedGenerator(Echo(), cache).generate(self.PROMPTS))
        cache.close()
        return cache.path

    def test_no_flipped_bit_is_an_answer(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = self.fill(tmp_path)
        right = dict(Echo().generate(self.PROMPTS))
        content, rng = path.read_bytes(), random.Random(40)
        for place in rng.sample(range(8 * len(content)), 150):
            path.write_bytes(flipped(content, place))
            cache = GenerationCache(tmp_path, IDENTITY)
            assert {cache.get(each) for each in self.PROMPTS} <= {None, *right.values()}, place
            for _ in range(2):
                assert dict(CachedGenerator(Echo(), cache).generate(self.PROMPTS)) == right, place
            cache.close()
            for other in path.parent.iterdir():
                other.unlink()

    ROWS = (
        b'{"text":5,"is_answer":false}',
        b'{"text":null}',
        b'{"text":"x","tokens":"3"}',
        b'{"text":"x","tokens":-3}',
        b'{"text":"x","tokens":1e3}',
        b'{"text":"x","tokens":true}',
        b'{"text":"x","is_answer":1}',
        b'{"text":"x","finish":["stop"]}',
        b'{"text":"x","cost":"1"}',
        b'{"text":"x","mood":1}',
        b'{"finish":"stop"}',
        b'["x"]',
        b'"x"',
        b"null",
        b"",
        b"\xff\xfe",
        5,
    )

    @pytest.mark.parametrize("row", ROWS, ids=str)
    def test_a_row_that_is_no_completion_is_asked_again(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, row: Any
    ) -> None:
        path = self.fill(tmp_path)
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE completions SET json = ?", (row,))
        connection.close()
        cache = GenerationCache(tmp_path, IDENTITY)
        right = dict(Echo().generate(self.PROMPTS))
        assert cache.get(self.PROMPTS[0]) is None
        assert dict(CachedGenerator(Echo(), cache).generate(self.PROMPTS)) == right
        assert cache.get(self.PROMPTS[0]) == right[0], "it is kept anew"
        assert messages(caplog) == [f"prlm-bench: warning: damaged completions in {path} are asked again"]

    def test_a_row_of_an_earlier_release_is_an_answer(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = self.fill(tmp_path)
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE completions SET json = ?", ('{"text":"kept","is_answer":false,"tokens":3}',))
        connection.close()
        assert GenerationCache(tmp_path, IDENTITY).get(self.PROMPTS[0]) == Completion("kept", tokens=3)
        assert messages(caplog) == []

    def test_the_answer_to_another_prompt_is_none(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = self.fill(tmp_path)
        with sqlite3.connect(path) as connection:
            (row,) = connection.execute("SELECT json FROM completions LIMIT 1").fetchone()
            connection.execute("UPDATE completions SET json = ?", (row,))
        connection.close()
        cache = GenerationCache(tmp_path, IDENTITY)
        assert sum(cache.get(each) is not None for each in self.PROMPTS) == 1


class Judge:
    """A reward that behaves as `mode` says."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.calls: list[int] = []

    def fingerprint(self) -> str:
        return ""

    def score(self, samples: Sequence[Sample]) -> Any:
        self.calls.append(len(samples))
        values: list[Any] = [float(len(sample.answer.text)) for sample in samples]
        shown = [sample.prompt.shown for sample in samples]
        match self.mode:
            case "raises":
                raise ValueError("no\njudge")
            case "raises for k=1":
                if 1 in shown:
                    raise ValueError("too little")
            case "few for k=1":
                return values[:-1] if 1 in shown else values
            case "more":
                return [*values, 9.0]
            case "number":
                return 1.0
            case "mapping":
                return {str(j): value for j, value in enumerate(values)}
            case "text":
                return list(map(str, values))
            case "some":
                values[0], values[1], values[2] = None, float("nan"), float("inf")
            case "none":
                return [None] * len(samples)
            case "generator":
                return (value for value in values)
        return values


class TestRewards:
    """A reward that fails costs its own column, by name; values that are no numbers are counted."""

    def run(self, host: PluginHost, results: Path, mode: str) -> tuple[Any, dict[int, Any], Judge]:
        judge = Judge(mode)
        host.registry.add(make_component("reward", MINE, "judge", lambda: judge))
        outcome = execute(config(k=[1, 4], rewards=["judge", "format"]), host, results)
        assert (len(outcome.finished), outcome.failed) == (2, [])
        return outcome, {stored.manifest.method.k: stored for stored in find_results(results)[0]}, judge

    @pytest.mark.parametrize(
        ("mode", "lost", "why"),
        [
            ("raises", [1, 4], "ValueError: no judge"),
            ("raises for k=1", [1], "ValueError: too little"),
            ("few for k=1", [1], "gave fewer scores than samples"),
            ("more", [1, 4], "gave more scores than samples"),
            ("number", [1, 4], "TypeError: 'float' object is not iterable"),
            ("mapping", [1, 4], "gave a dict, not a sequence of numbers"),
            ("text", [1, 4], "gave text, not numbers"),
        ],
    )
    def test_a_failure_costs_its_column_where_it_fails(
        self, host: PluginHost, model: Model, tmp_path: Path, mode: str, lost: list[int], why: str
    ) -> None:
        outcome, stored, _ = self.run(host, tmp_path, mode)
        folders = [stored[k].folder for k in lost]
        assert {key: sorted(found) for key, found in outcome.failed_rewards.items()} == {
            ("mini_lamp_4", "judge", why): sorted(folders)
        }
        for k, row in stored.items():
            assert row.summary.reward_failures == ({"judge": why} if k in lost else {})
            assert list(row.summary.rewards) == (["format"] if k in lost else ["judge", "format"])
            assert verify(row.folder, host) == []
            for line in (row.folder / "samples.jsonl").read_bytes().splitlines():
                assert ("judge" in orjson.loads(line)["rewards"]) == (k not in lost)

    @pytest.mark.parametrize(("mode", "n"), [("some", 9), ("none", 0), ("generator", 12)])
    @pytest.mark.filterwarnings("error")
    def test_values_that_are_no_numbers_are_counted(
        self, host: PluginHost, model: Model, tmp_path: Path, mode: str, n: int
    ) -> None:
        outcome, stored, judge = self.run(host, tmp_path, mode)
        assert (outcome.failed_rewards, judge.calls) == ({}, [24])
        first = min(stored.values(), key=lambda row: row.summary.rewards["judge"].n)
        assert (first.summary.n, first.summary.rewards["judge"].n, first.summary.rewards["format"].n) == (12, n, 12)
        assert (first.summary.rewards["judge"].value is None) == (n == 0)
        assert verify(first.folder, host) == []

    def test_a_failure_in_one_batch_costs_the_whole_column_once(
        self, host: PluginHost, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from prlm_bench.running import _execute

        monkeypatch.setattr(_execute, "BATCH", 4)
        judge = Judge("fine")
        host.registry.add(make_component("reward", MINE, "judge", lambda: judge))
        plan = config(rewards=["judge"])
        (made,) = prepare_tasks(plan, host)
        plain = judge.score

        def third(samples: Sequence[Sample]) -> Any:
            if made.ids[5] in {sample.prompt.example.id for sample in samples}:
                raise ValueError("the fifth")
            return plain(samples)

        judge.score = third  # type: ignore[method-assign]
        for results, stops in (("whole", None), ("stopped", made.ids[9])):
            model.fails_at = stops
            (made,) = prepare_tasks(plan, host)
            execute(plan, host, tmp_path / results, tasks=[made])
        assert judge.calls == [4, 4], "it is not called after it has failed"
        model.fails_at = None
        (made,) = prepare_tasks(plan, host)
        folder = made.folder(tmp_path / "stopped", 0)
        execute(plan, host, tmp_path / "stopped", tasks=[made])
        assert files(folder) == files(made.folder(tmp_path / "whole", 0))
        assert json.loads(files(folder)["summary.json"])["reward_failures"] == {"judge": "ValueError: the fifth"}

    def test_the_command_line_names_it_and_ends_with_status_1(self, here: Command, tmp_path: Path) -> None:
        (tmp_path / "judge.py").write_text(JUDGE)
        words = ("--task", "mini_lamp_7", "--task", "mini_lamp_4", "--synth-users", 4, "--limit", 6, "--retriever")
        words += ("bm25", "-k", 1, "--generator", "copy", "--generator", "echo", "--no-controls", "--reward", "picky")
        ended = here("run", "--plugin", "judge.py", *words, "--results", "r")
        assert ended.status == 1
        assert (
            "FAILED reward picky on mini_lamp_7: ValueError: not for tweets; 2 rows have no value of it" in ended.stderr
        )
        assert "4 rows run, 0 were there already, 0 failed" in ended.stderr
        assert here("leaderboard", "--results", "r").status == 0


JUDGE = """
from prlm_bench import hookimpl

class Picky:
    def fingerprint(self):
        return ""

    def score(self, samples):
        if samples[0].prompt.example.id.startswith("7"):
            raise ValueError("not for tweets")
        return [1.0 for _ in samples]

@hookimpl
def prlm_bench_register_rewards(register):
    register("picky", Picky)
"""
