"""Imports happen once, leave nothing half-made, whoever is killed, and stay small."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prlm_bench.data import open_dataset
from prlm_bench.data.lamp import _import
from prlm_bench.data.store import _hashes
from prlm_bench.errors import DataError
from prlm_bench.tasks import TaskRegistry

BOOK = TaskRegistry()
LAMP_4 = BOOK.get("lamp_4")


def item(name: str, text: str = "some text", title: str = "a title", **more: Any) -> dict[str, Any]:
    return {"id": name, "text": text, "title": title, **more}


def question(name: str, profile: list[dict[str, Any]], text: str = "words", **more: Any) -> dict[str, Any]:
    return {"id": name, "input": f"Generate a headline for the following article: {text}", "profile": profile, **more}


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(questions: Any, golds: dict[str, str] | None = None, relevance: Any = None, split: str = "dev") -> Path:
        folder = tmp_path / "set" / split
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{split}_questions.json").write_text(json.dumps(questions), encoding="utf-8")
        if golds is not None:
            entries = [{"id": name, "output": output} for name, output in golds.items()]
            (folder / f"{split}_outputs.json").write_text(json.dumps({"task": "LaMP_4", "golds": entries}))
        if relevance is not None:
            (folder / f"{split}_relevance.json").write_text(json.dumps(relevance))
        return tmp_path / "set"

    return write


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PRLM_BENCH_DATA", raising=False)
    return tmp_path / "cache"


def stores(cache: Path) -> list[Path]:
    return sorted((cache / "data").glob("*"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of files that were read, in order; `import` where one was imported."""
    seen: list[str] = []
    monkeypatch.setattr(_hashes, "SETTLED", -1.0)
    begin, imported = _hashes.HashingReader.__init__, _import._import

    def reading(self: Any, path: Path, progress: Any = None) -> None:
        seen.append(path.name)
        begin(self, path, progress)

    def importing(*arguments: Any) -> Any:
        seen.append("import")
        return imported(*arguments)

    monkeypatch.setattr(_hashes.HashingReader, "__init__", reading)
    monkeypatch.setattr(_import, "_import", importing)
    return seen


def test_an_unchanged_file_is_not_read_again(write: Write, reads: list[str]) -> None:
    root = write([question("q", [])], {"q": "x"})
    open_dataset(LAMP_4, root, "dev")
    assert sorted(reads) == ["dev_outputs.json", "dev_questions.json", "import"]
    reads.clear()
    open_dataset(LAMP_4, root, "dev", view="prlm", skip_invalid=True)
    assert reads == []


def test_a_moved_or_touched_file_is_hashed_but_not_imported_again(write: Write, reads: list[str]) -> None:
    root = write([question("q", [])])
    open_dataset(LAMP_4, root, "dev")
    reads.clear()
    os.utime(root / "dev" / "dev_questions.json", (1, 1))
    open_dataset(LAMP_4, root, "dev")
    assert reads == ["dev_questions.json"]
    reads.clear()
    root.rename(root.with_name("moved"))
    open_dataset(LAMP_4, root.with_name("moved"), "dev")
    assert reads == ["dev_questions.json"]


def test_a_changed_file_of_the_same_size_and_time_is_seen(write: Write, reads: list[str]) -> None:
    file = write([question("q1", [])]) / "dev" / "dev_questions.json"
    os.utime(file, (1, 1))
    assert open_dataset(LAMP_4, file.parents[1], "dev").ids == ["q1"]
    time.sleep(0.02)
    file.write_bytes(file.read_bytes().replace(b"q1", b"q2"))
    os.utime(file, (1, 1))
    assert open_dataset(LAMP_4, file.parents[1], "dev").ids == ["q2"]


def test_a_file_just_written_is_not_trusted_to_be_settled(write: Write, cache: Path) -> None:
    open_dataset(LAMP_4, write([question("q", [])]), "dev")
    assert not (cache / "hashes").exists()


def test_a_file_that_changes_while_it_is_read(write: Write) -> None:
    root = write([question("q", [])])

    def interfere(done: int, total: int) -> None:
        (root / "dev" / "dev_questions.json").write_text("[]")

    with pytest.raises(DataError, match="changed while it was read"):
        open_dataset(LAMP_4, root, "dev", progress=interfere)


