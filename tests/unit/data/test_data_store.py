"""Datasets: exact texts, one import, nothing half-made, whoever is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from support.paths import REAL_DATA

from prlm_bench._util.cache_folder import cache_root
from prlm_bench.data import Dataset, data_root, open_dataset, validate
from prlm_bench.errors import DataError, TaskError
from prlm_bench.tasks import Task, TaskRegistry

REAL = REAL_DATA
BOOK = TaskRegistry()
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
    root = write([{"id": "q", "input": f'{LAMP_1.instruction} "x" cite [1]: "one" [2]: "two"', "profile": profile}])
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


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40
)
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
    from prlm_bench.data.store import _write

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
