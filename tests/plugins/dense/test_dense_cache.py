"""The embedding cache: what it holds is what was written, whatever happens to its files. No model is needed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from prlm_bench_plugins.dense import memory, merge, segment, store, vectors
from prlm_bench_plugins.dense.digests import DigestTable, digests_of
from prlm_bench_plugins.dense.segment import BLOCK, BrokenSegmentError, Segment, write_segment
from prlm_bench_plugins.dense.store import SUFFIX, VectorStore
from prlm_bench_plugins.dense.vectors import TextVectors

from prlm_bench import Document
from prlm_bench.errors import PrlmBenchError

OURS, OTHER = b"m" * 32, b"n" * 32


def vector(text: str, dims: int = 8) -> np.ndarray:
    """A vector that belongs to the text and no other."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    return np.random.default_rng(seed).standard_normal(dims, dtype=np.float32)


class Counting:
    """An encoder that gives `vector` and notes what it was asked."""

    def __init__(self, dims: int = 8) -> None:
        self.asked: list[str] = []
        self._dims = dims

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.stack([vector(text, self._dims) for text in texts])


def profile(texts: Sequence[str]) -> tuple[Document, ...]:
    return tuple([Document(str(number), text, {}) for number, text in enumerate(texts)])


def names(count: int, start: int = 0) -> list[str]:
    return [f"text {number}" for number in range(start, start + count)]


def matrix(texts: Sequence[str], dims: int = 8) -> np.ndarray:
    return np.stack([vector(text, dims) for text in texts])


def write(path: Path, texts: Sequence[str], dims: int = 8, identity: bytes = OURS) -> np.ndarray:
    rows = matrix(texts, dims)
    write_segment(path, identity, digests_of(texts), dims, lambda first, last: rows[first:last])
    return rows


def fetch(folder: Path, texts: Sequence[str], encoder: Counting | None = None, dims: int = 8) -> Counting:
    """Read the vectors of `texts` as a new process would, and check them; gives what had to be encoded."""
    encoder = encoder or Counting(dims)
    (rows,), _ = TextVectors(VectorStore(folder, OURS), lambda: encoder).fetch([profile(texts)], [])
    assert np.array_equal(rows.read(), matrix(texts, dims))
    return encoder


# Digests


def test_a_table_finds_what_was_added_first() -> None:
    table, known = DigestTable(), {}
    random = np.random.default_rng(0)
    for round_ in range(30):
        texts = [f"t{number}" for number in random.integers(0, 3000, random.integers(1, 200))]
        places = np.arange(len(texts)) + 1000 * round_
        table.add(digests_of(texts), places)
        for text, place in zip(texts, places.tolist(), strict=True):
            known.setdefault(text, place)
    asked = [f"t{number}" for number in range(3000)]
    assert table.find(digests_of(asked)).tolist() == [known.get(text, -1) for text in asked]


def test_a_table_tells_digests_with_one_high_word_apart() -> None:
    digests = np.array([[7, 3], [7, 1], [7, 2], [9, 3]], np.uint64)
    table = DigestTable()
    table.add(digests, np.arange(4))
    assert table.find(digests).tolist() == [0, 1, 2, 3]
    assert table.find(np.array([[7, 4], [8, 1], [9, 4]], np.uint64)).tolist() == [-1, -1, -1]
    table.drop(1, 3)
    assert table.find(digests).tolist() == [0, -1, -1, 3]


def test_after_a_drop_the_next_of_equal_digests_counts() -> None:
    table = DigestTable()
    table.add(digests_of(["a", "b"]), np.array([0, 1]))
    table.add(digests_of(["b"]), np.array([2]))
    table.drop(1, 2)
    assert table.find(digests_of(["a", "b"])).tolist() == [0, 2]


def test_lone_surrogates_have_a_digest() -> None:
    odd = digests_of(["a\ud800b", "a\ufffdb", "\ud83d\ude00", "\U0001f600"])
    assert (odd[0] == odd[1]).all()
    assert (odd[2] == odd[3]).all()
    assert (odd[0] != odd[2]).any()


# Segments


