"""A file is whole or not there, and nothing else is put in the place of a link, a pipe or a device."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prlm_bench.files import replacing, scratch_path, write_whole

Command = Callable[..., Any]


def test_a_file_is_whole_or_as_before(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file"
    write_whole(path, b"first")
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target", tmp_path / "link"
    target.write_bytes(b"before")
    link.symlink_to("there/target")
    (tmp_path / "second").symlink_to(link)
    old = target.open("rb")
    write_whole(tmp_path / "second", b"after")
    assert (target.read_bytes(), link.is_symlink(), (tmp_path / "second").is_symlink()) == (b"after", True, True)
    assert old.read() == b"before", "the old content was not cut"
    old.close()
    (tmp_path / "new").symlink_to(tmp_path / "there" / "made")
    write_whole(tmp_path / "new", b"made")
    assert (tmp_path / "there" / "made").read_bytes() == b"made"
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["made", "target"]


def test_a_link_to_itself_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, number in (("loop", errno.ELOOP), (".", errno.EISDIR)):
        with pytest.raises(OSError) as caught:
            write_whole(tmp_path / name, b"x")
        assert caught.value.errno == number
        assert caught.value.filename is not None
    assert (tmp_path / "loop").is_symlink()


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    write_whole(path, b"through")
    reader.join(10)
    assert (read, path.is_fifo(), list(tmp_path.iterdir())) == ([b"through"], True, [path])


def test_a_device_stays_one(tmp_path: Path, here: Command) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "r").mkdir()
    for output in ("null", "/dev/null"):
        assert here("leaderboard", "--results", "r", "--output", output).status == 0
    assert (tmp_path / "null").is_symlink()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    try:
        os.mknod(tmp_path / "own", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except OSError:
        return  # only the superuser may make one
    write_whole(tmp_path / "own", b"x")
    assert stat.S_ISCHR((tmp_path / "own").stat().st_mode)


def test_a_full_device_is_named(here: Command, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "r").mkdir()
    assert here("leaderboard", "--results", "r", "--output", "/dev/full").mistake == (
        "/dev/full: No space left on device"
    )


@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_standard_output_goes_on_where_it_was(tmp_path: Path, mode: str) -> None:
    (tmp_path / "log").write_bytes(b"before\n")
    code = (
        "from pathlib import Path; from prlm_bench.files import write_whole; write_whole(Path('/dev/stdout'), b'x\\n')"
    )
    with (tmp_path / "log").open(mode) as log:
        assert subprocess.run([sys.executable, "-c", code], stdout=log, timeout=60).returncode == 0
    assert (tmp_path / "log").read_bytes() == (b"x\n" if mode == "wb" else b"before\nx\n")
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (piped.stdout, piped.stderr) == (b"x\n", b"")


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can guess the name; and if somebody did, the file would not be opened."""
    names = {scratch_path(tmp_path / "file").name for _ in range(100)}
    assert len(names) == 100 and all(name.startswith(".file.") and name.endswith(".tmp") for name in names)
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    monkeypatch.setattr("secrets.token_hex", lambda count: "guessed")
    scratch_path(tmp_path / "file").symlink_to(precious)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "file", b"x")
    assert precious.read_bytes() == b"precious"
    monkeypatch.undo()
    write_whole(tmp_path / ("long" * 60), b"x")
    assert (tmp_path / ("long" * 60)).read_bytes() == b"x"


def test_a_private_file_is_its_owners(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        for path, private in ((tmp_path / "private", True), (tmp_path / "file", False)):
            path.write_bytes(b"before")
            write_whole(path, b"x", private=private)
        modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("private", "file")]
    finally:
        os.umask(before)
    assert modes == [0o600, 0o644]


def test_a_dash_is_standard_output(tmp_path: Path, here: Command) -> None:
    code = "from pathlib import Path; from prlm_bench.files import write_whole; write_whole(Path('-'), b'\\0x')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path, timeout=60)
    assert (ended.stdout, ended.stderr) == (b"\0x", b"")
    (tmp_path / "r").mkdir()
    table = here("leaderboard", "--results", "r", "--output", "-")
    assert (table.status, table.stdout, table.stderr) == (0, "No finished results.\n", "")
    assert list(tmp_path.iterdir()) == [tmp_path / "r"]


@pytest.mark.parametrize("variable", ["PRLM_BENCH_CACHE", "PRLM_BENCH_DATA"])
def test_a_home_that_nobody_knows_is_one_line(here: Command, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "~nosuchuser/folder")
    said = here("data", "info", "--task", "lamp_7" if variable.endswith("DATA") else "mini_lamp_7").mistake
    assert said == "~nosuchuser/folder: the home folder is not known (write the path in full)"


def test_an_error_of_the_block_keeps_its_own_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "file"):
        (tmp_path / "missing").read_bytes()
    assert caught.value.filename == str(tmp_path / "missing")
    with pytest.raises(ConnectionError) as broken, replacing(tmp_path / "file"):
        raise ConnectionResetError(errno.ECONNRESET, "reset")
    assert broken.value.filename is None
