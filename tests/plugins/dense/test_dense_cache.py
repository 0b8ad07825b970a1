"""The embedding cache: what it holds is what was written, whatever happens to its file. No model is needed."""

from __future__ import annotations

import hashlib
import logging
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from prlm_bench_plugins.dense._cache import BROKEN, VectorCache
from prlm_bench_plugins.dense._vectors import TextVectors

from prlm_bench import Document
from prlm_bench.errors import PrlmBenchError

OURS, OTHER = b"m" * 32, b"n" * 32
NAME = "ours.sqlite"


def vector(text: str, dims: int = 8) -> np.ndarray:
    """A vector that belongs to the text and no other."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    return np.random.default_rng(seed).standard_normal(dims, dtype=np.float32)


class Counting:
    """An encoder that gives `vector` and records which texts it encoded."""

    def __init__(self, dims: int = 8) -> None:
        self.encoded: list[str] = []
        self._dims = dims

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.encoded += texts
        return np.stack([vector(text, self._dims) for text in texts])


def names(count: int, start: int = 0) -> list[str]:
    return [f"text {number}" for number in range(start, start + count)]


def matrix(texts: Sequence[str], dims: int = 8) -> np.ndarray:
    return np.stack([vector(text, dims) for text in texts])


def digests(texts: Sequence[str]) -> list[bytes]:
    return [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]


def text_vectors(folder: Path, encoder: Counting, **options: Any) -> TextVectors:
    return TextVectors(VectorCache(folder / NAME, OURS), lambda: encoder, **options)


def profile(texts: Sequence[str]) -> tuple[Document, ...]:
    return tuple([Document(str(number), text, {}) for number, text in enumerate(texts)])


def read(vectors: TextVectors, texts: Sequence[str]) -> np.ndarray:
    ((items, query),) = vectors.fetch([profile(texts)], texts[:1])
    assert np.array_equal(query, items[0])
    return items


def fetch(
    folder: Path, texts: Sequence[str], encoder: Counting | None = None, dims: int = 8, **options: Any
) -> list[str]:
    """Read the vectors of `texts` as a new process would, and check them; gives the texts that had to be encoded."""
    encoder = encoder or Counting(dims)
    assert np.array_equal(read(text_vectors(folder, encoder, **options), texts), matrix(texts, dims))
    return encoder.encoded


def flip(path: Path, at: int, mask: int = 0x10) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= mask
    path.write_bytes(content)


# What was written is read


@pytest.mark.parametrize(("count", "dims"), [(1, 1), (3, 8), (4001, 4), (2500, 128)])
def test_a_cache_holds_what_was_written(tmp_path: Path, count: int, dims: int) -> None:
    keys, rows = digests(names(count)), matrix(names(count), dims)
    VectorCache(tmp_path / NAME, OURS).put(keys, rows)
    found = dict(VectorCache(tmp_path / NAME, OURS).get([*keys[::-1], b"x" * 16]))
    assert {key: found[key] for key in keys} == {key: row.tobytes() for key, row in zip(keys, rows, strict=True)}
    assert len(found) == count
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_cache_says_whose_it_is(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / NAME, OURS, "acme/tiny pooling=mean")
    assert cache.size() == 0
    for _ in range(2):
        cache.put(digests(["a"]), matrix(["a"]))
    about = sqlite3.connect(tmp_path / NAME).execute("SELECT text FROM about").fetchall()
    assert about == [("acme/tiny pooling=mean",)]
    assert cache.size() == (tmp_path / NAME).stat().st_size


def test_the_older_of_two_vectors_counts(tmp_path: Path) -> None:
    fetch(tmp_path, ["a", "b"])
    VectorCache(tmp_path / NAME, OURS).put(digests(["b", "c"]), np.ones((2, 8), np.float32))
    assert fetch(tmp_path, ["a", "b"]) == []
    late = Counting()
    assert np.array_equal(read(text_vectors(tmp_path, late), ["c"]), np.ones((1, 8), np.float32))


def test_what_another_process_writes_during_encoding_counts(tmp_path: Path) -> None:
    class Overtaken(Counting):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            VectorCache(tmp_path / NAME, OURS).put(digests(texts[:1]), np.ones((1, 8), np.float32))
            return super().encode(texts)

    rows = read(text_vectors(tmp_path, Overtaken()), ["a", "b"])
    assert np.array_equal(rows, np.stack([np.ones(8, np.float32), vector("b")]))


def test_a_text_is_encoded_once_ever(tmp_path: Path) -> None:
    assert fetch(tmp_path, names(600)) == names(600)
    assert fetch(tmp_path, names(700)) == names(100, 600)
    assert fetch(tmp_path, names(700)[::-1]) == []
    assert fetch(tmp_path, ["text 3", "text 650", "text 3"]) == []


def test_equal_texts_in_one_call_are_encoded_once(tmp_path: Path) -> None:
    encoder = Counting()
    texts = ["a", "b", "a", "\ud800", "\ufffd", "x\ud800"]
    rows = read(text_vectors(tmp_path, encoder), texts)
    assert encoder.encoded == ["a", "b", "\ufffd", "x\ufffd"]
    assert np.array_equal(rows, matrix(["a", "b", "a", "\ufffd", "\ufffd", "x\ufffd"]))


def test_a_surrogate_pair_is_its_character(tmp_path: Path) -> None:
    rows = read(text_vectors(tmp_path, Counting()), ["\ud83d\ude00", "\U0001f600"])
    assert np.array_equal(rows, matrix(["\U0001f600"] * 2))


def test_a_reader_takes_in_what_others_have_written_meanwhile(tmp_path: Path) -> None:
    late = Counting()
    own = text_vectors(tmp_path, late)
    read(own, names(3))
    fetch(tmp_path, names(10))
    assert np.array_equal(read(own, names(12)), matrix(names(12)))
    assert late.encoded == [*names(3), *names(2, 10)]


def test_of_texts_whose_digests_share_a_half_each_has_its_own_vector(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / NAME, OURS)
    pairs = dict(zip([b"h" * 8 + b"1" * 8, b"h" * 8 + b"2" * 8], map(bytes, matrix(["a", "b"])), strict=True))
    assert cache.put(list(pairs), matrix(["a", "b"])) == pairs
    for _ in range(2):
        for number, (digest, own) in enumerate(pairs.items()):
            assert dict(cache.get([digest])).get(digest, own) == own
            assert cache.put([digest], matrix(["a", "b"])[[number]]) == {digest: own}


# Memory


def test_texts_in_memory_are_not_read_again(tmp_path: Path) -> None:
    own = text_vectors(tmp_path, Counting())
    read(own, names(20))
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    assert np.array_equal(read(own, names(20)[::-1]), matrix(names(20)[::-1]))
    with pytest.raises(PrlmBenchError):
        read(own, names(21))


def test_an_item_and_a_query_of_one_text_have_their_own_prefixes(tmp_path: Path) -> None:
    own = text_vectors(tmp_path, Counting(), query_prefix="query: ", item_prefix="item: ")
    ((items, query),) = own.fetch([profile(["x", "y"])], ["x"])
    assert np.array_equal(items, matrix(["item: x", "item: y"]))
    assert np.array_equal(query, vector("query: x"))


def test_a_profile_whose_items_were_loaded_together_is_not_copied(tmp_path: Path) -> None:
    own = text_vectors(tmp_path, Counting())
    profiles = [profile(names(20)), profile(names(20, 20)), profile(names(20, 10)), profile(["text 3", "text 1"])]
    found = list(own.fetch(profiles, ["q"] * 4))
    assert [items.base is None for items, _ in found] == [False, False, False, True]
    assert np.array_equal(found[2][0], matrix(names(20, 10)))
    assert np.array_equal(found[3][0], matrix(["text 3", "text 1"]))


def test_a_profile_is_known_by_its_object_alone(tmp_path: Path) -> None:
    own = text_vectors(tmp_path, Counting())
    for number in range(200):  # short-lived tuples, whose addresses would be used again
        assert np.array_equal(read(own, [f"only {number}"]), matrix([f"only {number}"]))


@pytest.mark.parametrize("size", [1, 7, 40, 100])
def test_memory_that_is_used_up_is_begun_anew(tmp_path: Path, size: int) -> None:
    encoder = Counting()
    room, item = 40, 4 * 8 + 2 * (64 + 8)
    own = text_vectors(tmp_path, encoder, memory=room * item)
    for number in range(60):
        texts = [*names(size, 5 * number), "text 0"]
        assert np.array_equal(read(own, texts), matrix(texts))
        assert own._used <= (room + 2 * size + 2) * item
        assert len(own._rows) <= room + 2 * size + 2
    assert own._matrix.nbytes <= max(room * item, 2 * (size + 1) * 4 * 8 + room * item)
    assert len(encoder.encoded) == len(set(encoder.encoded))


def test_many_profiles_of_the_same_texts_do_not_fill_the_memory(tmp_path: Path) -> None:
    own = text_vectors(tmp_path, Counting(), memory=10_000)
    for _ in range(200):
        read(own, names(20))
        assert len(own._profiles) < 10


def test_pieces_grow_and_shrink_with_the_speed(tmp_path: Path) -> None:
    now = [0.0]
    pieces = []

    class Slow(Counting):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            pieces.append(len(texts))
            now[0] += len(texts) / 50
            return super().encode(texts)

    fetch(tmp_path, names(4000), Slow(), clock=lambda: now[0])
    assert pieces == [256, 512, 1000, 1000, 1000, 232]  # twenty seconds at 50 texts a second


# Damage


def heals(folder: Path, texts: Sequence[str]) -> None:
    """No damage is believed, and none is left after two readings: writing may show what reading does not."""
    fetch(folder, texts)
    fetch(folder, texts)
    assert fetch(folder, texts) == []


def test_an_altered_row_is_encoded_again_and_no_other(tmp_path: Path) -> None:
    fetch(tmp_path, names(300))
    content = (tmp_path / NAME).read_bytes()
    for number in (17, 200):
        flip(tmp_path / NAME, content.index(vector(f"text {number}").tobytes()) + 9, 1)
    assert fetch(tmp_path, names(10)) == []
    assert fetch(tmp_path, names(300)) == ["text 17", "text 200"]
    assert fetch(tmp_path, names(300)) == []
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("value", ["NULL", "7", "1.5", "'text'", "zeroblob(32)", "x''", "x'00' || vector"])
@pytest.mark.parametrize("column", ["checksum", "vector"])
def test_a_row_with_values_of_another_type_is_encoded_again(tmp_path: Path, column: str, value: str) -> None:
    fetch(tmp_path, names(5))
    database = sqlite3.connect(tmp_path / NAME)
    database.execute("CREATE TABLE loose (key UNIQUE, checksum, vector)")
    database.execute(f"INSERT INTO loose SELECT key, {value if column == 'checksum' else 'checksum'}, "
                     f"{value if column == 'vector' else 'vector'} FROM vectors")  # fmt: skip
    database.executescript("DROP TABLE vectors; ALTER TABLE loose RENAME TO vectors;")
    database.close()
    assert fetch(tmp_path, names(5)) == names(5)
    assert fetch(tmp_path, names(5)) == []


def test_another_models_rows_are_never_read(tmp_path: Path) -> None:
    VectorCache(tmp_path / NAME, OTHER).put(digests(names(5)), np.ones((5, 8), np.float32))
    assert fetch(tmp_path, names(5)) == names(5)
    assert fetch(tmp_path, names(5)) == []


@pytest.mark.slow
def test_no_altered_byte_is_believed(tmp_path: Path) -> None:
    path = tmp_path / NAME
    fetch(tmp_path, names(3))
    content = path.read_bytes()
    for at in [at for at, byte in enumerate(content) if byte]:
        path.write_bytes(content)
        flip(path, at)
        heals(tmp_path, names(3))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_altered_file_is_believed(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / NAME
    path.unlink(missing_ok=True)
    fetch(tmp_path, names(40))
    content = path.read_bytes()
    used = [at for at, byte in enumerate(content) if byte]
    start = data.draw(st.sampled_from(used) | st.integers(0, len(content) - 1), "start")
    change = data.draw(st.sampled_from(["bit", "cut", "zeros", "noise", "more"]), "change")
    size = 1 if change == "bit" else data.draw(st.integers(1, 20_000), "size")
    new = {
        "bit": bytes([content[start] ^ 1 << size % 8]),
        "cut": b"",
        "zeros": bytes(size),
        "noise": np.random.default_rng(size).bytes(size),
        "more": content[:size] + content[start:],
    }
    path.write_bytes(content[:start] + new[change] + (b"" if change == "cut" else content[start + size :]))
    try:
        heals(tmp_path, names(40))
    except PrlmBenchError as error:
        one_line(error)
        assert start < 100  # the file's head: a format that SQLite reads but does not write


def one_line(error: PrlmBenchError) -> None:
    assert "\n" not in str(error)
    assert error.hint


@pytest.mark.parametrize("content", [b"no database", b"x" * 100_000, b"\0" * 5000, b"SQLite format 3\0" + b"\1" * 9000])
def test_a_file_that_is_no_database_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / NAME).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert fetch(tmp_path, names(50)) == names(50)
    (message,) = caplog.messages
    assert "damaged embedding cache renamed" in message
    assert "\n" not in message
    assert (tmp_path / (NAME + BROKEN)).read_bytes() == content
    assert fetch(tmp_path, names(50)) == []


def test_another_programs_database_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = sqlite3.connect(tmp_path / NAME)
    database.execute("CREATE TABLE vectors (name TEXT)")
    database.close()
    assert fetch(tmp_path, names(5)) == names(5)
    assert fetch(tmp_path, names(5)) == []
    assert len(caplog.messages) == 1


def test_a_file_that_another_process_has_set_aside(tmp_path: Path) -> None:
    early = VectorCache(tmp_path / NAME, OURS)
    early.put(digests(["a"]), matrix(["a"]))
    (tmp_path / NAME).rename(tmp_path / "aside")
    fetch(tmp_path, ["b"])
    early.put(digests(["c"]), matrix(["c"]))
    assert fetch(tmp_path, ["a", "b", "c"]) == ["a"]


def test_a_broken_file_is_set_aside_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fetch(tmp_path, names(400))
    caches = [VectorCache(tmp_path / NAME, OURS) for _ in range(2)]
    for cache in caches:
        list(cache.get(digests(["text 0"])))
    content = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    for cache in caches:
        cache.put(digests(names(400)), matrix(names(400)))
    assert len(caplog.messages) == 1
    assert fetch(tmp_path, names(400)) == []


# Nowhere to write


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(PrlmBenchError, match=r"cannot use the embedding cache .*PRLM_BENCH_CACHE") as caught:
            fetch(folder, names(2))
        one_line(caught.value)


def test_a_cache_that_is_locked_is_one_line(tmp_path: Path) -> None:
    fetch(tmp_path, names(2))
    other = sqlite3.connect(tmp_path / NAME, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    cache = VectorCache(tmp_path / NAME, OURS, timeout=0.1)
    with pytest.raises(PrlmBenchError, match="database is locked") as caught:
        list(cache.get(digests(names(2))))
    one_line(caught.value)
    other.execute("COMMIT")
    assert len(list(cache.get(digests(names(2))))) == 2


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    fetch(tmp_path, names(2))
    largest = (tmp_path / NAME).stat().st_size + 50_000
    script = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_dense_cache import fetch, names
resource.setrlimit(resource.RLIMIT_FSIZE, ({largest}, {largest}))
fetch(Path({str(tmp_path)!r}), names(4000))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    last = ended.stderr.strip().splitlines()[-1]
    assert "PrlmBenchError: cannot use the embedding cache" in last
    done = 4000 - len(fetch(tmp_path, names(4000)))
    assert 2 <= done < 4000
    assert fetch(tmp_path, names(4000)) == []


# Several processes

FILL = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_dense_cache import Counting, fetch, names

class Slow(Counting):
    def encode(self, texts):
        print(len(texts), flush=True)
        time.sleep({pause})
        return super().encode(texts)

print("encoded", len(fetch(Path({folder!r}), names({count}), Slow(), pieces=(16, 16))), flush=True)
"""


