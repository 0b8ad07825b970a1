"""A run writes each sample once, does nothing twice, and keeps what differs in folders of its own."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from prlm_bench import Completion, Prompt
from prlm_bench.errors import RunError
from prlm_bench.host import Origin, PluginHost
from prlm_bench.host._registry import make_component
from prlm_bench.results import TIMING, Journal, find_results, finished_ids, read_manifest
from prlm_bench.running import Outcome, RunConfig, execute, prepare_tasks, preview

Command = Callable[..., Any]
MINE = Origin("mine", "mine", "1", "mine.py")


class Model:
    """Answers with the number of items; remembers the questions and fails at one of them, if told to."""

    tokenizer = None

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails_at: str | None = None

    def fingerprint(self) -> str:
        return ""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for j, prompt in enumerate(prompts):
            if prompt.example.id == self.fails_at:
                raise RuntimeError("the model is gone")
            self.asked.append(prompt.example.id)
            yield j, Completion(f"headline of {len(prompt.ranking.items)} items", finish="stop", tokens=4)


@pytest.fixture
def model(host: PluginHost) -> Model:
    made = Model()
    host.registry.add(make_component("generator", MINE, "model", lambda: made))
    return made


def study(**fields: Any) -> RunConfig:
    base = {"tasks": ["mini_lamp_4"], "synth_users": 4, "retrievers": ["bm25"], "generators": ["model"]}
    return RunConfig.model_validate({**base, "controls": False, **fields})


def files(folder: Path) -> dict[str, bytes]:
    """All files but those that say how long a run took."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != TIMING)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def only(outcome: Outcome) -> Path:
    (folder,) = outcome.finished
    return folder


WHOLE = ["manifest.json", "samples.jsonl", "summary.json", "timing.json"]


def test_a_finished_run_does_nothing(host: PluginHost, model: Model, tmp_path: Path) -> None:
    folder = only(execute(study(), host, tmp_path))
    assert folder.parent == tmp_path / "mini_lamp_4" / "dev"
    assert folder.name.startswith("bm25-k4-direct-model-s0-")
    assert names(folder) == WHOLE
    assert len(model.asked) == 12
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    outcome = execute(study(), host, tmp_path)
    assert (outcome.finished, outcome.already, outcome.failed) == ([], [folder], [])
    assert len(model.asked) == 12
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_cell_is_the_same_alone_and_in_company(host: PluginHost, model: Model, tmp_path: Path) -> None:
    alone = only(execute(study(k=[2]), host, tmp_path / "alone"))
    grid = study(k=[1, 2, 16], retrievers=["none", "bm25", "random"], generators=["copy", "model"], controls=True)
    execute(grid, host, tmp_path / "company")
    company = tmp_path / "company" / alone.relative_to(tmp_path / "alone")
    assert files(company) == files(alone)


@pytest.mark.parametrize(
    "change",
    [
        {"k": [3]},
        {"seeds": [1]},
        {"limit": 11},
        {"split": "test"},
        {"view": "prlm"},
        {"dates": True},
        {"retrievers": ["bm25:k1=1.4"]},
        {"retrievers": ["recency"]},
        {"reasoners": ["direct:max_length=300"]},
        {"generators": ["copy"]},
        {"rewards": ["format"]},
        {"synth_users": 5},
    ],
    ids=str,
)
def test_what_changes_the_result_is_another_folder(
    host: PluginHost, model: Model, tmp_path: Path, change: dict[str, Any]
) -> None:
    first, second = (prepare_tasks(study(**fields), host)[0] for fields in ({}, change))
    assert first.folder(tmp_path, 0) != second.folder(tmp_path, 0)
    assert first.manifests[0].fingerprint != second.manifests[0].fingerprint


def test_another_task_definition_or_other_data_are_another_folder(
    host: PluginHost, model: Model, tmp_path: Path
) -> None:
    (bench,) = prepare_tasks(study(), host)
    data = tmp_path / "data"
    shutil.copytree(bench.dataset.root, data)
    (same,) = prepare_tasks(study(data=data), host)
    assert same.manifests[0].fingerprint == bench.manifests[0].fingerprint
    golds = data / "dev" / "dev_outputs.json"
    golds.write_text(golds.read_text().replace('"output": "', '"output": "New ', 1))
    (other,) = prepare_tasks(study(data=data), host)
    assert other.manifests[0].fingerprint != bench.manifests[0].fingerprint
    task = tmp_path / "mini.yaml"
    task.write_text(yaml.safe_dump({"extends": "mini_lamp_4", "name": "mini", "title": "Another title"}))
    (renamed,) = prepare_tasks(study(tasks=[str(task)]), host)
    assert renamed.manifests[0].fingerprint != bench.manifests[0].fingerprint