@pytest.mark.parametrize("name", ["items.arrow", "questions.arrow", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "zeroed", "gone", "empty", "other"])
def test_a_damaged_store_is_made_again(write: Write, cache: Path, name: str, damage: str) -> None:
    root = write([question("q", [item("i")])])
    open_dataset(LAMP_4, root, "dev")
    (store,) = stores(cache)
    file = store / name
    content = file.read_bytes()
    changed = {"cut": content[:-7], "zeroed": bytes(len(content)), "empty": b"", "other": b'{"key": 1}', "gone": b""}
    file.write_bytes(changed[damage])
    if damage == "gone":
        file.unlink()
    assert open_dataset(LAMP_4, root, "dev").example(0).profile[0].id == "i"
    assert stores(cache) == [store]
    assert file.read_bytes() == content


def test_stores_of_other_tasks_are_apart(write: Write, cache: Path) -> None:
    root = write([question("q", [item("i")])])
    open_dataset(LAMP_4, root, "dev")
    assert open_dataset(BOOK.get("lamp_7"), root, "dev", any_task=True).example(0).profile[0].fields == {
        "text": "some text"
    }
    assert len(stores(cache)) == 2


KILLED = """
import os, signal, sys
from pathlib import Path
from prlm_bench.data import open_dataset
from prlm_bench.data.lamp import _import
from prlm_bench.data.store import _folders
from prlm_bench.tasks import TaskRegistry
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
progress = None
if sys.argv[2] == "reading":
    progress = die
elif sys.argv[2] == "publishing":
    _import.publish = die
else:
    _folders.Path.rename = die
open_dataset(TaskRegistry().get("lamp_4"), Path(sys.argv[1]), "dev", progress=progress)
"""


@pytest.mark.parametrize("when", ["reading", "publishing", "renaming"])
def test_a_killed_import_leaves_nothing_that_looks_whole(write: Write, cache: Path, when: str) -> None:
    root = write([question("q", [item("i")])])
    killed = subprocess.run([sys.executable, "-c", KILLED, str(root), when], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = stores(cache)
    assert left and all(path.name.startswith(".part-") for path in left)
    assert open_dataset(LAMP_4, root, "dev").ids == ["q"]
    (store,) = stores(cache)
    assert not store.name.startswith(".")


def test_an_import_that_goes_on_is_not_cleaned_away(write: Write, cache: Path) -> None:
    root = write([question("q", [])])
    write([question("t", [])], split="train")

    def meanwhile(done: int, total: int) -> None:
        open_dataset(LAMP_4, root, "train")

    assert open_dataset(LAMP_4, root, "dev", progress=meanwhile).ids == ["q"]
    assert len(stores(cache)) == 2


def test_two_imports_of_one_file_end_well(write: Write, cache: Path) -> None:
    root = write([question(f"q{place}", [item("i")]) for place in range(50)])
    finished = []

    def meanwhile(done: int, total: int) -> None:
        finished.append(open_dataset(LAMP_4, root, "dev").ids)

    assert open_dataset(LAMP_4, root, "dev", progress=meanwhile).ids == finished[0]
    assert len(stores(cache)) == 1


AT_ONCE = """
import sys
from pathlib import Path
from prlm_bench.data import open_dataset
from prlm_bench.tasks import TaskRegistry
task = TaskRegistry().get("lamp_4")
sys.stdin.readline()
print(open_dataset(task, Path(sys.argv[1]), "dev").fingerprint())
"""


def test_processes_that_import_at_once_end_well(write: Write, cache: Path) -> None:
    root = write([question(f"q{place}", [item(f"i{place}")]) for place in range(2000)])
    command = [sys.executable, "-c", AT_ONCE, str(root)]
    running = [subprocess.Popen(command, stdin=-1, stdout=-1, text=True) for _ in range(3)]
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(set(printed)) == 1
    assert len(stores(cache)) == 1


def test_a_cache_that_cannot_be_written(write: Write, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written") as caught:
        open_dataset(LAMP_4, write([question("q", [])]), "dev", cache=tmp_path / "file")
    assert "PRLM_BENCH_CACHE" in caught.value.hint


PEAK = """
import sys
from pathlib import Path
from prlm_bench.data import open_dataset
from prlm_bench.tasks import TaskRegistry
for batch in open_dataset(TaskRegistry().get("lamp_4"), Path(sys.argv[1]), "dev").batches(64):
    pass
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_memory_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "set" / "dev" / "dev_questions.json"
    file.parent.mkdir(parents=True)
    with file.open("w") as out:
        for place in range(4000):
            profile = [item(f"{place}-{number}", f"{place} {number} " + "word " * 100) for number in range(100)]
            out.write((", " if place else "[") + json.dumps(question(f"q{place}", profile)))
        out.write("]")
    assert file.stat().st_size > 200e6
    printed = subprocess.run([sys.executable, "-c", PEAK, str(file.parents[1])], capture_output=True, check=True)
    assert int(printed.stdout) / 1024 < 300