def start(folder: Path, count: int, pause: float) -> subprocess.Popen[str]:
    script = FILL.format(tests=str(Path(__file__).parent), folder=str(folder), count=count, pause=pause)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_fill_one_cache(tmp_path: Path) -> None:
    both = [start(tmp_path, 640, 0.005) for _ in range(2)]
    for process in both:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert "encoded" in output
    assert fetch(tmp_path, names(640)) == []
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_killed_process_loses_the_piece_in_work(tmp_path: Path) -> None:
    process = start(tmp_path, 640, 0.05)
    assert process.stdout is not None
    for _ in range(6):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    finished = 640 - len(fetch(tmp_path, names(640)))
    assert 5 * 16 <= finished < 640
    assert fetch(tmp_path, names(640)) == []


def test_a_process_killed_within_a_write_leaves_what_was_there(tmp_path: Path) -> None:
    fetch(tmp_path, names(40))
    script = f"""
import os, signal, sqlite3
database = sqlite3.connect({str(tmp_path / NAME)!r}, isolation_level=None)
database.execute("PRAGMA cache_size = 4")  # so that pages are written before the end
database.execute("BEGIN")
for number in range(4000):
    database.execute("INSERT INTO vectors VALUES (?, 0, ?)", (number, bytes(32)))
database.execute("DELETE FROM vectors WHERE rowid % 2")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    assert (tmp_path / f"{NAME}-journal").exists()
    assert fetch(tmp_path, names(40)) == []
    (count,) = sqlite3.connect(tmp_path / NAME).execute("SELECT count(*) FROM vectors").fetchone()
    assert count == 40


@pytest.mark.slow
def test_processes_killed_at_any_moment_leave_a_sound_cache(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for _ in range(8):
        both = [start(tmp_path, 4000, 0.001) for _ in range(2)]
        for process in both:
            assert process.stdout is not None
            process.stdout.readline()
        time.sleep(random.random())
        for process in both:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
    done = 4000 - len(fetch(tmp_path, names(4000)))
    assert done > 0
    assert fetch(tmp_path, names(4000)) == []