@pytest.mark.parametrize(("count", "dims"), [(1, 1), (3, 8), (BLOCK, 4), (BLOCK + 1, 4), (2500, 128)])
def test_a_segment_holds_what_was_written(tmp_path: Path, count: int, dims: int) -> None:
    texts = names(count)
    rows = write(tmp_path / "a", texts, dims)
    opened = Segment(tmp_path / "a", OURS)
    assert np.array_equal(opened.vectors, rows)
    assert np.array_equal(opened.digests, digests_of(texts))
    assert opened.damaged(np.arange(count)) == []
    opened.release()
    assert np.array_equal(opened.vectors, rows)
    with pytest.raises(ValueError, match="read-only"):
        opened.vectors[0] = 0
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def served(path: Path, rows: np.ndarray) -> bool:
    """True where a reader would believe all rows; they must then be right."""
    try:
        opened = Segment(path, OURS)
    except BrokenSegmentError:
        return False
    if opened.damaged(np.arange(len(opened.vectors))):
        return False
    assert np.array_equal(opened.vectors, rows)
    assert np.array_equal(opened.digests, digests_of(names(len(rows))))
    return True


def test_no_changed_byte_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    rows = write(path, names(3))
    content = path.read_bytes()
    unused = 0
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 0x10
        path.write_bytes(changed)
        unused += served(path, rows)
    assert unused == (128 - 56 - 32) + (192 - 128 - 3 * 16 - 4)  # what fills up head and tables


def test_no_cut_file_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    rows = write(path, names(3))
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert not served(path, rows)
    path.write_bytes(content + b"\0")
    assert not served(path, rows)


def test_another_models_segment_is_never_read(tmp_path: Path) -> None:
    write(tmp_path / f"0{SUFFIX}", names(5), identity=OTHER)
    assert len(fetch(tmp_path, names(5)).asked) == 5
    assert len(list(tmp_path.glob(f"*{SUFFIX}"))) == 1


# The store


def test_a_text_is_encoded_once_ever(tmp_path: Path) -> None:
    assert fetch(tmp_path, names(600)).asked == names(600)
    assert fetch(tmp_path, names(700)).asked == names(100, 600)
    assert fetch(tmp_path, names(700)[::-1]).asked == []
    assert fetch(tmp_path, ["text 3", "text 650", "text 3"]).asked == []


def test_equal_texts_in_one_call_are_encoded_once(tmp_path: Path) -> None:
    encoder = Counting()
    texts = TextVectors(VectorStore(tmp_path, OURS), lambda: encoder, "q: ", "q: ")
    items, queries = texts.fetch([profile(["a", "b", "a"]), profile(["b", "c"])], ["c", "a", "\ud800", "\ufffd"])
    assert sorted(encoder.asked) == ["q: a", "q: b", "q: c", "q: \ufffd"]
    assert np.array_equal(items[0].read(), matrix(["q: a", "q: b", "q: a"]))
    assert np.array_equal(items[1].read(), matrix(["q: b", "q: c"]))
    assert np.array_equal(queries[1].read(), matrix(["q: a"]))
    assert np.array_equal(queries[2].read(), queries[3].read())


def test_an_item_and_a_query_of_one_text_have_their_own_prefixes(tmp_path: Path) -> None:
    encoder = Counting()
    texts = TextVectors(VectorStore(tmp_path, OURS), lambda: encoder, "query: ", "item: ")
    (items,), (query,) = texts.fetch([profile(["x"])], ["x"])
    assert np.array_equal(items.read(), matrix(["item: x"]))
    assert np.array_equal(query.read(), matrix(["query: x"]))


def test_a_profile_that_was_encoded_in_order_is_one_slice(tmp_path: Path) -> None:
    texts = TextVectors(VectorStore(tmp_path, OURS), Counting)
    items, _ = texts.fetch([profile(names(20)), profile(names(20, 20)), profile(names(20, 10))], ["q"])
    assert [type(rows).__name__ for rows in items] == ["_Together"] * 3


def test_a_reader_takes_in_what_others_have_written_meanwhile(tmp_path: Path) -> None:
    late = Counting()
    texts = TextVectors(VectorStore(tmp_path, OURS), lambda: late)
    texts.fetch([profile(names(3))], [])
    fetch(tmp_path, names(10))
    (rows,), _ = texts.fetch([profile(names(12))], [])
    assert np.array_equal(rows.read(), matrix(names(12)))
    assert late.asked == [*names(3), *names(2, 10)]