def test_leavings_of_a_killed_process_are_removed(host: PluginHost, model: Model, tmp_path: Path) -> None:
    folder = only(execute(study(), host, tmp_path))
    before = files(folder)
    for name in ("journal.jsonl", ".samples.jsonl.123.tmp", ".summary.json.9.tmp"):
        (folder / name).write_bytes(b"half")
    execute(study(), host, tmp_path)
    assert files(folder) == before


def test_a_journal_that_is_whole_is_finished_without_asking(host: PluginHost, model: Model, tmp_path: Path) -> None:
    folder = only(execute(study(), host, tmp_path))
    before = files(folder)
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_bytes().splitlines()]
    journal = Journal(folder / "journal.jsonl", read_manifest(folder).fingerprint)
    for record in reversed(lines):
        for name in ("metrics", "task", "split", "row"):
            del record[name]
        journal.append(record["id"], orjson.dumps(record))
    journal.close()
    (folder / "summary.json").unlink()
    (bench,) = prepare_tasks(study(), host)
    assert preview(bench, tmp_path)[0]["done"] == 12
    assert only(execute(study(), host, tmp_path)) == folder
    assert len(model.asked) == 12
    assert files(folder) == before


def test_a_component_that_fails_leaves_the_others_finished_and_its_own_resumable(
    host: PluginHost, model: Model, tmp_path: Path
) -> None:
    unbroken = only(execute(study(), host, tmp_path / "unbroken"))
    ids, model.asked = model.asked, []
    model.fails_at = ids[5]
    outcome = execute(study(generators=["model", "copy"]), host, tmp_path / "broken")
    ((folder, reason),) = outcome.failed
    assert reason.startswith("generator model from mine (mine 1): RuntimeError: the model is gone at tests/unit/")
    assert "copy" in only(outcome).name
    assert finished_ids(folder / "journal.jsonl") == ids[:5]
    (bench,) = prepare_tasks(study(), host)
    assert [(row["samples"], row["done"]) for row in preview(bench, tmp_path / "broken")] == [(12, 5)]
    finished, unfinished = find_results(tmp_path / "broken")
    assert ([r.folder for r in finished], [r.folder for r in unfinished]) == ([only(outcome)], [folder])
    model.fails_at, model.asked = None, []
    assert only(execute(study(), host, tmp_path / "broken")) == folder
    assert model.asked == ids[5:]
    assert files(folder) == files(unbroken)


def test_a_folder_that_another_process_writes_is_left_alone(host: PluginHost, model: Model, tmp_path: Path) -> None:
    (bench,) = prepare_tasks(study(), host)
    journal = Journal(bench.folder(tmp_path, 0) / "journal.jsonl", bench.manifests[0].fingerprint)
    with pytest.raises(RunError, match="is being written by another process"):
        execute(study(), host, tmp_path)
    journal.close()
    assert len(execute(study(), host, tmp_path).finished) == 1


def test_a_full_disk_leaves_a_resumable_run(
    host: PluginHost, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = only(execute(study(), host, tmp_path / "unbroken"))
    room = 6_000

    def write(descriptor: int, content: bytes) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = os_write(descriptor, content[:room])
        room -= written
        return written

    os_write = os.write
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        execute(study(), host, tmp_path / "full")
    monkeypatch.undo()
    (journal,) = (tmp_path / "full").rglob("journal.jsonl")
    assert journal.stat().st_size == 6_000
    assert 0 < len(finished_ids(journal)) < 12
    assert files(only(execute(study(), host, tmp_path / "full"))) == files(unbroken)


RUN = ("run", "--task", "mini_lamp_4", "--synth-users", 4, "--retriever", "bm25", "--generator", "copy")


def test_a_limit_on_file_sizes_costs_one_line(cli: Command, here: Command, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk."""
    assert here(*RUN, "--results", "unbroken").status == 0
    command = [sys.executable, "-m", "prlm_bench", *map(str, RUN), "--results", "full"]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000)),
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("prlm-bench: full/mini_lamp_4/dev/")
    assert line.endswith("/journal.jsonl: File too large")
    assert "Traceback" not in ended.stderr
    assert cli(*RUN, "--results", "full").status == 0
    assert files(tmp_path / "full") == files(tmp_path / "unbroken")


@pytest.mark.parametrize("below", [False, True])
def test_a_results_folder_that_cannot_be_is_one_line(here: Command, below: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    results = "file/results" if below else "file"
    ended = here(*RUN, "--results", results)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1].startswith(f"prlm-bench: {results}")
    assert "Traceback" not in ended.stderr


def test_a_results_folder_that_may_not_be_written_is_one_line(here: Command, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    if os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("this user may write everywhere")
    ended = here(*RUN, "--results", "locked")
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1].endswith(": Permission denied")
