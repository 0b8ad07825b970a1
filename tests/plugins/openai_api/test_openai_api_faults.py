"""A server with every fault there is: no sample is lost, doubled or shifted, and each failure says what to do."""

from __future__ import annotations

import gzip
import json
import random
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from shutil import which
from typing import Any

import anyio
import pytest
from prlm_bench_plugins.openai_api import _client
from prlm_bench_plugins.openai_api._server import Key, Server
from support.openai_server import (
    HTML,
    RUN,
    FakeServer,
    Reply,
    build as build,
    chat_reply,
    context as context,
    fake as fake,
    framed,
    prompts,
    texts,
)
from tenacity import AsyncRetrying, RetryCallState

from prlm_bench.errors import PrlmBenchError
from prlm_bench.records import Completion

# Failures that pass


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
#: Repeated only twice, because the replies of a wrong address look the same.
UNREADABLE = {
    "truncated": lambda good: Reply(content=json.dumps(good).encode()[:-9]),
    "nothing": lambda good: Reply(content=b""),
    "shape": lambda good: Reply(content={"error": {"message": "no"}}),
    "no choice": lambda good: Reply(content={"choices": []}),
    "a list": lambda good: Reply(content=[good]),
    "no text": lambda good: Reply(content={"choices": [{"message": {"content": 3, "text": 3}, "text": 3}]}),
}


@pytest.mark.parametrize(("concurrency", "count"), [(1, 30), (5, 80), (32, 80)])
def test_nothing_is_lost_or_doubled(fake: FakeServer, build: Callable[..., Any], concurrency: int, count: int) -> None:
    """Every fault there is, at random, up to six in a row for one prompt."""
    rng = random.Random(concurrency)
    plan = {}
    for prompt in prompts(count):
        faults = rng.choices(list(PASSING.values()), k=rng.randrange(5)) + rng.sample(list(UNREADABLE.values()), 2)
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


def test_answers_come_as_they_are_ready(fake: FakeServer, build: Callable[..., Any]) -> None:
    fake.act = lambda prompt, attempt: Reply(content=fake.answer(prompt), wait=0.5 if prompt == "prompt 0" else 0.0)
    order = [index for index, _ in build(concurrency=2).generate(prompts(6))]
    assert order[-1] == 0
    assert sorted(order) == list(range(6))


def test_a_slow_request_is_repeated(fake: FakeServer, build: Callable[..., Any]) -> None:
    fake.act = lambda prompt, attempt: Reply(content=fake.answer(prompt), wait=0.0 if attempt else 1.2)
    start = time.monotonic()
    assert texts(list(build(timeout=0.6).generate(prompts(4)))) == [f"to prompt {n}" for n in range(4)]
    assert time.monotonic() - start < 5
    assert set(fake.attempts.values()) == {2}


def test_retry_after_holds_back_all_requests(fake: FakeServer, build: Callable[..., Any]) -> None:
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


def test_retry_after() -> None:
    soon = formatdate(time.time() + 30, usegmt=True)
    assert _client.retry_after({"retry-after": "2.5"}) == 2.5
    assert _client.retry_after({"retry-after": soon}) == pytest.approx(30, abs=1.5)
    assert _client.retry_after({"retry-after": formatdate(0, usegmt=True)}) == 0
    assert _client.retry_after({"retry-after": "-3"}) == 0
    for text in ("", "soon", "nan", "Mon, 99 Foo"):
        assert _client.retry_after({"retry-after": text}) is None
    assert _client.retry_after({}) is None


def test_backoff() -> None:
    state = RetryCallState(AsyncRetrying(), None, (), {})
    for attempt in range(1, 2000):
        state.attempt_number = attempt
        longest = min(30.0, 0.5 * 2.0 ** min(attempt - 1, 10))
        assert longest / 2 <= _client.backoff()(state) <= longest


# Replies to other questions


