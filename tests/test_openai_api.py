"""An OpenAI-compatible server in every bad mood: no sample is lost or doubled, and the key stays where it is."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import manual
import pytest
from prlm_bench_plugins.openai_api import _waiting
from prlm_bench_plugins.openai_api._replies import read_completion
from prlm_bench_plugins.openai_api._server import Key

from prlm_bench.data import open_split
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host._host import PluginHost
from prlm_bench.interfaces import Context
from prlm_bench.records import Completion, Example, Prompt, Ranking
from prlm_bench.results import find_results, read_samples
from prlm_bench.running import Components
from prlm_bench.testing import GeneratorContract

SECRET = "sk-Planted0123456789abcdefSECRET"


@dataclass
class Reply:
    """What the server does with a request: waits, then sends these bytes, or only the first of them."""

    status: int = 200
    content: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    #: Bytes of the body that are sent before the connection is cut; -1 cuts it before the status line.
    sent: int | None = None


@dataclass
class Seen:
    """A request as it arrived."""

    at: float
    path: str
    content: Any
    headers: dict[str, str]


def chat_reply(text: str, finish: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {
        "object": "chat.completion",
        "choices": [choice],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    } | more


def plain_reply(text: str) -> dict[str, Any]:
    return {"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": "length"}]}


class Fake:
    """A server that is told what to do.

    `act(prompt, attempt)` gives the reply to a POST, `models` that to GET /models.
    """

    def __init__(self) -> None:
        self.act: Callable[[str, int], Reply] = lambda prompt, attempt: Reply(content=self.answer(prompt))
        self.models: Reply = Reply(content={"data": [{"id": "fake", "owned_by": "nobody", "created": 1}]})
        self.seen: list[Seen] = []
        self.attempts: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.now = self.most = 0
        self.chat = True
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def answer(self, prompt: str) -> dict[str, Any]:
        return chat_reply(f"to {prompt}") if self.chat else plain_reply(f"to {prompt}")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, request: Seen) -> Reply:
        with self._lock:
            self.seen.append(request)
            if request.path.endswith("/models"):
                return self.models
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
        return [request for request in self.seen if not request.path.endswith("/models")]


class _Handler(BaseHTTPRequestHandler):
    fake: Fake
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        content = json.loads(self.rfile.read(length)) if length else None
        reply = self.fake.take(Seen(time.monotonic(), self.path, content, dict(self.headers)))
        body = reply.content if isinstance(reply.content, bytes) else json.dumps(reply.content).encode()
        try:
            if reply.sent != -1:
                self.send_response(reply.status)
                for name, value in ({"Content-Type": "application/json"} | reply.headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body if reply.sent is None else body[: reply.sent])
            if reply.sent is not None:
                self.close_connection = True
        except OSError:
            self.close_connection = True

    do_GET = do_POST = _handle

    def log_message(self, *args: Any) -> None:
        """No news on the terminal."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fake]:
    # Completions are cached by the server's address, and another test's server may have had the same port.
    monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_waiting, "FIRST", 0.002)
    monkeypatch.setattr(_waiting, "MOST", 0.01)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    server = Fake()
    yield server
    server.close()


@pytest.fixture
def context(host: PluginHost, tmp_path: Path) -> Context:
    dataset = open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)
    return Components(host, dataset, tmp_path).context(5)


@pytest.fixture
def build(fake: Fake, host: PluginHost, context: Context) -> Callable[..., Any]:
    """The generator with options, at the fake server."""

    def made(**options: Any) -> Any:
        spec = {"name": "openai-api", "model": "fake", "base_url": fake.url} | options
        return host.registry.choose("generator", spec).make(context)

    return made


def prompts(count: int, chat: bool = True) -> list[Prompt]:
    example = Example("q", "u", "input", "query", ())
    return [Prompt(example, Ranking(), f"prompt {number}", chat=chat) for number in range(count)]


def texts(answers: list[tuple[int, Completion]]) -> list[str]:
    return [completion.text for _, completion in sorted(answers, key=lambda pair: pair[0])]


class TestContract(GeneratorContract):
    spec = "openai-api:model=fake"

    @pytest.fixture(autouse=True)
    def served(self, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)


# What is asked


