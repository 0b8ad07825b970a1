"""Datasets: exact texts, one import, nothing half-made, whoever is killed."""

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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prlm_bench._cache import cache_root
from prlm_bench.data import Dataset, _hashes, _import, data_root, open_dataset, validate
from prlm_bench.errors import DataError, TaskError
from prlm_bench.tasks import Task, TaskBook

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
BOOK = TaskBook()
LAMP_4 = BOOK.get("lamp_4")
TIME = BOOK.get("lamp_4_time")
LAMP_1 = BOOK.get("lamp_1")


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


def examples(dataset: Dataset, size: int = 64) -> list[Any]:
    return [example for batch in dataset.batches(size) for example in batch]


def stores(cache: Path) -> list[Path]:
    return sorted((cache / "data").glob("*"))


def test_example_holds_what_the_files_say(write: Write) -> None:
    profile = [item("i1", "t1", "h1", date="2020-01-02", other=5), item("i2", "t2", "h2", date="2021-01-02")]
    root = write([question("q", profile, " the text ", user_id="u")], {"q": "gold"}, {"q": ["i2"], "x": []})
    dataset = open_dataset(TIME, root, "dev")
    example = dataset.example(0)
    assert (example.id, example.user, example.gold, example.relevant) == ("q", "u", "gold", frozenset({"i2"}))
    assert example.query == "the text"
    assert [document.text for document in example.profile] == ["h1 t1", "h2 t2"]
    assert example.profile[0].fields == {"text": "t1", "title": "h1"}
    assert example.profile[1].date == "2021-01-02"
    assert dataset.has == {"date", "relevance", "golds", "users"}
    assert (dataset.ids, dataset.users, dataset.golds, dataset.n_users) == (["q"], ["u"], ["gold"], 1)


def test_views_and_dates(write: Write) -> None:
    root = write([question("q", [item("i", "{t}", "{{h}} {0}", date="2020-01-02")])])
    assert open_dataset(LAMP_4, root, "dev", dates=True).example(0).profile[0].text == "{{h}} {0} {t} date: 2020-01-02"
    prlm = open_dataset(LAMP_4, root, "dev", dates=True, view="prlm").example(0)
    assert prlm.query == "'text': 'words'"
    assert prlm.profile[0].text == "'text': '{t}' 'title': '{{h}} {0}'"
    with pytest.raises(TaskError):
        open_dataset(BOOK.get("lamp_6"), root, "dev", view="prlm")


def test_dates_need_every_item_to_have_one(write: Write) -> None:
    root = write([question("q", [item("i", date="2020-01-02"), item("j")])])
    assert "date" not in open_dataset(LAMP_4, root, "dev").has
    with pytest.raises(DataError, match="not every profile item has a `date`"):
        open_dataset(LAMP_4, root, "dev", dates=True)


def test_query_of_several_parts(write: Write) -> None:
    profile = [{"id": "p", "title": "T", "abstract": "A"}]
    root = write([{"id": "q", "input": 'by "x" cite [1]: "one" [2]: "two"', "profile": profile}])
    assert open_dataset(LAMP_1, root, "dev").example(0).query == "one two"
    assert open_dataset(LAMP_1, root, "dev", view="prlm").example(0).query == "'title': 'one'  'title': 'two'"


def test_without_companions(write: Write) -> None:
    dataset = open_dataset(LAMP_4, write([question("q", [])]), "dev")
    assert dataset.has == frozenset()
    assert (dataset.users, dataset.golds, dataset.example(0).relevant) == (["q"], [None], None)
    assert open_dataset(LAMP_4, write([]), "dev").info()["questions"] == 0


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["\0", "a\0b", "\r\n", "\u2028\u2029\x85", "😀\U0010ffff", " \t ", "{0}", "%s"]
)
ITEM = st.fixed_dictionaries({"id": TEXT, "text": TEXT, "title": TEXT}, optional={"date": TEXT | st.none()})


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.tuples(TEXT, st.lists(ITEM, max_size=4)), max_size=6), st.integers(1, 4))
def test_texts_come_back_exactly(tmp_path: Path, content: list[tuple[str, list[dict[str, Any]]]], size: int) -> None:
    folder = tmp_path / "exact" / "dev"
    folder.mkdir(parents=True, exist_ok=True)
    questions = [question(f"q{place}", profile, text) for place, (text, profile) in enumerate(content)]
    golds = {
        "task": "LaMP_4",
        "golds": [{"id": f"q{place}", "output": text} for place, (text, _) in enumerate(content)],
    }
    (folder / "dev_questions.json").write_text(json.dumps(questions), encoding="utf-8", newline="")
    (folder / "dev_outputs.json").write_text(json.dumps(golds, ensure_ascii=False), encoding="utf-8", newline="")
    found = examples(open_dataset(LAMP_4, folder.parent, "dev"), size)
    assert [example.input for example in found] == [entry["input"] for entry in questions]
    assert [example.gold for example in found] == [text for text, _ in content]
    assert [[(d.id, d.fields["text"], d.fields["title"], d.date) for d in example.profile] for example in found] == [
        [(i["id"], i["text"], i["title"], i.get("date")) for i in entry["profile"]] for entry in questions
    ]