@pytest.mark.parametrize("chunked", [None, 0.0005], ids=["whole", "chunked"])
@pytest.mark.parametrize("again", [0, 0.002, 0.05])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_replies_that_are_sent_twice_shift_no_answer(
    fake: FakeServer,
    build: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    concurrency: int,
    again: float,
    chunked: float | None,
) -> None:
    """Every fifth reply is: in one packet, while the next question is being written, or when the connection is idle."""
    count = 60
    twice = 0

    def act(prompt: str, attempt: int) -> Reply:
        nonlocal twice
        second = len(fake.posts) % 5 == 0
        twice += second
        headers = {"Connection": "keep-alive"}
        return Reply(content=fake.answer(prompt), headers=headers, again=again if second else None, chunked=chunked)

    fake.act = act
    answers = list(build(concurrency=concurrency).generate(prompts(count)))
    assert texts(answers) == [f"to prompt {number}" for number in range(count)]
    assert set(fake.attempts.values()) == {1}
    assert len({request.port for request in fake.posts}) == count
    said = f"replies followed by more bytes, such as a second copy, which were dropped: {twice}"
    messages = [message.partition("/v1: ")[2] for message in caplog.messages]
    if again == 0:
        assert messages == [said]
    elif again == 0.05:  # the copy meets a closed connection
        assert not messages


