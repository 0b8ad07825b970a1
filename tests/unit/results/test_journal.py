"""A journal keeps every whole line, whatever happens to the process or to the bytes, and has one writer."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from support import made_results

from prlm_bench.errors import RunError
from prlm_bench.results import Journal, finished_ids
from prlm_bench.results._journal import _sealed

ROW, OTHER_ROW = "0123456789abcdef" * 4, "f" * 64


def record(name: str, answer: str = "x") -> dict[str, Any]:
    """A sample as a run writes it into a journal."""
    made = made_results.sample(name, "u", answer, "gold")
    del made["metrics"]
    return made


def line_of(content: dict[str, Any], row: str = ROW) -> bytes:
    return _sealed(orjson.dumps(content), row[:8].encode())


RECORDS = {name: record(name, f"{name} ünïcode \u2028 {'x' * 20}") for name in ("one", "two", "three")}
PLAIN = {name: orjson.dumps(content) for name, content in RECORDS.items()}
LINES = {name: line_of(content) for name, content in RECORDS.items()}
WHOLE = b"".join(line + b"\n" for line in LINES.values())


def append_all(journal: Journal) -> None:
    for name, line in PLAIN.items():
        journal.append(name, line)


def open_files() -> list[Path]:
    folder = Path("/proc/self/fd")
    return sorted(folder.iterdir()) if folder.is_dir() else []


def recovered(path: Path) -> list[str]:
    """The ids that a journal holds, which must be the same for a reader and for the next writer."""
    seen = finished_ids(path)
    journal = Journal(path, ROW)
    try:
        assert list(journal.lines) == list(dict.fromkeys(seen))
        for name in journal.lines:
            assert journal.read(name)["id"] == name
        return list(journal.lines)
    finally:
        journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "er" / "journal.jsonl"


def test_what_is_appended_is_in_the_file_at_once(path: Path) -> None:
    journal = Journal(path, ROW)
    assert finished_ids(path) == []
    for count, (name, line) in enumerate(PLAIN.items(), 1):
        journal.append(name, line)
        assert finished_ids(path) == list(LINES)[:count]
    assert path.read_bytes() == WHOLE
    assert {name: journal.read(name) for name in LINES} == RECORDS
    journal.close()
    assert recovered(path) == list(LINES)


def test_there_is_nothing_in_a_journal_that_is_not_there(path: Path) -> None:
    assert finished_ids(path) == []
    assert not path.parent.exists()


def test_a_sample_is_kept_once(path: Path) -> None:
    journal = Journal(path, ROW)
    append_all(journal)
    journal.append("two", orjson.dumps(record("two", "another")))
    assert journal.read("two") == RECORDS["two"]
    assert path.read_bytes() == WHOLE
    journal.close()


def test_of_two_lines_with_one_id_the_first_counts(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(WHOLE + line_of(record("one", "another")) + b"\n")
    journal = Journal(path, ROW)
    assert journal.read("one") == RECORDS["one"]
    assert list(journal.lines) == list(LINES)
    journal.close()


@pytest.mark.parametrize("kept", range(len(LINES["three"]) + 2))
def test_a_torn_last_line_is_forgotten_and_written_again(path: Path, kept: int) -> None:
    path.parent.mkdir(parents=True)
    whole_until = len(WHOLE) - len(LINES["three"]) - 1
    path.write_bytes(WHOLE[: whole_until + kept])
    ended = kept == len(LINES["three"]) + 1
    assert recovered(path) == (["one", "two", "three"] if ended else ["one", "two"])
    assert path.read_bytes() == (WHOLE if ended else WHOLE[:whole_until])
    journal = Journal(path, ROW)
    append_all(journal)
    assert {name: journal.read(name) for name in LINES} == RECORDS
    journal.close()
    assert path.read_bytes() == WHOLE


@pytest.mark.parametrize("place", range(len(LINES["two"])))
def test_a_damaged_middle_line_costs_only_its_own_sample(path: Path, place: int) -> None:
    path.parent.mkdir(parents=True)
    damaged = bytearray(WHOLE)
    damaged[len(LINES["one"]) + 1 + place] = 0
    path.write_bytes(damaged)
    assert recovered(path) == ["one", "three"]
    journal = Journal(path, ROW)
    append_all(journal)
    assert {name: journal.read(name) for name in LINES} == RECORDS
    journal.close()
    assert recovered(path) == ["one", "three", "two"]


def test_a_lost_line_break_costs_the_two_samples_beside_it(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(WHOLE.replace(b"\n", b"", 1))
    assert recovered(path) == ["three"]


@pytest.mark.parametrize("line", [b"", b"null", b"[]", b'"one"', b"{}", b'{"id": 1}', b"\xff\xfe", b"\x00" * 4096])
def test_lines_that_are_no_samples_are_passed_over(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(LINES["one"] + b"\n" + line + b"\n" + LINES["two"] + b"\n")
    assert recovered(path) == ["one", "two"]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([*LINES.values(), b"\n"]))).map(b"".join))
def test_any_bytes_can_be_recovered_and_written_on(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    recovered(path)
    journal = Journal(path, ROW)
    append_all(journal)
    assert {name: journal.read(name)["id"] for name in LINES} == {name: name for name in LINES}
    journal.close()
    assert set(LINES) <= set(recovered(path))


def test_only_one_process_may_write(path: Path) -> None:
    journal = Journal(path, ROW)
    append_all(journal)
    code = (
        "from pathlib import Path; from prlm_bench.results._journal import Journal; "
        f"Journal(Path({str(path)!r}), {ROW!r})"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert other.returncode == 1
    assert f"RunError: {path.parent} is being written by another process (wait for it, or stop it)" in other.stderr
    assert finished_ids(path) == list(LINES), "reading needs no lock"
    journal.close()
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_a_second_writer_in_this_process_is_refused_too_and_leaves_no_open_file(path: Path) -> None:
    journal = Journal(path, ROW)
    before = open_files()
    with pytest.raises(RunError, match="being written by another process"):
        Journal(path, ROW)
    assert open_files() == before
    journal.close()


def test_a_file_system_without_locks_is_good_enough(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.lock_descriptor", refuse)
    journal = Journal(path, ROW)
    append_all(journal)
    journal.close()
    assert recovered(path) == list(LINES)


def test_the_lock_of_a_killed_process_blocks_nobody_and_goes(path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from prlm_bench.results._journal import Journal; "
        f"Journal(Path({str(path)!r}), {ROW!r}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == -signal.SIGKILL
    assert sorted(file.name for file in path.parent.iterdir()) == ["journal.jsonl", "journal.jsonl.lock"]
    journal = Journal(path, ROW)
    append_all(journal)
    journal.close()
    assert [file.name for file in path.parent.iterdir()] == ["journal.jsonl"]


def test_a_journal_that_cannot_be_opened_leaves_no_lock(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        Journal(path, ROW)
    assert list(path.parent.iterdir()) == [path]


def test_a_huge_line_is_a_line(path: Path) -> None:
    text = "word " * 2_000_000
    journal = Journal(path, ROW)
    journal.append("huge", orjson.dumps(record("huge", text)))
    journal.append("one", PLAIN["one"])
    assert journal.read("huge")["answer"] == text
    journal.close()
    assert recovered(path) == ["huge", "one"]
    os.truncate(path, 9_000_000)
    assert recovered(path) == []
    assert path.stat().st_size == 0


def test_what_the_system_writes_in_parts_is_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:7]))
    journal = Journal(path, ROW)
    append_all(journal)
    assert {name: journal.read(name) for name in LINES} == RECORDS
    journal.close()
    assert path.read_bytes() == WHOLE
