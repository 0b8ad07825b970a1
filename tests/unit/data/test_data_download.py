"""Downloads against a local server that behaves as badly as real ones do."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from prlm_bench.data import _pace, download
from prlm_bench.errors import DataError
from prlm_bench.tasks import TaskRegistry

BOOK = TaskRegistry()
TASK = BOOK.get("lamp_7")
QUESTIONS = json.dumps([{"id": str(place), "input": "x" * 50, "profile": []} for place in range(4000)]).encode()
OUTPUTS = json.dumps({"task": "LaMP_7", "golds": [{"id": "0", "output": "x"}]}).encode()


@dataclass
class Server:
    """What the server holds, how it misbehaves, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"v1"'
    last_modified: str | None = None
    #: For each request in turn: a status to answer, or after how many bytes to drop the connection.
    statuses: list[int] = field(default_factory=list)
    drops: list[int | None] = field(default_factory=list)
    ranges: bool = True
    #: Added to the Content-Length that is sent.
    lie: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    before: Callable[[], None] = lambda: None
    #: Whole replies to send in turn, as bytes; and the pieces and pauses in which another one comes.
    raw: list[bytes] = field(default_factory=list)
    slow: tuple[list[bytes], float] | None = None

    def ranges_asked(self) -> list[str | None]:
        return [request.get("Range") for request in self.asked]


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append({"path": self.path, **dict(self.headers)})
            server.before()
            if server.raw or server.slow:
                self.close_connection = True
                pieces, pause = server.slow or ([server.raw.pop(0)], 0.0)
                with suppress(OSError):  # the client is gone
                    for piece in pieces:
                        self.wfile.write(piece)
                        time.sleep(pause)
                return
            if server.statuses and (status := server.statuses.pop(0)) != 200:
                self.send_response(status)
                self.send_header("Retry-After", "0")
                self.end_headers()
                return
            content = server.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self._send(content)

        def _send(self, content: bytes) -> None:
            start, asked = 0, self.headers.get("Range")
            condition = self.headers.get("If-Range")
            if asked and server.ranges and condition in (server.etag, server.last_modified):
                start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start + server.lie))
            validators = {"ETag": server.etag, "Last-Modified": server.last_modified, **server.headers}
            for name, value in validators.items():
                if value is not None:
                    self.send_header(name, value)
            self.end_headers()
            drop = server.drops.pop(0) if server.drops else None
            self.wfile.write(content[start:] if drop is None else content[start : start + drop])
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    state = Server(files={"/LaMP_7/dev/dev_questions.json": QUESTIONS, "/LaMP_7/dev/dev_outputs.json": OUTPUTS})
    real = ThreadingHTTPServer(("127.0.0.1", 0), handler(state))
    state.url = f"http://127.0.0.1:{real.server_address[1]}/"
    thread = threading.Thread(target=real.serve_forever, args=(0.01,))
    thread.start()
    yield state
    real.shutdown()
    real.server_close()
    thread.join()


def fetch(server: Server, root: Path, splits: tuple[str, ...] = ("dev",), **options: Any) -> list[Any]:
    return download(TASK, root, splits, server.url, **{"backoff": 0.0, "retries": 3, **options})


def whole(root: Path) -> None:
    """The folder holds both files, exactly, their record, and nothing else."""
    assert (root / "dev" / "dev_questions.json").read_bytes() == QUESTIONS
    assert (root / "dev" / "dev_outputs.json").read_bytes() == OUTPUTS
    assert sorted(path.name for path in (root / "dev").iterdir()) == ["dev_outputs.json", "dev_questions.json"]
    record = json.loads((root / "checksums.json").read_text())["dev/dev_questions.json"]
    assert record["sha256"] == hashlib.sha256(QUESTIONS).hexdigest()
    assert record["bytes"] == len(QUESTIONS)