def test_a_damaged_block_is_encoded_again_and_no_other(tmp_path: Path) -> None:
    texts = names(3 * BLOCK)
    write(make_folder(tmp_path) / f"0{SUFFIX}", texts)
    path = tmp_path / f"0{SUFFIX}"
    content = bytearray(path.read_bytes())
    content[-BLOCK * 8 * 4 - 10] ^= 1  # in the second block
    path.write_bytes(content)
    assert fetch(tmp_path, texts[:BLOCK]).asked == []
    assert fetch(tmp_path, texts).asked == texts[BLOCK : 2 * BLOCK]
    assert fetch(tmp_path, texts).asked == []


def make_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * len(b)])
def test_a_broken_file_is_encoded_again(tmp_path: Path, damage: object) -> None:
    fetch(tmp_path, names(50))
    (path,) = tmp_path.glob(f"*{SUFFIX}")
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert fetch(tmp_path, names(50)).asked == names(50)
    assert fetch(tmp_path, names(50)).asked == []
    assert not path.exists()


def test_the_older_of_two_vectors_counts(tmp_path: Path) -> None:
    write(tmp_path / f"2{SUFFIX}", ["a", "b"])
    rows = np.ones((1, 8), np.float32)
    write_segment(tmp_path / f"1{SUFFIX}", OURS, digests_of(["b"]), 8, lambda *_: rows)
    opened = VectorStore(tmp_path, OURS)
    opened.refresh()
    assert opened.find(digests_of(["a", "b"])).tolist() == [1 << 32, 0]


def test_many_small_segments_are_put_together(tmp_path: Path) -> None:
    encoder = Counting()
    texts = TextVectors(VectorStore(tmp_path, OURS), lambda: encoder)
    for number in range(200):
        (rows,), _ = texts.fetch([profile(names(3, 2 * number))], [])
        assert np.array_equal(rows.read(), matrix(names(3, 2 * number)))
    assert encoder.asked == names(401)
    assert len(list(tmp_path.glob(f"*{SUFFIX}"))) < 3 * merge.CROWD
    assert fetch(tmp_path, names(401)).asked == []
    # A profile seen before the files were merged is found again.
    (rows,), _ = texts.fetch([profile(names(401))], [])
    assert np.array_equal(rows.read(), matrix(names(401)))


def test_merging_leaves_out_what_is_damaged(tmp_path: Path) -> None:
    for number in range(merge.CROWD):
        write(tmp_path / f"{number:02d}{SUFFIX}", names(4, 4 * number))
    for number, at in ((2, -1), (3, 3)):  # a vector, and a head
        path = tmp_path / f"{number:02d}{SUFFIX}"
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)
    assert merge.merge_crowd(tmp_path, SUFFIX, OURS)
    assert [path.name.partition("-")[0] for path in tmp_path.glob(f"*{SUFFIX}")] == [f"00{SUFFIX}"]
    assert fetch(tmp_path, names(4 * merge.CROWD)).asked == names(8, 8)


def test_a_merge_that_another_process_is_at_is_left_to_it(tmp_path: Path) -> None:
    import fcntl

    for number in range(merge.CROWD):
        write(tmp_path / f"{number:02d}{SUFFIX}", names(4, 4 * number))
    with (tmp_path / "merge.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not merge.merge_crowd(tmp_path, SUFFIX, OURS)
        assert fetch(tmp_path, names(4 * merge.CROWD)).asked == []
    assert merge.merge_crowd(tmp_path, SUFFIX, OURS)


def test_an_open_reader_goes_on_while_files_are_merged(tmp_path: Path) -> None:
    for number in range(merge.CROWD - 1):
        write(tmp_path / f"{number:02d}{SUFFIX}", names(400, 400 * number), 1024)
    everything = names(400 * (merge.CROWD - 1))
    texts = TextVectors(VectorStore(tmp_path, OURS), lambda: Counting(1024))
    (rows,), _ = texts.fetch([profile(everything)], [])
    write(tmp_path / f"99{SUFFIX}", names(400, 10**6), 1024)
    fetch(tmp_path, everything, dims=1024)
    assert len(list(tmp_path.glob(f"*{SUFFIX}"))) == 1
    assert np.array_equal(rows.read(), matrix(everything, 1024))


def test_abandoned_temporary_files_are_swept_up(tmp_path: Path) -> None:
    old, young = tmp_path / f".old{SUFFIX}.tmp", tmp_path / f".young{SUFFIX}.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * store._ABANDONED,) * 2)
    fetch(tmp_path, names(2))
    assert young.exists()
    assert not old.exists()


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PrlmBenchError, match=r"cannot use the embedding cache .*PRLM_BENCH_CACHE") as caught:
        fetch(tmp_path / "file" / "below", names(2))
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(segment.os, "fsync", full)
        with pytest.raises(PrlmBenchError, match="No space left on device"):
            fetch(tmp_path, names(2))
    assert list(tmp_path.iterdir()) == []
    assert len(fetch(tmp_path, names(2)).asked) == 2