def test_chat_prompts_are_one_users_turn(fake: Fake, build: Callable[..., Any]) -> None:
    assert texts(list(build().generate(prompts(2)))) == ["to prompt 0", "to prompt 1"]
    assert {request.path for request in fake.posts} == {"/v1/chat/completions"}
    assert sorted(fake.posts, key=lambda request: str(request.content))[0].content == {
        "model": "fake",
        "max_tokens": 256,
        "temperature": 0.0,
        "messages": [{"role": "user", "content": "prompt 0"}],
    }
    assert "Authorization" not in fake.posts[0].headers


@pytest.mark.parametrize(
    ("endpoint", "chat", "path"),
    [
        ("auto", True, "/v1/chat/completions"),
        ("auto", False, "/v1/completions"),
        ("chat", False, "/v1/chat/completions"),
        ("completions", True, "/v1/completions"),
    ],
)
def test_endpoints(fake: Fake, build: Callable[..., Any], endpoint: str, chat: bool, path: str) -> None:
    assert texts(list(build(endpoint=endpoint).generate(prompts(1, chat)))) == ["to prompt 0"]
    assert [request.path for request in fake.posts] == [path]


def test_options_are_sent(fake: Fake, build: Callable[..., Any]) -> None:
    options = {"temperature": 0.7, "top_p": 0.9, "stop": "###+\\n", "max_tokens": 9, "system": "Be brief."}
    list(build(**options, limit_key="max_completion_tokens").generate(prompts(1)))
    list(build(**options, seed=3).generate(prompts(1, chat=False)))
    sampled = {"model": "fake", "temperature": 0.7, "top_p": 0.9, "stop": ["###", "\n"]}
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "prompt 0"}]
    assert [request.content for request in fake.posts] == [
        # The run's seed is 5: repetitions with other seeds must differ.
        {**sampled, "max_completion_tokens": 9, "seed": 5, "messages": turns},
        {**sampled, "max_tokens": 9, "seed": 3, "prompt": "Be brief.\n\nprompt 0"},
    ]
    fake.seen.clear()
    list(build(temperature="none").generate(prompts(1)))
    assert fake.posts[0].content.keys() == {"model", "max_tokens", "seed", "messages"}


def test_usage_and_cost(fake: Fake, build: Callable[..., Any]) -> None:
    ((_, completion),) = build(price_in=2, price_out=10).generate(prompts(1))
    assert completion == Completion("to prompt 0", False, "stop", 3, 7, pytest.approx(44e-6))
    ((_, completion),) = build().generate(prompts(1))
    assert (completion.tokens, completion.prompt_tokens, completion.cost) == (3, 7, None)
    ((_, completion),) = build(price_in=2).generate(prompts(1, chat=False))
    assert completion == Completion("to prompt 0", False, "length")


@pytest.mark.parametrize(
    ("message", "finish", "expected"),
    [
        ({"content": "x"}, "eos_token", ("x", "stop")),
        ({"content": None, "refusal": "no"}, "content_filter", ("", "content_filter")),
        ({"content": [{"type": "text", "text": "a"}, {"text": "b"}]}, "stop", ("ab", "stop")),
        ({"content": "x", "reasoning_content": " hm "}, "stop", ("<think>\nhm\n</think>\nx", "stop")),
        ({"content": "x", "reasoning": "hm"}, None, ("<think>\nhm\n</think>\nx", None)),
        ({"content": None, "reasoning_content": "hm"}, "length", ("<think>\nhm\n", "length")),
        ({"content": "hm</think>x", "reasoning_content": "hm"}, "stop", ("hm</think>x", "stop")),
        ({"content": "half \ud83d"}, "stop", ("half \ufffd", "stop")),
    ],
)
def test_replies_as_servers_write_them(message: Any, finish: Any, expected: tuple[str, str | None]) -> None:
    body = json.dumps({"choices": [{"message": message, "finish_reason": finish}], "usage": None}).encode()
    completion = read_completion(body, True, Key(""), (1.0, 1.0))
    assert (completion.text, completion.finish) == expected
    assert (completion.tokens, completion.prompt_tokens, completion.cost) == (None, None, None)


# What goes wrong and passes