def test_files_come_whole_and_are_recorded(server: Server, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    fetched = fetch(server, tmp_path, progress=lambda name, done, total: told.append((name, done, total)))
    whole(tmp_path)
    assert [(file.path.name, file.action, file.size) for file in fetched] == [
        ("dev_questions.json", "downloaded", len(QUESTIONS)),
        ("dev_outputs.json", "downloaded", len(OUTPUTS)),
    ]
    assert told[-1] == ("dev_outputs.json", len(OUTPUTS), len(OUTPUTS))
    assert ("dev_questions.json", len(QUESTIONS), len(QUESTIONS)) in told


def test_what_is_there_is_verified_not_fetched(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    server.asked.clear()
    assert [file.action for file in fetch(server, tmp_path)] == ["verified", "verified"]
    assert server.asked == []
    (tmp_path / "dev" / "dev_questions.json").write_bytes(b"[]")
    with pytest.raises(DataError, match="SHA-256 differs") as caught:
        fetch(server, tmp_path)
    assert "--force" in caught.value.hint
    assert [file.action for file in fetch(server, tmp_path, force=True)] == ["downloaded", "downloaded"]
    whole(tmp_path)
    (tmp_path / "checksums.json").write_text("{")
    with pytest.raises(DataError, match=r"checksums.json: the file is cut off"):
        fetch(server, tmp_path)


def test_a_file_of_the_users_own_is_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "dev_questions.json").write_bytes(b"[]")
    assert [file.action for file in fetch(server, tmp_path)] == ["kept", "downloaded"]
    assert (tmp_path / "dev" / "dev_questions.json").read_bytes() == b"[]"


def test_a_failed_forced_download_leaves_the_old_file(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    server.drops = [1000] * 20
    server.ranges = False
    with pytest.raises(DataError, match="stopped at"):
        fetch(server, tmp_path, force=True)
    assert (tmp_path / "dev" / "dev_questions.json").read_bytes() == QUESTIONS


def test_dropped_connections_are_taken_up(server: Server, tmp_path: Path) -> None:
    server.drops = [50_000] * 4
    fetch(server, tmp_path, retries=1)
    whole(tmp_path)
    assert server.ranges_asked()[:3] == [None, "bytes=50000-", "bytes=100000-"]
    assert all(request["If-Range"] == '"v1"' for request in server.asked if "Range" in request)


def test_the_next_call_goes_on(server: Server, tmp_path: Path) -> None:
    server.drops = [50_000, 0]
    with pytest.raises(DataError, match=f"stopped at 50000 of {len(QUESTIONS)} bytes"):
        fetch(server, tmp_path, retries=0)
    assert not (tmp_path / "dev" / "dev_questions.json").exists()
    server.asked.clear()
    server.drops = []
    fetch(server, tmp_path)
    whole(tmp_path)
    assert server.ranges_asked()[0] == "bytes=50000-"


@pytest.mark.parametrize("last_modified", ["Mon, 01 Jan 2024 00:00:00 GMT", None])
def test_last_modified_serves_for_a_weak_etag(server: Server, tmp_path: Path, last_modified: str | None) -> None:
    server.etag, server.last_modified = 'W/"v1"', last_modified
    server.drops = [50_000]
    fetch(server, tmp_path)
    whole(tmp_path)
    assert server.asked[1].get("If-Range") == last_modified


def test_a_server_that_ignores_ranges(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.drops = [50_000, 100_000]
    fetch(server, tmp_path)
    whole(tmp_path)


def test_a_server_that_never_gets_further_is_given_up(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.drops = [50_000] * 50
    with pytest.raises(DataError, match="stopped at"):
        fetch(server, tmp_path, retries=3)
    assert len(server.asked) == 4


def test_a_file_that_changes_between_tries_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    old = QUESTIONS.replace(b"x", b"y")
    server.files["/LaMP_7/dev/dev_questions.json"] = old
    server.drops = [50_000]

    def change() -> None:
        if len(server.asked) == 2:
            server.etag = '"v2"'
            server.files["/LaMP_7/dev/dev_questions.json"] = QUESTIONS

    server.before = change
    fetch(server, tmp_path)
    whole(tmp_path)
    assert server.ranges_asked()[:2] == [None, "bytes=50000-"]


def test_the_rest_of_another_version_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["/LaMP_7/dev/dev_questions.json"] = QUESTIONS.replace(b"x", b"y")
    server.drops = [50_000]

    def change() -> None:
        if len(server.asked) == 2:
            # This server minds ranges but not If-Range.
            server.headers = {"ETag": '"v2"'}
            server.files["/LaMP_7/dev/dev_questions.json"] = QUESTIONS
        if len(server.asked) == 3:
            server.headers, server.etag = {}, '"v2"'

    server.before = change
    fetch(server, tmp_path)
    whole(tmp_path)
    assert server.ranges_asked()[:3] == [None, "bytes=50000-", None]


@pytest.mark.parametrize("status", [503, 500, 429, 408])
def test_passing_errors_of_the_server_are_waited_out(server: Server, tmp_path: Path, status: int) -> None:
    server.statuses = [status, status, 200]
    fetch(server, tmp_path)
    whole(tmp_path)


def test_an_error_while_going_on_keeps_the_part(server: Server, tmp_path: Path) -> None:
    server.drops = [50_000]
    server.statuses = [200, 503, 503]
    fetch(server, tmp_path)
    whole(tmp_path)
    assert server.ranges_asked()[:4] == [None, "bytes=50000-", "bytes=50000-", "bytes=50000-"]


def test_a_server_that_stays_away(server: Server, tmp_path: Path) -> None:
    server.statuses = [503] * 20
    with pytest.raises(DataError, match="the server answers 503"):
        fetch(server, tmp_path)
    assert list((tmp_path / "dev").iterdir()) == []


def test_waits_double_and_follow_the_server(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    server.statuses = [503] * 20
    with pytest.raises(DataError):
        fetch(server, tmp_path, backoff=1.0)
    assert waits == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("lie", [-1, -1000])
def test_a_length_that_is_too_short_is_noticed(server: Server, tmp_path: Path, lie: int) -> None:
    server.lie = lie
    with pytest.raises(DataError, match="no whole JSON file but something from '\\['"):
        fetch(server, tmp_path)
    assert list((tmp_path / "dev").iterdir()) == []


def test_a_length_that_is_too_long_is_noticed(server: Server, tmp_path: Path) -> None:
    server.lie = 5
    server.ranges = False
    with pytest.raises(DataError, match=rf"stopped at {len(QUESTIONS)} of {len(QUESTIONS) + 5} bytes"):
        fetch(server, tmp_path)
    assert not (tmp_path / "dev" / "dev_questions.json").exists()
    server.lie, server.ranges = 0, True
    fetch(server, tmp_path)
    whole(tmp_path)


def test_web_pages_and_coded_content_are_no_data(server: Server, tmp_path: Path) -> None:
    server.files["/LaMP_7/dev/dev_questions.json"] = b"<html>log in</html>"
    with pytest.raises(DataError, match="a web page"):
        fetch(server, tmp_path)
    server.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(DataError, match="gzip-coded"):
        fetch(server, tmp_path)


def test_missing_and_refused_files(server: Server, tmp_path: Path) -> None:
    server.statuses = [403]
    with pytest.raises(DataError, match="the server answers 403 Forbidden"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1
    with pytest.raises(DataError, match=r"train_questions.json: there is no such file on the server \(404"):
        fetch(server, tmp_path, ("train",))
    del server.files["/LaMP_7/dev/dev_outputs.json"]
    with pytest.raises(DataError, match=r"dev_outputs.json: there is no such file"):
        fetch(server, tmp_path)
    server.files["/LaMP_7/test/test_questions.json"] = QUESTIONS
    assert [file.path.name for file in fetch(server, tmp_path, ("test",))] == ["test_questions.json"]


def test_offline(server: Server, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    with pytest.raises(DataError, match=r"127.0.0.1 cannot be reached: ") as caught:
        fetch(server, tmp_path)
    assert "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; none is set" in caught.value.hint
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "dev").iterdir()) == []


def test_the_proxy_of_the_environment_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", "")
    for path in list(server.files):
        server.files["http://lamp.invalid/files" + path] = server.files.pop(path)
    server.url = "http://lamp.invalid/files"
    fetch(server, tmp_path)
    whole(tmp_path)
    monkeypatch.setenv("HTTP_PROXY", "nonsense://x")
    with pytest.raises(DataError, match="the proxy cannot be used") as caught:
        fetch(server, tmp_path, force=True)
    assert "HTTP_PROXY is set" in caught.value.hint


def test_an_address_that_is_none(server: Server, tmp_path: Path) -> None:
    server.url = "ftp://127.0.0.1/"
    with pytest.raises(DataError, match="not an http or https address"):
        fetch(server, tmp_path)


def test_a_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(DataError, match=rf"the disk is full: {len(QUESTIONS)} bytes are needed, 10 are free"):
        fetch(server, tmp_path)


def test_a_disk_that_becomes_full(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="the disk is full") as caught:
        fetch(server, tmp_path)
    assert caught.value.hint == "make room, then repeat the command to resume"
    monkeypatch.undo()
    fetch(server, tmp_path)
    whole(tmp_path)


def test_one_process_at_a_time(server: Server, tmp_path: Path) -> None:
    seen: list[str] = []

    def second() -> None:
        if len(server.asked) == 1:
            with pytest.raises(DataError, match="another process is downloading") as caught:
                fetch(server, tmp_path)
            seen.append(str(caught.value))

    server.before = second
    fetch(server, tmp_path)
    whole(tmp_path)
    assert len(seen) == 1


def test_tasks_without_a_download(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lamp_6 has no download: its data are not public"):
        download(BOOK.get("lamp_6"), tmp_path, ["dev"])
    with pytest.raises(DataError, match="has no download: its data are made here") as caught:
        download(BOOK.get("mini_lamp_4"), tmp_path, ["dev"])
    assert "prlm-bench data synth" in caught.value.hint
    with pytest.raises(DataError, match="is not a split's name"):
        download(TASK, tmp_path, ["../dev"])


def test_a_password_in_the_address_is_stored_and_shown_nowhere(server: Server, tmp_path: Path) -> None:
    address = server.url.replace("http://", "http://name:secret@")
    server.statuses, server.drops = [200, 503], [10]
    with pytest.raises(DataError) as caught:
        download(TASK, tmp_path, ["dev"], address, retries=0, backoff=0)
    assert "secret" not in str(caught.value) and server.url in str(caught.value)
    assert all("secret" not in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    fetched = download(TASK, tmp_path, ["dev"], address, backoff=0)
    assert all(request["Authorization"].startswith("Basic ") for request in server.asked)
    assert server.asked[-2]["Range"] == "bytes=10-"
    assert [file.url for file in fetched] == [
        f"{server.url}LaMP_7/dev/dev_{name}.json" for name in ("questions", "outputs")
    ]
    assert all("secret" not in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert [file.action for file in download(TASK, tmp_path, ["dev"], address)] == ["verified"] * 2


# Hostile servers and folders


def part_of(root: Path) -> Path:
    return root / "dev" / "dev_questions.json.part"


def begin(server: Server, root: Path, size: int = 50_000) -> None:
    """Leave a part of the questions behind, with the note of its version."""
    server.drops = [size]
    with pytest.raises(DataError, match=f"stopped at {size}"):
        fetch(server, root, retries=0)
    server.asked.clear()


def reply(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def rest(done: int, *headers: str, content: bytes = QUESTIONS) -> bytes:
    """A part of the file, from byte `done` on."""
    span = f"Content-Range: bytes {done}-{len(content) - 1}/{len(content)}"
    return reply("206 Partial Content", content[done:], span, *headers)


@pytest.mark.parametrize("suffix", ["", ".json"])
@pytest.mark.parametrize("plant", [Path.symlink_to, Path.hardlink_to])
def test_what_is_planted_for_a_part_is_not_written_through(
    server: Server, tmp_path: Path, suffix: str, plant: Callable[[Path, Path], None]
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("{}")
    root = tmp_path / "root"
    (root / "dev").mkdir(parents=True)
    planted = part_of(root).with_name(part_of(root).name + suffix)
    plant(planted, precious)
    with pytest.raises(DataError, match="not a file of an earlier download") as caught:
        fetch(server, root)
    assert caught.value.hint == "remove it, and repeat the command"
    assert precious.read_text() == "{}"
    planted.unlink(missing_ok=True)
    os.mkfifo(planted)
    with pytest.raises(DataError, match="not a file of an earlier download"):
        fetch(server, root)
    planted.unlink()
    planted.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="not a file of an earlier download"):
        fetch(server, root)
    assert not (tmp_path / "nowhere").exists()
    planted.unlink()
    fetch(server, root)
    whole(root)


@pytest.mark.parametrize(
    "named",
    [
        (),
        ('ETag: "v2"',),
        ('ETag: W/"v1"',),
        ("Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT",),
        ('ETag: "v1"', "Last-Modified: Tue, 02 Jan 2024 00:00:00 GMT"),
        ('ETag: "v1"', f"Content-Range: bytes 50000-{len(QUESTIONS)}/{len(QUESTIONS) + 1}"),
    ],
)
def test_a_rest_that_does_not_say_that_it_is_of_this_version_is_fetched_anew(
    server: Server, tmp_path: Path, named: tuple[str, ...]
) -> None:
    server.last_modified = "Mon, 01 Jan 2024 00:00:00 GMT"
    begin(server, tmp_path)
    other = QUESTIONS.replace(b"x", b"y")
    ranged = any(line.startswith("Content-Range") for line in named)
    server.raw = [reply("206 Partial", other[50_000:], *named) if ranged else rest(50_000, *named, content=other)]
    fetch(server, tmp_path)
    whole(tmp_path)
    assert server.ranges_asked()[:2] == ["bytes=50000-", None]


@pytest.mark.parametrize("last_modified", ["Tue, 02 Jan 2024 00:00:00 GMT", None])
def test_a_date_alone_has_to_be_the_same(server: Server, tmp_path: Path, last_modified: str | None) -> None:
    server.etag, server.last_modified = None, "Mon, 01 Jan 2024 00:00:00 GMT"
    begin(server, tmp_path)
    lines = [] if last_modified is None else [f"Last-Modified: {last_modified}"]
    server.raw = [rest(50_000, *lines, content=QUESTIONS.replace(b"x", b"y"))]
    fetch(server, tmp_path)
    whole(tmp_path)


def test_a_part_that_nobody_asked_for_and_a_packed_one_are_not_stored(server: Server, tmp_path: Path) -> None:
    server.raw = [rest(0)] * 9
    with pytest.raises(DataError, match="another range than requested"):
        fetch(server, tmp_path / "unasked")
    server.raw = []
    begin(server, tmp_path)
    server.raw = [rest(50_000, 'ETag: "v1"', "Content-Encoding: gzip")]
    with pytest.raises(DataError, match="gzip-coded, which was not requested"):
        fetch(server, tmp_path)
    assert part_of(tmp_path).stat().st_size == 50_000
    fetch(server, tmp_path)
    whole(tmp_path)


@pytest.mark.parametrize(
    "headers",
    [
        ["Retry-After: " + "9" * 6000],
        ["Content-Range: bytes " + "9" * 6000 + "-1/" + "9" * 6000],
        ['ETag: "\xe9\xff"'],
        ["ETag: v1\x01\x7f"],
        ['ETag: "' + "x" * 5000 + '"'],
        ["Last-Modified: \xe9\xff"],
        ["Content-Encoding: \xe9"],
    ],
)
def test_odd_headers_are_one_line_or_nothing(server: Server, tmp_path: Path, headers: list[str]) -> None:
    """None of them comes back to the server, or ends in a traceback."""
    for status, body in (("503 Busy", b""), ("206 Partial", QUESTIONS[:9]), ("200 OK", QUESTIONS[:50_000])):
        length = [f"Content-Length: {len(QUESTIONS)}"] if status == "200 OK" else []
        lines = [f"HTTP/1.1 {status}", *length, *headers, "", ""]
        server.raw = ["\r\n".join(lines).encode("latin-1") + body]
        try:
            fetch(server, tmp_path, retries=0, backoff=0)
        except DataError as error:
            assert "\n" not in str(error) and str(error).isprintable()
        server.raw = []
    fetch(server, tmp_path)
    whole(tmp_path)


@pytest.mark.parametrize("length", ["9" * 6000, "9" * 18, "-5", "\xb2"])
def test_odd_lengths_are_one_line(server: Server, tmp_path: Path, length: str) -> None:
    server.raw = [f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n[]".encode("latin-1")] * 9
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path, retries=1)
    assert "\n" not in str(caught.value)


def test_a_note_may_hold_anything(server: Server, tmp_path: Path) -> None:
    address = f"{server.url}LaMP_7/dev/dev_questions.json"
    for odd in ("[" * 100_000, "{}", '{"url": 1}', json.dumps({"url": address, "etag": ["x"], "bytes": "many"}), "\0"):
        begin(server, tmp_path)
        part_of(tmp_path).with_name(part_of(tmp_path).name + ".json").write_text(odd)
        fetch(server, tmp_path)
        whole(tmp_path)
        (tmp_path / "dev" / "dev_questions.json").unlink()


def test_the_size_of_a_file_is_limited(server: Server, tmp_path: Path) -> None:
    what = r"dev_questions.json: the file has more than 1000 bytes \(raise --max-bytes if that is right\)"
    with pytest.raises(DataError, match=what):
        fetch(server, tmp_path, max_bytes=1000)
    server.slow = [b"HTTP/1.1 200 OK\r\n\r\n", *[b"[" * 65536] * 2000], 0.0
    with pytest.raises(DataError, match="more than 1000000 bytes"):
        fetch(server, tmp_path, max_bytes=1_000_000)
    server.slow = None
    assert list((tmp_path / "dev").iterdir()) == []
    fetch(server, tmp_path, max_bytes=len(QUESTIONS))
    whole(tmp_path)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"])
def test_a_server_that_drips_is_left(
    server: Server, tmp_path: Path, head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the headers as in the body; each byte comes long before the timeout."""
    monkeypatch.setattr(_pace, "WINDOW", 0.1)
    server.slow = [head, *[b"["] * 200], 0.01
    with pytest.raises(DataError, match=r"the server sends \d+ bytes a second") as caught:
        fetch(server, tmp_path, min_rate=100_000)
    assert "--min-rate" in caught.value.hint
    server.slow = None
    fetch(server, tmp_path, min_rate=1)
    whole(tmp_path)


@pytest.mark.parametrize("split", ["..", ".", "", "a/b", "../dev", "/dev", "dev\0", "-dev"])
def test_a_split_is_no_other_folder(server: Server, tmp_path: Path, split: str) -> None:
    with pytest.raises(DataError, match="is not a split's name"):
        fetch(server, tmp_path / "root", (split,))
    assert list(tmp_path.iterdir()) == [] and server.asked == []
