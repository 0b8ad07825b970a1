"""A programmable OpenAI-compatible server, and fixtures for tests of the generator `openai-api`."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prlm_bench_plugins.openai_api import _client

from prlm_bench.data import open_split
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Context
from prlm_bench.records import Completion, Example, Prompt, Ranking
from prlm_bench.running import Components

SECRET = "sk-Planted0123456789abcdefSECRET"
HTML = b"<html><body>Bad gateway</body></html>"
RUN = "run --task mini_lamp_4 --synth-users 4 --retriever recency -k 1 --reasoner direct:protocol=chat --no-controls"


@dataclass
class Reply:
    """The reply to a request."""

    status: int = 200
    content: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    #: Seconds before the reply.
    wait: float = 0.0
    #: Bytes of the body that are sent before the connection is cut; -1 cuts it before the status line.
    sent: int | None = None
    #: Seconds after which the whole reply is sent again; 0 is in the same segment.
    again: float | None = None
    #: Seconds between the chunks of a chunked body; None sends the body at once, with its length.
    chunked: float | None = None


@dataclass
class Seen:
    """A request as it arrived."""

    at: float
    path: str
    content: Any
    headers: dict[str, str]
    #: The client's port, which tells connections apart.
    port: int


def chat_reply(text: str, finish: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {
        "object": "chat.completion",
        "choices": [choice],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    } | more


def framed(content: Any) -> bytes:
    """A whole reply of status 200 as it is sent."""
    body = json.dumps(content).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def plain_reply(text: str) -> dict[str, Any]:
    return {"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": "length"}]}


class FakeServer:
    """`act(prompt, attempt)` gives the reply to a POST, `models` that to GET /models."""

    def __init__(self) -> None:
        self.act: Callable[[str, int], Reply] = lambda prompt, attempt: Reply(content=self.answer(prompt))
        entry = {"id": "fake", "owned_by": "nobody", "created": 1, "root": "/models/fake"}
        self.models: Reply = Reply(content={"data": [entry]})
        #: Replies to GET by path, besides `models`.
        self.pages: dict[str, Reply] = {}
        #: Bytes that are sent when a connection opens, before anything is read.
        self.greeting: Callable[[], bytes] = bytes
        self.seen: list[Seen] = []
        self.attempts: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.now = self.most = 0
        self.chat = True
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = _Listener(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def encrypt(self, certificate: Path, key: Path) -> None:
        """Speak TLS from now on."""
        settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        settings.load_cert_chain(certificate, key)
        self._server.socket = settings.wrap_socket(self._server.socket, server_side=True)
        self.url = self.url.replace("http:", "https:")

    def answer(self, prompt: str) -> dict[str, Any]:
        return chat_reply(f"to {prompt}") if self.chat else plain_reply(f"to {prompt}")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, request: Seen) -> Reply:
        if request.path.endswith("/completions"):
            return self._complete(request)
        self.seen.append(request)
        missing = Reply(404, {"error": {"message": "no such path"}})
        page = self.pages.get(request.path.partition("?")[0], missing)
        reply = self.models if request.path.endswith("/models") else page
        time.sleep(reply.wait)
        return reply

    def _complete(self, request: Seen) -> Reply:
        with self._lock:
            self.seen.append(request)
            self.chat = request.path.endswith("/chat/completions")
            prompt = request.content["messages"][-1]["content"] if self.chat else request.content["prompt"]
            attempt = self.attempts[prompt]
            self.attempts[prompt] += 1
            self.now += 1
            self.most = max(self.most, self.now)
            reply = self.act(prompt, attempt)
        time.sleep(reply.wait)
        with self._lock:
            self.now -= 1
            self.answered[prompt] += reply.status == 200 and reply.sent is None
        return reply

    @property
    def posts(self) -> list[Seen]:
        return [request for request in self.seen if request.path.endswith("/completions")]


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    fake: FakeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.wfile.write(self.fake.greeting())

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        content = json.loads(self.rfile.read(length)) if length else None
        headers = dict(self.headers)
        reply = self.fake.take(Seen(time.monotonic(), self.path, content, headers, self.client_address[1]))
        try:
            self._send(reply)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = _handle

    def _send(self, reply: Reply) -> None:
        body = reply.content if isinstance(reply.content, bytes) else json.dumps(reply.content).encode()
        head = f"HTTP/1.1 {reply.status} Status\r\n"
        framing = {"Content-Length": str(len(body))} if reply.chunked is None else {"Transfer-Encoding": "chunked"}
        for name, value in ({"Content-Type": "application/json"} | reply.headers | framing).items():
            head += f"{name}: {value}\r\n"
        pieces = [head.encode() + b"\r\n"]
        if reply.chunked is None:
            pieces[0] += body if reply.sent is None else body[: max(reply.sent, 0)]
        else:
            for start in range(0, len(body), 64):
                pieces.append(b"%x\r\n%b\r\n" % (len(body[start : start + 64]), body[start : start + 64]))
            pieces.append(b"0\r\n\r\n")
        if reply.again == 0:  # the end of the first copy and the second are one segment
            pieces = [*pieces[:-1], pieces[-1] + b"".join(pieces)]
        for piece in pieces if reply.sent != -1 else ():
            self.wfile.write(piece)
            time.sleep(reply.chunked or 0)
        if reply.again:
            time.sleep(reply.again)
            self.wfile.write(b"".join(pieces))
        self.close_connection |= reply.sent is not None

    def log_message(self, *args: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeServer]:
    # Completions are cached by the server's address, and another test's server may have had the same port.
    monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_client, "FIRST_WAIT", 0.002)
    monkeypatch.setattr(_client, "MAX_WAIT", 0.01)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    server = FakeServer()
    yield server
    server.close()


@pytest.fixture
def context(host: PluginHost, tmp_path: Path) -> Context:
    dataset = open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)
    return Components(host, dataset, tmp_path).context(5)


@pytest.fixture
def build(fake: FakeServer, host: PluginHost, context: Context) -> Callable[..., Any]:
    """The generator with options, at the fake server."""

    def make(**options: Any) -> Any:
        spec = {"name": "openai-api", "model": "fake", "base_url": fake.url} | options
        return host.registry.choose("generator", spec).make(context)

    return make


def prompts(count: int, chat: bool = True) -> list[Prompt]:
    example = Example("q", "u", "input", "query", ())
    return [Prompt(example, Ranking(), f"prompt {number}", chat=chat) for number in range(count)]


def texts(answers: list[tuple[int, Completion]]) -> list[str]:
    return [completion.text for _, completion in sorted(answers, key=lambda pair: pair[0])]