def test_items_are_stored_once_and_built_once_a_batch(write: Write) -> None:
    items = [item(f"i{place}") for place in range(6)]
    root = write([question(f"q{place}", items[: place + 1]) for place in range(6)])
    dataset = open_dataset(LAMP_4, root, "dev")
    assert dataset.info()["distinct_items"] == 6
    assert dataset.info()["profile"] == {"min": 1, "mean": 3.5, "max": 6, "empty": 0}
    (batch,) = dataset.batches(10)
    assert len({id(document) for example in batch for document in example.profile}) == 6


def test_items_that_differ_anywhere_are_kept_apart(write: Write) -> None:
    items = [item("i"), item("i", date="2020"), item("i", "a", "bc"), item("i", "ab", "c"), item("i", date=None)]
    found = open_dataset(LAMP_4, write([question("q", items)]), "dev")
    assert [(d.text, d.date) for d in found.example(0).profile] == [
        ("a title some text", None),
        ("a title some text", "2020"),
        ("bc a", None),
        ("c ab", None),
        ("a title some text", None),
    ]
    assert found.info()["distinct_items"] == 4


def test_batches_stream_any_range(write: Write) -> None:
    dataset = open_dataset(LAMP_4, write([question(f"q{place}", []) for place in range(10)]), "dev")
    assert [[e.id for e in batch] for batch in dataset.batches(3, 2, 9)] == [
        ["q2", "q3", "q4"],
        ["q5", "q6", "q7"],
        ["q8"],
    ]
    assert [len(batch) for batch in dataset.batches(4, stop=100)] == [4, 4, 2]
    assert list(dataset.batches(4, 10)) == []
    assert dataset.example(-1).id == "q9"
    with pytest.raises(IndexError):
        dataset.example(10)
    with pytest.raises(ValueError, match="at least 1"):
        next(dataset.batches(0))


def test_many_record_batches(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from prlm_bench.data import _write

    monkeypatch.setattr(_write, "_BATCH_ITEMS", 5)
    items = [item(f"i{place}", text=f"text {place}") for place in range(40)]
    picks = [[items[(7 * place + step) % 40] for step in range(place % 6)] for place in range(30)]
    dataset = open_dataset(LAMP_4, write([question(f"q{place}", pick) for place, pick in enumerate(picks)]), "dev")
    for size in (1, 4, 30):
        assert [[d.id for d in e.profile] for e in examples(dataset, size)] == [[i["id"] for i in p] for p in picks]
    assert dataset.ids == [f"q{place}" for place in range(30)]


def test_large_profiles_and_texts(write: Write) -> None:
    many = [item(f"i{place}") for place in range(10_000)]
    long = [item("long", "é" * (1 << 20), "x" * (1 << 20))]
    dataset = open_dataset(LAMP_4, write([question("many", many), question("long", long, "w" * (1 << 20))]), "dev")
    assert len(dataset.example(0).profile) == 10_000
    assert dataset.example(1).profile[0].fields == {"text": "é" * (1 << 20), "title": "x" * (1 << 20)}


def test_malformed_questions_stop_or_are_left_out(write: Write) -> None:
    good, bad = question("a", []), {"id": "b", "input": "no marker", "profile": []}
    root = write([good, bad, {"id": "c"}], {"a": "x", "b": "y", "c": "z"})
    with pytest.raises(DataError) as caught:
        open_dataset(LAMP_4, root, "dev")
    assert "dev_questions.json: 2 of 3 questions are malformed, first questions[1] (id 'b') input: " in str(
        caught.value
    )
    assert "--skip-invalid" in caught.value.hint
    assert "\n" not in str(caught.value)
    dataset = open_dataset(LAMP_4, root, "dev", skip_invalid=True)
    assert (dataset.ids, dataset.n_total, dataset.n_invalid, len(dataset)) == (["a"], 3, 2, 1)


def test_structural_errors_are_fatal(write: Write, cache: Path) -> None:
    root = write([question("a", [])])
    file = root / "dev" / "dev_questions.json"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"cut off at byte \d+, after questions\[0\] \(id 'a'\)"):
        open_dataset(LAMP_4, root, "dev", skip_invalid=True)
    assert stores(cache) == []


def test_sibling(write: Write) -> None:
    write([question("t", [])], {"t": "x"}, split="train")
    dataset = open_dataset(LAMP_4, write([question("d", [])]), "dev", view="prlm")
    train = dataset.sibling("train")
    assert train is not None
    assert (train.ids, train.split, train.view) == (["t"], "train", "prlm")
    assert dataset.sibling("test") is None


def test_fingerprint_follows_what_examples_hold(write: Write) -> None:
    root = write([question("q", [item("i", date="2020-01-01")])], {"q": "x"})
    plain = open_dataset(LAMP_4, root, "dev").fingerprint()
    assert open_dataset(LAMP_4, root, "dev").fingerprint() == plain
    others = {
        open_dataset(LAMP_4, root, "dev", view="prlm").fingerprint(),
        open_dataset(LAMP_4, root, "dev", dates=True).fingerprint(),
        open_dataset(LAMP_4, write([question("q", [item("i", date="2020-01-01")])], {"q": "y"}), "dev").fingerprint(),
    }
    assert len(others | {plain}) == 4