HTML = b"<html><body>Bad gateway</body></html>"
PASSING = {
    "429": lambda good: Reply(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.02"}),
    "429 bare": lambda good: Reply(429, {}),
    "408": lambda good: Reply(408, b""),
    "500": lambda good: Reply(500, b"Internal Server Error"),
    "502": lambda good: Reply(502, HTML, {"Content-Type": "text/html"}),
    "503": lambda good: Reply(503, {"error": "loading"}, {"Retry-After": "0"}),
    "dropped": lambda good: Reply(sent=-1),
    "cut": lambda good: Reply(content=good, sent=20),
    "empty": lambda good: Reply(content=good, sent=0),
}
#: Tried again only twice, since an address that is wrong looks the same.
DOUBTFUL = {
    "truncated": lambda good: Reply(content=json.dumps(good).encode()[:-9]),
    "nothing": lambda good: Reply(content=b""),
    "shape": lambda good: Reply(content={"error": {"message": "no"}}),
    "no choice": lambda good: Reply(content={"choices": []}),
    "a list": lambda good: Reply(content=[good]),
    "no text": lambda good: Reply(content={"choices": [{"message": {"content": 3, "text": 3}, "text": 3}]}),
}


@pytest.mark.parametrize(("concurrency", "count"), [(1, 30), (5, 80), (32, 80)])
def test_nothing_is_lost_or_doubled(fake: Fake, build: Callable[..., Any], concurrency: int, count: int) -> None:
    """Every fault there is, at random, up to six in a row for one prompt."""
    rng = random.Random(concurrency)
    plan = {}
    for prompt in prompts(count):
        faults = rng.choices(list(PASSING.values()), k=rng.randrange(5)) + rng.sample(list(DOUBTFUL.values()), 2)
        plan[prompt.text] = rng.sample(faults, len(faults))

    def act(prompt: str, attempt: int) -> Reply:
        good = Reply(content=fake.answer(prompt), wait=rng.choice([0, 0.001, 0.004]))
        return plan[prompt][attempt](good.content) if attempt < len(plan[prompt]) else good

    fake.act = act
    answers = list(build(concurrency=concurrency).generate(prompts(count)))
    assert sorted(index for index, _ in answers) == list(range(count))
    assert texts(answers) == [f"to prompt {number}" for number in range(count)]
    assert fake.attempts == {prompt: len(faults) + 1 for prompt, faults in plan.items()}
    assert fake.most <= concurrency
    assert concurrency == 1 or fake.most > 1


def test_answers_come_as_they_are_ready(fake: Fake, build: Callable[..., Any]) -> None:
    fake.act = lambda prompt, attempt: Reply(content=fake.answer(prompt), wait=0.5 if prompt == "prompt 0" else 0.0)
    order = [index for index, _ in build(concurrency=2).generate(prompts(6))]
    assert order[-1] == 0
    assert sorted(order) == list(range(6))


def test_a_slow_request_is_asked_again(fake: Fake, build: Callable[..., Any]) -> None:
    fake.act = lambda prompt, attempt: Reply(content=fake.answer(prompt), wait=0.0 if attempt else 1.2)
    start = time.monotonic()
    assert texts(list(build(timeout=0.6).generate(prompts(4)))) == [f"to prompt {n}" for n in range(4)]
    assert time.monotonic() - start < 5
    assert set(fake.attempts.values()) == {2}


def test_a_storm_of_429_is_waited_out_by_all(fake: Fake, build: Callable[..., Any]) -> None:
    """Once the server has named a time, no request comes before it."""
    refused: list[float] = []

    def act(prompt: str, attempt: int) -> Reply:
        if len(refused) < 4:
            refused.append(time.monotonic())
            return Reply(429, {}, {"Retry-After": "0.3"})
        return Reply(content=fake.answer(prompt))

    fake.act = act
    assert len(list(build(concurrency=4).generate(prompts(20)))) == 20
    later = [request.at for request in fake.posts][4:]
    assert len(later) == 20
    assert min(later) >= refused[-1] + 0.29
    assert fake.most <= 4


def test_times_to_wait() -> None:
    soon = formatdate(time.time() + 30, usegmt=True)
    assert _waiting.retry_after({"retry-after": "2.5"}) == 2.5
    assert _waiting.retry_after({"retry-after": soon}) == pytest.approx(30, abs=1.5)
    assert _waiting.retry_after({"retry-after": formatdate(0, usegmt=True)}) == 0
    assert _waiting.retry_after({"retry-after": "-3"}) == 0
    for text in ("", "soon", "nan", "Mon, 99 Foo"):
        assert _waiting.retry_after({"retry-after": text}) is None
    assert _waiting.retry_after({}) is None
    for attempt in range(40):
        most = min(_waiting.MOST, _waiting.FIRST * 2**attempt)
        assert most / 2 <= _waiting.backoff(attempt) <= most
    assert (_waiting.FIRST, _waiting.MOST) == (0.5, 30)


# What goes wrong for good


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(401, {"error": {"message": "bad key sk-1***9"}}), "status 401: the server asks for a key (export"),
        (Reply(403, {"error": "not yours"}), "status 403: not yours (the key may not use this model)"),
        (Reply(404, {"detail": "Not Found"}), "status 404: Not Found (the server has the model fake-1"),
        (Reply(400, {"error": {"message": "too long."}}), "status 400: too long (if the prompt is too long, lower"),
        (Reply(400, {"message": "use max_completion_tokens"}), "(limit_key=max_completion_tokens)"),
        (Reply(422, {"detail": [{"msg": "extra"}]}), 'status 422: [{"msg": "extra"}] (the server does not take one'),
        (Reply(405, HTML), "status 405 (base_url usually ends in /v1)"),
        (Reply(307, b"", {"Location": "http://elsewhere/"}), "status 307 (give base_url as the address"),
        (Reply(429, {"error": {"code": "insufficient_quota"}}), "status 429 (the account behind the key has no credit"),
        (Reply(429, {}, {"Retry-After": "86400"}), "status 429; it asks for a wait of 86400 s (run again then)"),
        (Reply(content=HTML), "the server sent a web page where JSON was due (base_url usually ends in /v1)"),
        (Reply(content=b"{"), "the server sent JSON that breaks off or is damaged, 3 times (is this an OpenAI-compat"),
        (Reply(content={"error": "x"}), "the server sent a reply without choices, but the error 'x', 3 times"),
        (Reply(500, b"oops"), "status 500: oops, 4 times (look into the server's log)"),
        (Reply(sent=-1), "the connection broke off: Server disconnected without sending a response., 4 times"),
        (Reply(content={}, wait=0.4), "no answer within 0.1 s, 4 times (raise timeout=, or lower concurrency=)"),
    ],
)  # fmt: skip
def test_each_failure_says_what_to_do(fake: Fake, build: Callable[..., Any], reply: Reply, said: str) -> None:
    fake.models = Reply(content={"data": [{"id": "fake-1"}, {"id": "other"}]})
    fake.act = lambda prompt, attempt: reply
    generator = build(max_retries=3, timeout=0.1 if reply.wait else 5)
    generator.fingerprint()
    with pytest.raises(PrlmBenchError) as caught:
        list(generator.generate(prompts(1)))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_was_answered_before_a_failure_is_kept(fake: Fake, build: Callable[..., Any]) -> None:
    """No new request is begun; those under way are waited for."""
    calls: list[str] = []

    def act(prompt: str, attempt: int) -> Reply:
        calls.append(prompt)
        if len(calls) == 5:
            return Reply(400, {"error": "no"})
        return Reply(content=fake.answer(prompt), wait=0.1)

    fake.act = act
    answers: list[tuple[int, Completion]] = []
    with pytest.raises(PrlmBenchError, match="status 400: no"):
        answers.extend(build(concurrency=4).generate(prompts(50)))
    assert len(calls) <= 8
    assert sorted(texts(answers)) == sorted(f"to {prompt}" for prompt, n in fake.answered.items() if n)
    assert len(answers) == len(calls) - 1