@pytest.mark.parametrize(("room", "expected"), [(1 << 20, 4), (3 << 20, 0)])
def test_pages_of_a_large_cache_are_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, expected: int
) -> None:
    texts = names(3000)
    write(tmp_path / f"0{SUFFIX}", texts, 128)  # 1.5 MB
    monkeypatch.setattr(store, "_MAPPED", room)
    released = []
    monkeypatch.setattr(Segment, "release", lambda self: released.append(self))
    own = TextVectors(VectorStore(tmp_path, OURS), Counting)
    (rows,), _ = own.fetch([profile(texts)], [])
    for _ in range(4):
        own.release(3000)
    assert len(released) == expected
    assert np.array_equal(rows.read(), matrix(texts, 128))


def test_memory_forgets_the_oldest(tmp_path: Path) -> None:
    kept = memory.Memory(room=300)
    groups = [memory.Group(object(), "", ["x" * 36]) for _ in range(4)]
    assert groups[0].weight == 100
    for key, group in enumerate(groups):
        kept.keep(key, group, object())  # type: ignore[arg-type]
    assert [key in kept for key in range(4)] == [False, True, True, True]
    kept.clear()
    assert 3 not in kept


def test_a_remembered_profile_is_known_by_its_object_alone(tmp_path: Path) -> None:
    encoder = Counting()
    own = TextVectors(VectorStore(tmp_path, OURS), lambda: encoder)
    for number in range(200):  # short-lived tuples, whose addresses are used again
        (rows,), _ = own.fetch([profile([f"only {number}"])], [])
        assert np.array_equal(rows.read(), matrix([f"only {number}"]))


def test_pieces_grow_and_shrink_with_the_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(vectors.time, "monotonic", lambda: now[0])

    pieces = []

    class Slow(Counting):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            pieces.append(len(texts))
            now[0] += len(texts) / 50
            return super().encode(texts)

    fetch(tmp_path, names(4000), Slow())
    assert pieces == [256, 512, 1000, 1000, 1000, 232]  # twenty seconds at 50 texts a second


# Several processes

FILL = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from prlm_bench_plugins.dense import vectors
from test_dense_cache import Counting, fetch, names

vectors._FIRST = vectors._MOST = 16

class Slow(Counting):
    def encode(self, texts):
        print(len(texts), flush=True)
        time.sleep({pause})
        return super().encode(texts)

print("encoded", len(fetch(Path({folder!r}), names({count}), Slow()).asked), flush=True)
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
    assert fetch(tmp_path, names(640)).asked == []
    assert list(tmp_path.glob(".*.tmp")) == []


def test_a_killed_process_loses_the_piece_in_work(tmp_path: Path) -> None:
    process = start(tmp_path, 640, 0.05)
    assert process.stdout is not None
    for _ in range(6):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    finished = 640 - len(fetch(tmp_path, names(640)).asked)
    assert 5 * 16 <= finished < 640
    assert fetch(tmp_path, names(640)).asked == []


@pytest.mark.slow
def test_processes_killed_at_any_moment_leave_a_sound_cache(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for _ in range(8):
        both = [start(tmp_path, 4000, 0.001) for _ in range(2)]
        time.sleep(1 + random.random() * 2)
        for process in both:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
    done = 4000 - len(fetch(tmp_path, names(4000)).asked)
    assert done > 0
    assert fetch(tmp_path, names(4000)).asked == []