def test_a_text_that_looks_like_a_reply_is_no_second_one(
    fake: FakeServer, build: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    text = "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1"
    fake.act = lambda prompt, attempt: Reply(content=chat_reply(text), headers={"Server": "HTTP/1.1"})
    assert texts(list(build().generate(prompts(4)))) == [text] * 4
    assert not caplog.messages


def test_a_reply_that_is_older_than_its_question(
    fake: FakeServer, build: Callable[..., Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(_client.Wire):
        """The question is written a little after the connection is open."""

        async def __call__(self, event: str, info: Any) -> None:
            await super().__call__(event, info)
            if event.endswith("connect_tcp.complete"):
                await anyio.sleep(0.05)

    monkeypatch.setattr(_client, "Wire", Late)
    generator = build(concurrency=4)
    generator.fingerprint()
    greetings = [framed(chat_reply("to nobody"))] * 7
    fake.greeting = lambda: greetings.pop() if greetings else b""
    answers = list(generator.generate(prompts(60)))
    assert texts(answers) == [f"to prompt {number}" for number in range(60)]
    (said,) = caplog.messages
    assert said.endswith("replies that came before their question, which was sent again: 7")


def test_replies_over_tls(
    fake: FakeServer,
    build: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The tickets of a session, which a server sends by itself, are no reply; a second copy is one."""
    if which("openssl") is None:
        pytest.skip("needs openssl, which makes the certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2"]
    more = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(["openssl", *map(str, words), *more], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    fake.encrypt(certificate, key)
    fake.act = lambda prompt, attempt: Reply(content=fake.answer(prompt), again=0 if prompt == "prompt 3" else None)
    generator = build(base_url=fake.url, concurrency=4)
    assert generator.fingerprint().startswith("model=fake; server=127.0.0.1")
    assert texts(list(generator.generate(prompts(12)))) == [f"to prompt {number}" for number in range(12)]
    assert set(fake.attempts.values()) == {1}
    (said,) = caplog.messages
    assert said.endswith("such as a second copy, which were dropped: 1")


@pytest.mark.parametrize("where", ["id", "header"])
def test_a_proxy_that_shifts_replies_is_found_by_their_tags(
    fake: FakeServer, build: Callable[..., Any], caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """Each reply of a stretch is the one to the question before; the server repeats the tag, as vLLM does in the id."""
    last: list[Reply] = []

    def act(prompt: str, attempt: int) -> Reply:
        tag = fake.posts[-1].headers["X-Request-Id"]
        body = fake.answer(prompt) | ({"id": f"chatcmpl-{tag}"} if where == "id" else {})
        last.append(Reply(content=body, headers={"X-Request-Id": tag} if where == "header" else {}))
        return last[-2] if 10 < len(last) <= 15 else last[-1]

    fake.act = act
    answers = list(build(concurrency=1).generate(prompts(60)))
    assert texts(answers) == [f"to prompt {number}" for number in range(60)]
    (said,) = caplog.messages
    assert said.endswith("replies to another question than the one asked, which was sent again: 5")


def test_a_proxy_that_shifts_every_reply_ends_the_row(fake: FakeServer, build: Callable[..., Any]) -> None:
    last = [fake.answer("nobody") | {"id": f"chatcmpl-prlm-{'0' * 32}"}]

    def act(prompt: str, attempt: int) -> Reply:
        last.append(fake.answer(prompt) | {"id": f"chatcmpl-{fake.posts[-1].headers['X-Request-Id']}"})
        return Reply(content=last[-2])

    fake.act = act
    said = (
        r"the server sent the reply to another question, 3 times \(the server, or a proxy before it, mixes replies up\)"
    )
    with pytest.raises(PrlmBenchError, match=said):
        list(build(max_retries=2, concurrency=1).generate(prompts(3)))


def test_a_repeated_reply_is_found_by_its_id(
    fake: FakeServer, build: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    last: list[Reply] = []

    def act(prompt: str, attempt: int) -> Reply:
        last.append(Reply(content=fake.answer(prompt) | {"id": f"chatcmpl-{len(last)}"}))
        return last[-2] if len(last) in (4, 9) else last[-1]

    fake.act = act
    assert texts(list(build(concurrency=1).generate(prompts(12)))) == [f"to prompt {number}" for number in range(12)]
    assert "replies to another question than the one asked, which was sent again: 2" in caplog.text


def test_servers_with_one_id_for_all_replies(fake: FakeServer, build: Callable[..., Any]) -> None:
    """Equal answers look like one reply sent again; after a second request they are taken."""
    fake.act = lambda prompt, attempt: Reply(content=chat_reply("positive") | {"id": "chatcmpl-0"})
    assert texts(list(build(concurrency=1).generate(prompts(4)))) == ["positive"] * 4
    assert len(fake.posts) == 7
    fake.act = lambda prompt, attempt: Reply(content=chat_reply("positive") | {"id": ""})
    assert texts(list(build(concurrency=1).generate(prompts(4)))) == ["positive"] * 4
    assert len(fake.posts) == 11


@pytest.mark.parametrize("packed", [False, True])
def test_a_reply_that_is_too_large(fake: FakeServer, packed: bool) -> None:
    body = json.dumps(fake.answer("x" * 3_000_000)).encode()
    headers = {"Content-Encoding": "gzip"} if packed else {}
    fake.act = lambda prompt, attempt: Reply(content=gzip.compress(body) if packed else body, headers=headers)
    server = Server(fake.url, "fake", Key(""), "OPENAI_API_KEY", 1, 5.0, 3, max_reply_bytes=1 << 20)
    request = _client.Request("POST", "/completions", {"prompt": "x"})
    with pytest.raises(PrlmBenchError, match=r"completions: the reply is larger than 1 MiB \(is this an OpenAI-comp"):
        list(_client.send_all(server, [request], lambda _, reply: reply))
    assert len(fake.posts) == 1
    larger = replace(server, max_reply_bytes=4 << 20)
    assert list(_client.send_all(larger, [request], lambda _, reply: reply)) == [(0, body)]


def test_a_small_reply_that_unpacks_to_a_large_one(fake: FakeServer, build: Callable[..., Any]) -> None:
    """It is never unpacked whole: 200 MB would not fit under the limit of memory."""
    import tracemalloc

    bomb = gzip.compress(b" " * 200_000_000, 9)
    fake.act = lambda prompt, attempt: Reply(content=bomb, headers={"Content-Encoding": "gzip"})
    generator = build(max_tokens=4)
    tracemalloc.start()
    with pytest.raises(PrlmBenchError, match="the reply is larger than 4 MiB"):
        list(generator.generate(prompts(1)))
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("packing", ["gzip", "deflate", "br", "zstd"])
def test_packed_replies(fake: FakeServer, build: Callable[..., Any], packing: str) -> None:
    def act(prompt: str, attempt: int) -> Reply:
        body = json.dumps(fake.answer(prompt)).encode()
        packed = gzip.compress(body) if packing == "gzip" else zlib.compress(body)
        return Reply(content=packed if attempt else packed[:9] + b"!" * 9, headers={"Content-Encoding": packing})

    fake.act = act
    if packing in ("gzip", "deflate"):
        assert texts(list(build().generate(prompts(2)))) == ["to prompt 0", "to prompt 1"]
        assert {request.headers["Accept-Encoding"] for request in fake.posts} == {"identity"}
    else:
        with pytest.raises(PrlmBenchError, match=f"the reply is packed as '{packing}'"):
            list(build().generate(prompts(2)))


# Failures for good


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(401, {"error": {"message": "bad key sk-1***9"}}), "status 401: the server requires a key (export"),
        (Reply(403, {"error": "not yours"}), "status 403: not yours (the key may not use this model)"),
        (Reply(404, {"detail": "Not Found"}), "status 404: Not Found (the server has the model fake-1"),
        (Reply(400, {"error": {"message": "too long."}}), "status 400: too long (lower the reasoner's max_length= or"),
        (Reply(400, {"message": "use max_completion_tokens"}), "(limit_key=max_completion_tokens)"),
        (Reply(422, {"detail": [{"msg": "extra"}]}), 'status 422: [{"msg": "extra"}] (the server rejects one'),
        (Reply(405, HTML), "status 405 (base_url usually ends in /v1)"),
        (Reply(307, b"", {"Location": "http://elsewhere/"}), "status 307 (redirects are not followed: give base_url"),
        (Reply(429, {"error": {"code": "insufficient_quota"}}), "status 429 (the account of this key has no credit"),
        (Reply(429, {}, {"Retry-After": "86400"}), "429; the server requests a wait of 86400 s (run again later)"),
        (Reply(content=HTML), "the server sent a web page instead of JSON (base_url usually ends in /v1)"),
        (Reply(content=b"{"), "the server sent truncated or invalid JSON, 3 times (is this an OpenAI-compat"),
        (Reply(content={"error": "x"}), "the server sent a reply without choices but with the error 'x', 3 times"),
        (Reply(500, b"oops"), "status 500: oops, 4 times (check the server's log)"),
        (Reply(sent=-1), "the connection failed: Server disconnected without sending a response., 4 times"),
        (Reply(content={}, wait=0.4), "no answer within 0.1 s, 4 times (raise timeout=, or lower concurrency=)"),
    ],
)  # fmt: skip
def test_each_failure_says_what_to_do(fake: FakeServer, build: Callable[..., Any], reply: Reply, said: str) -> None:
    fake.models = Reply(content={"data": [{"id": "fake-1"}, {"id": "other"}]})
    fake.act = lambda prompt, attempt: reply
    generator = build(max_retries=3, timeout=0.1 if reply.wait else 5)
    generator.fingerprint()
    with pytest.raises(PrlmBenchError) as caught:
        list(generator.generate(prompts(1)))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_answers_before_a_failure_are_kept(fake: FakeServer, build: Callable[..., Any]) -> None:
    """No request is started after it; those in flight are awaited."""
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


def test_a_failure_ends_the_waits_of_others(fake: FakeServer, build: Callable[..., Any]) -> None:
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


def test_closing_cancels_requests_in_flight(fake: FakeServer, build: Callable[..., Any]) -> None:
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


def test_an_address_without_an_api_is_detected_before_a_run(fake: FakeServer, build: Callable[..., Any]) -> None:
    fake.models = Reply(content=HTML)
    with pytest.raises(PrlmBenchError, match=r"sent a web page instead of JSON \(base_url usually ends in /v1\)"):
        build().fingerprint()
    fake.models = Reply(401, {})
    with pytest.raises(PrlmBenchError, match=r"models: status 401: the server requires a key \(export OPENAI_API_KEY"):
        build().fingerprint()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(PrlmBenchError, match=rf"no server answers at 127.0.0.1:{port}/v1, 3 times \(start it, or"):
            build(base_url=f"http://127.0.0.1:{port}/v1").fingerprint()
        with pytest.raises(PrlmBenchError, match=r"no secure connection|no server answers"):
            build(base_url=fake.url.replace("http:", "https:")).fingerprint()


def test_this_machine_is_reached_without_the_proxy(
    fake: FakeServer, build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for host in ("127.0.0.1", "localhost"):
        generator = build(base_url=fake.url.replace("127.0.0.1", host))
        assert texts(list(generator.generate(prompts(1)))) == ["to prompt 0"]
    with pytest.raises(PrlmBenchError, match=r"no server answers at nowhere.invalid/v1"):
        build(base_url="http://nowhere.invalid/v1", max_retries=0).fingerprint()


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
        with pytest.raises(PrlmBenchError, match=r"the connection failed: .*does it speak HTTP\?\)"):
            build(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}").fingerprint()
        thread.join()


def test_a_server_that_is_down_is_one_line(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "FIRST_WAIT", 0.004)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        mistake = here(*RUN.split(), "--generator", f"openai-api:model=m,base_url={url}").mistake
    assert mistake == f"no server answers at {url[7:]}, 3 times (start it, or correct base_url=)"