def test_a_failure_is_not_waited_for_by_retries(fake: Fake, build: Callable[..., Any]) -> None:
    def act(prompt: str, attempt: int) -> Reply:
        if prompt == "prompt 0":
            return Reply(400, {}, wait=0.1)
        return Reply(429, {}, {"Retry-After": "100"})

    fake.act = act
    start = time.monotonic()
    with pytest.raises(PrlmBenchError, match="status 400"):
        list(build(concurrency=3).generate(prompts(9)))
    assert time.monotonic() - start < 5
    assert len(fake.posts) <= 3


def test_closing_ends_what_is_under_way(fake: Fake, build: Callable[..., Any]) -> None:
    fake.act = lambda prompt, attempt: Reply(content=fake.answer(prompt), wait=0.0 if prompt == "prompt 0" else 3.0)
    threads = threading.active_count()
    answers = build(concurrency=3).generate(prompts(50))
    assert next(answers)[0] == 0
    start = time.monotonic()
    answers.close()
    assert time.monotonic() - start < 2
    assert not [thread for thread in threading.enumerate() if thread.name == "openai-api"]
    time.sleep(0.4)
    assert len(fake.posts) <= 5
    assert threading.active_count() <= threads + 4  # the server's own


def test_a_running_event_loop_is_no_obstacle(build: Callable[..., Any]) -> None:
    import asyncio

    async def inside() -> list[tuple[int, Completion]]:
        return list(build().generate(prompts(3)))

    assert len(asyncio.run(inside())) == 3