def test_hashes_are_those_of_the_files(write: Write) -> None:
    root = write([question("q", [])], {"q": "x"}, {})
    dataset = open_dataset(LAMP_4, root, "dev")
    for name, value in dataset.sha256.items():
        printed = subprocess.run(["sha256sum", root / "dev" / name], capture_output=True, text=True, check=True)
        assert printed.stdout.split()[0] == value
    assert sorted(dataset.sha256) == ["dev_outputs.json", "dev_questions.json", "dev_relevance.json"]


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
    assert open_dataset(BOOK.get("lamp_7"), root, "dev").example(0).profile[0].fields == {"text": "some text"}
    assert len(stores(cache)) == 2


KILLED = """
import os, signal, sys
from pathlib import Path
from prlm_bench.data import _import, _folders, open_dataset
from prlm_bench.tasks import TaskBook
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
progress = None
if sys.argv[2] == "reading":
    progress = die
elif sys.argv[2] == "publishing":
    _import.publish = die
else:
    _folders.Path.rename = die
open_dataset(TaskBook().get("lamp_4"), Path(sys.argv[1]), "dev", progress=progress)
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
from prlm_bench.tasks import TaskBook
task = TaskBook().get("lamp_4")
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


def test_where_data_are_looked_for(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write([question("q", [])])
    (tmp_path / "parent").mkdir()
    inside = tmp_path / "parent" / "LaMP_4"
    inside.symlink_to(root)
    assert data_root(LAMP_4, root) == root
    assert data_root(LAMP_4, tmp_path / "parent") == inside
    assert open_dataset(LAMP_4, tmp_path / "parent", "dev").ids == ["q"]
    with pytest.raises(DataError, match="PRLM_BENCH_DATA is not set"):
        data_root(LAMP_4)
    monkeypatch.setenv("PRLM_BENCH_DATA", str(tmp_path / "parent"))
    assert data_root(LAMP_4) == inside
    with pytest.raises(DataError, match=r"LaMP_4_time/SPLIT/SPLIT_questions\.json") as caught:
        data_root(TIME)
    assert "--data DIR" in caught.value.hint and "prlm-bench data download" in caught.value.hint
    with pytest.raises(DataError, match="there is no folder"):
        data_root(LAMP_4, tmp_path / "absent")
    with pytest.raises(DataError, match="no split 'test'") as caught:
        open_dataset(LAMP_4, root, "test")
    assert caught.value.hint == "splits found: dev"


def test_cache_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_root() == tmp_path / "cache"
    monkeypatch.delenv("PRLM_BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "prlm-bench"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_root() == tmp_path / "home" / ".cache" / "prlm-bench"


def test_importing_the_package_is_light() -> None:
    code = "import sys, prlm_bench.data; print({'numpy', 'pyarrow', 'httpx', 'orjson'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "set()"


PEAK = """
import sys
from pathlib import Path
from prlm_bench.data import open_dataset
from prlm_bench.tasks import TaskBook
for batch in open_dataset(TaskBook().get("lamp_4"), Path(sys.argv[1]), "dev").batches(64):
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


SETS = [
    ("LaMP_7", "dev", "lamp_7", 1000),
    ("LaMP_4", "dev", "lamp_4", 900),
    ("LaMP_3", "dev", "lamp_3", 30),
    ("LaMP_4_time_usgov", "train", "lamp_4_time", 574),
    ("LaMP_4_time_usgov", "dev", "lamp_4_time", 87),
    ("LaMP_5_time_arxiv", "train", "lamp_5_time", 266),
    ("LaMP_5_time_arxiv", "dev", "lamp_5_time", 133),
    ("LaMP_3_scaledata", "train", "lamp_3", 100),
]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"real data are not in {REAL}")
@pytest.mark.parametrize(("folder", "split", "name", "count"), SETS)
def test_real_data_come_back_exactly(folder: str, split: str, name: str, count: int) -> None:
    task: Task = BOOK.get(name)
    dataset = open_dataset(task, REAL / folder, split)
    raw = json.loads((REAL / folder / split / f"{split}_questions.json").read_bytes())
    golds = json.loads((REAL / folder / split / f"{split}_outputs.json").read_bytes())["golds"]
    outputs = {entry["id"]: entry["output"] for entry in golds}
    assert len(dataset) == len(raw) == count
    for example, entry in zip(examples(dataset), raw, strict=True):
        assert (example.id, example.input, example.gold) == (entry["id"], entry["input"], outputs[entry["id"]])
        assert example.user == entry.get("user_id", entry["id"])
        assert [(d.id, d.fields, d.date) for d in example.profile] == [
            (i["id"], {field: i[field] for field in task.item_fields}, i.get("date")) for i in entry["profile"]
        ]
    assert ("users" in dataset.has) == ("user_id" in raw[0])
    assert ("date" in dataset.has) == ("date" in raw[0]["profile"][0])
    assert validate(task, REAL / folder, split).problems == []
