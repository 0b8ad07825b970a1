"""A lock has one holder at a time, outlives no process, and leaves no file behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from prlm_bench._util.locks import lock, try_lock


def test_there_is_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with lock(path):
        assert try_lock(path) is None
        assert path.is_file()
    assert not path.exists()
    held = try_lock(path)
    assert held is not None
    held.release()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_not_made_where_nobody_asks_for_it(tmp_path: Path) -> None:
    assert try_lock(tmp_path / "a.lock", create=False) is None
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        lock(tmp_path / "absent" / "a.lock")


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.lock"

    def removed(descriptor: int, *, blocking: bool) -> bool:
        path.unlink()
        return True

    with monkeypatch.context() as patch:
        patch.setattr("filelock.lock_descriptor", removed)
        assert try_lock(path) is None
    lock(path).release()


def test_waiting_ends_with_the_release(tmp_path: Path) -> None:
    path, order = tmp_path / "a.lock", []
    held = lock(path)

    def second() -> None:
        with lock(path):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    thread.join(0.1)
    order.append("first")
    held.release()
    thread.join(10)
    assert order == ["first", "second"]
    assert not path.exists()


COUNT = """
import sys
from pathlib import Path
from prlm_bench._util.locks import lock
folder = Path(sys.argv[1])
for _ in range(100):
    with lock(folder / "a.lock"):
        count = int((folder / "count").read_text())
        (folder / "count").write_text(str(count + 1))
"""


def test_processes_take_turns(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    running = [subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "300"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_the_target_of_a_link_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        try_lock(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()