# Who the server is


def test_the_fingerprint_names_model_server_and_report(fake: Fake, build: Callable[..., Any]) -> None:
    address = fake.url.removeprefix("http://")
    assert build().fingerprint() == f"model=fake; server={address}; reported=id fake, owned_by nobody"
    fake.models.content["data"][0]["created"] = 2
    same = build(concurrency=2).fingerprint()
    assert same == build().fingerprint()
    assert build(temperature=1).fingerprint() == f"{same}; seed=5"
    assert build(temperature=1, seed=8).fingerprint() == f"{same}; seed=8"
    assert build(tokenizer="words").fingerprint() == f"{same}; tokenizer=words"
    seen = {same}
    for change in ({"root": "/models/a"}, {"root": "/models/b"}, {"max_model_len": 9}, {"owned_by": "vllm"}):
        fake.models.content["data"][0] |= change
        seen.add(build().fingerprint())
    assert len(seen) == 5
    assert not any("/models/a" in text for text in seen)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404, {"detail": "Not Found"}),
        Reply(403, {}),
        Reply(500, b"Internal Server Error"),
        Reply(content={"data": []}),
        Reply(content={"data": [{"id": "another"}, "x"]}),
        Reply(content={"models": ["fake"]}),
        Reply(content=b"not json"),
    ],
)
def test_a_server_without_a_list_reports_nothing(fake: Fake, build: Callable[..., Any], reply: Reply) -> None:
    fake.models = reply
    generator = build()
    assert generator.fingerprint().endswith("; reported=nothing")
    assert texts(list(generator.generate(prompts(1)))) == ["to prompt 0"]


def test_what_is_no_api_is_found_out_before_a_run(fake: Fake, build: Callable[..., Any]) -> None:
    fake.models = Reply(content=HTML)
    with pytest.raises(PrlmBenchError, match=r"sent a web page where JSON was due \(base_url usually ends in /v1\)"):
        build().fingerprint()
    fake.models = Reply(401, {})
    with pytest.raises(PrlmBenchError, match=r"models: status 401: the server asks for a key \(export OPENAI_API_KEY"):
        build().fingerprint()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(PrlmBenchError, match=rf"no server answers at 127.0.0.1:{port}/v1, 3 times \(start it, or"):
            build(base_url=f"http://127.0.0.1:{port}/v1").fingerprint()
        with pytest.raises(PrlmBenchError, match=r"no safe connection|no server answers"):
            build(base_url=fake.url.replace("http:", "https:")).fingerprint()


def test_another_protocol(build: Callable[..., Any]) -> None:
    def greet() -> None:
        for _ in range(3):
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"220 mail.example ESMTP\r\n")
                connection.recv(1000)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(PrlmBenchError, match=r"the connection broke off: .*does it speak HTTP at all\?\)"):
            build(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}").fingerprint()
        thread.join()


# Options and the key


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": None}, "openai-api needs a server (base_url=http://localhost:8000/v1, or set OPENAI_BASE_URL)"),
        ({"base_url": "localhost:8000/v1"}, "base_url is not an http address (write it like"),
        ({"base_url": "ftp://host/v1"}, "base_url is not an http address"),
        ({"base_url": "http://host:99999/v1"}, "base_url is not an http address"),
        ({"base_url": f"http://u:{SECRET}@host/v1", "concurrency": 0}, "base_url may hold no user name, password or"),
        ({"base_url": f"http://host/v1?key={SECRET}"}, "base_url may hold no user name, password or query"),
        ({"base_url": "http://host/v1/chat/completions"}, "base_url goes too far"),
        ({"api_key_env": SECRET}, "api_key_env is the name of an environment variable"),
        ({"api_key_env": "hf_" + SECRET[3:]}, "the environment variable that api_key_env names is not set"),
        ({"concurrency": 0}, "concurrency must be at least 1"),
        ({"timeout": 0}, "timeout above 0"),
        ({"max_retries": -1}, "max_retries at least 0"),
    ],
)
def test_mistakes_in_options(build: Callable[..., Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(PrlmBenchError) as caught:
        build(**options)
    assert said in str(caught.value)
    assert SECRET[3:] not in str(caught.value)


def test_the_manual_has_every_option(host: PluginHost) -> None:
    table = manual.section(manual.REPOSITORY / "docs" / "servers.md", "Options")
    rows = [re.findall(r"`(\w+)`", row) for row in re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)]
    options = host.registry.get("generator", "openai-api").options
    assert [name for row in rows for name in row] == list(options)
    for name, default in re.findall(r"^\| `(\w+)` \| `?([\w.]+)`? \|", table, re.MULTILINE):
        assert default in (str(options[name].default).lower(), str(options[name].default)) or name in (
            "base_url",
            "seed",
        )


def test_a_key_that_no_header_can_carry(build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET} “{SECRET}”")
    with pytest.raises(PrlmBenchError, match=r"^the key holds blanks or characters outside ASCII"):
        build()


def test_the_address_may_come_from_the_environment(
    fake: Fake, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{fake.url}/")
    generator = context.build("generator", "openai-api:fake")
    assert fake.url.removeprefix("http://") in generator.fingerprint()
    assert texts(list(generator.generate(prompts(1)))) == ["to prompt 0"]


RUN = "run --task mini_lamp_4 --synth-users 4 --retriever recency -k 1 --reasoner direct:protocol=chat --no-controls"


def test_the_key_is_nowhere(
    fake: Fake,
    here: Any,
    build: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """The server repeats it wherever it can."""
    monkeypatch.setenv("MY_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    fake.models = Reply(content={"data": [{"id": "fake", "owned_by": SECRET}]})
    spec = f'openai-api:model=fake,base_url={fake.url},api_key_env=MY_KEY,system="x"'
    said = []

    def echo(prompt: str, attempt: int) -> Reply:
        if attempt == 0:
            return Reply(500, {"error": {"message": f"Bearer {SECRET}"}})
        return Reply(content=chat_reply(f"{{'title': '{SECRET}'}}"))

    fake.act = echo
    done = here(*RUN.split(), "--generator", spec, "--results", "out")
    said += [done.stdout, done.stderr]
    assert done.status == 0, done
    samples = [sample for stored in find_results(tmp_path / "out")[0] for sample in read_samples(stored.folder)]
    assert {sample.answer for sample in samples} == {"***"}
    for status in (400, 401):
        fake.act = lambda prompt, attempt, status=status: Reply(status, {"error": {"message": f"not {SECRET}"}})
        done = here(*RUN.split(), "--generator", f"{spec},max_tokens={status}", "--results", f"out{status}")
        said += [done.stdout, done.stderr]
        assert done.status != 0
        assert f"status {status}" in done.stdout + done.stderr
    generator = build(api_key_env="MY_KEY", system="x")
    said += [generator.fingerprint(), repr(generator), repr(generator._server), repr(vars(generator)), caplog.text]
    with pytest.raises(PrlmBenchError) as caught:
        list(generator.generate(prompts(1)))
    said += [str(caught.value), repr(caught.value.__cause__), repr(caught.getrepr(showlocals=True))]
    assert all(request.headers["Authorization"] == f"Bearer {SECRET}" for request in fake.seen)
    assert not [text for text in said if SECRET[3:] in text]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {".jsonl", ".json", ".sqlite"} <= {path.suffix for path in files}
    assert not [path for path in files if SECRET[3:].encode() in path.read_bytes() or SECRET[3:] in str(path)]


# Through a run


def test_a_failed_run_goes_on_where_it_stopped(fake: Fake, here: Any, tmp_path: Path) -> None:
    spec = f"openai-api:model=fake,base_url={fake.url},concurrency=2,price_in=1,price_out=1"
    good = 5

    def act(prompt: str, attempt: int) -> Reply:
        if sum(fake.answered.values()) >= good:
            return Reply(404, {"error": {"message": "the model has gone"}})
        return Reply(content=chat_reply("{'title': 'x'}"))

    fake.act = act
    done = here(*RUN.split(), "--generator", spec, "--results", "out")
    assert done.status != 0
    assert "status 404: the model has gone" in done.stdout + done.stderr
    (journal,) = (tmp_path / "out").rglob("journal.jsonl")
    kept = [json.loads(line)["id"] for line in journal.read_bytes().splitlines()]
    assert len(kept) == len(set(kept)) == sum(fake.answered.values()) >= good
    good = 10**6
    asked = len(fake.posts)
    done = here(*RUN.split(), "--generator", spec, "--results", "out")
    assert done.status == 0, done
    ((stored,), _) = find_results(tmp_path / "out")
    samples = list(read_samples(stored.folder))
    assert len({sample.id for sample in samples}) == len(samples) == len(kept) + len(fake.posts) - asked
    assert set(fake.answered.values()) == {1}
    assert {(s.generator_prompt_tokens, s.completion_tokens, s.cost) for s in samples} == {(7, 3, 10e-6)}
    assert SECRET not in stored.manifest.method.generator.fingerprint


def test_a_server_that_is_down_is_one_line(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_waiting, "FIRST", 0.004)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        mistake = here(*RUN.split(), "--generator", f"openai-api:model=m,base_url={url}").mistake
    assert mistake == f"no server answers at {url[7:]}, 3 times (start it, or correct base_url=)"


# A real server


def _tiny_model(folder: Path) -> None:
    """A llama of random weights that knows bytes, with a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = Tokenizer(models.BPE())
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    letters.train_from_iterator(["a headline for the article"], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def transformers_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """`transformers serve` on a tiny model: its address, and the model's folder."""
    import httpx

    for module in ("transformers", "torch", "fastapi", "uvicorn", "openai"):
        if find_spec(module) is None:
            pytest.skip(f"needs {module}: pip install 'prlm-bench[serve]'")
    folder = tmp_path_factory.mktemp("serve")
    _tiny_model(folder / "tiny")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", folder / "tiny", "--host", "127.0.0.1", "--port", port, "--device", "cpu"]
    code = "from transformers.cli.transformers import main; main()"
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub")}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, words)], stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    try:
        with httpx.Client(trust_env=False) as client:
            for _ in range(600):
                if server.poll() is not None:
                    pytest.fail((folder / "log").read_text()[-2000:])
                try:
                    if client.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", folder / "tiny"
    finally:
        server.terminate()
        server.wait(30)


def _greedy(folder: Path, texts: list[str], chat: bool) -> list[tuple[str, int, int]]:
    """Text, generated tokens and prompt tokens of each, by the library itself."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    found = []
    for text in texts:
        if chat:
            turns = [{"role": "user", "content": text}]
            text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            made = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
        found.append((tokenizer.decode(made, skip_special_tokens=True), len(made), ids.shape[1]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("chat", [True, False])
def test_a_real_server(context: Context, transformers_serve: tuple[str, Path], chat: bool) -> None:
    """The same completions and token counts as the library gives for the same model."""
    url, folder = transformers_serve
    spec = {"name": "openai-api", "model": str(folder), "base_url": url, "max_tokens": 12, "concurrency": 4}
    generator = context.build("generator", spec)
    assert generator.fingerprint().startswith(f"model={folder}; server={url[7:]}; reported=")
    answers = dict(generator.generate(prompts(12, chat)))
    expected = _greedy(folder, [prompt.text for prompt in prompts(12)], chat)
    assert sorted(answers) == list(range(12))
    for index, (text, written, sent) in enumerate(expected):
        assert (answers[index].tokens, answers[index].prompt_tokens) == (written, sent)
        assert answers[index].text == text
        assert answers[index].finish == ("length" if written == 12 else "stop")


@pytest.mark.slow
def test_a_real_servers_refusal(context: Context, transformers_serve: tuple[str, Path]) -> None:
    url, _ = transformers_serve
    generator = context.build("generator", {"name": "openai-api", "model": "nobody/nothing", "base_url": url})
    with pytest.raises(PrlmBenchError, match=r"chat/completions: status 4\d\d: Server is pinned"):
        list(generator.generate(prompts(2)))


@pytest.mark.slow
def test_a_real_run(here: Any, transformers_serve: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = transformers_serve
    spec = f"openai-api:model={folder},base_url={url},max_tokens=8"
    done = here(
        *RUN.replace("direct:protocol=chat", "summary:items=2").split(), "--generator", spec, "--results", "out"
    )
    assert done.status == 0, done
    ((stored,), _) = find_results(tmp_path / "out")
    assert all(sample.completion_tokens for sample in read_samples(stored.folder))
