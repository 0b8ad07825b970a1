"""The generator `openai-api`: requests, replies, identity, options, the key, and whole runs."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import manual
from support.openai_server import (
    RUN,
    SECRET,
    FakeServer,
    Reply,
    build as build,
    chat_reply,
    context as context,
    fake as fake,
    prompts,
    texts,
)

from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Context
from prlm_bench.prompting import turns_prompt
from prlm_bench.records import Completion, Turn
from prlm_bench.results import find_results, read_samples
from prlm_bench.testing import GeneratorContract


class TestContract(GeneratorContract):
    spec = "openai-api:model=fake"

    @pytest.fixture(autouse=True)
    def served(self, fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)


# Requests and replies


def test_chat_prompts_are_one_users_turn(fake: FakeServer, build: Callable[..., Any]) -> None:
    assert texts(list(build().generate(prompts(2)))) == ["to prompt 0", "to prompt 1"]
    assert {request.path for request in fake.posts} == {"/v1/chat/completions"}
    assert sorted(fake.posts, key=lambda request: str(request.content))[0].content == {
        "model": "fake",
        "max_tokens": 256,
        "temperature": 0.0,
        "messages": [{"role": "user", "content": "prompt 0"}],
    }
    assert "Authorization" not in fake.posts[0].headers


def test_chats_of_several_turns(fake: FakeServer, build: Callable[..., Any]) -> None:
    (plain,) = prompts(1)
    chat = turns_prompt(plain.example, plain.ranking, [Turn("system", "S"), Turn("user", "a"), Turn("user", "b")])
    list(build().generate([chat]))
    list(build(system="Be brief.").generate([chat]))
    list(build(chat="never").generate([chat]))
    after = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    sent = [request.content for request in fake.posts]
    assert sent[0]["messages"] == [{"role": "system", "content": "S"}, *after]
    assert sent[1]["messages"] == [{"role": "system", "content": "Be brief.\n\nS"}, *after]
    assert sent[2]["prompt"] == "S\n\na\n\nb"


def test_a_stream_of_prompts_is_drawn_as_there_is_room(fake: FakeServer, build: Callable[..., Any]) -> None:
    drawn = 0

    def given() -> Any:
        nonlocal drawn
        for prompt in prompts(300):
            drawn += 1
            yield prompt

    found = []
    for number, completion in build(concurrency=3).stream(given()):
        found.append((number, completion.text))
        assert drawn - len(found) <= 6
    assert sorted(found) == [(number, f"to prompt {number}") for number in range(300)]
    assert list(build().stream(iter([]))) == []
    assert len(fake.posts) == 300


@pytest.mark.parametrize(
    ("option", "chat", "path"),
    [
        ("auto", True, "/v1/chat/completions"),
        ("auto", False, "/v1/chat/completions"),
        ("always", False, "/v1/chat/completions"),
        ("never", True, "/v1/completions"),
        ("by-protocol", True, "/v1/chat/completions"),
        ("by-protocol", False, "/v1/completions"),
    ],
)
def test_endpoints(fake: FakeServer, build: Callable[..., Any], option: str, chat: bool, path: str) -> None:
    assert texts(list(build(chat=option).generate(prompts(1, chat)))) == ["to prompt 0"]
    assert [request.path for request in fake.posts] == [path]


@pytest.mark.parametrize(("before", "now"), [("auto", "by-protocol"), ("chat", "always"), ("completions", "never")])
def test_the_earlier_option_names_the_new_one(build: Callable[..., Any], before: str, now: str) -> None:
    with pytest.raises(PrlmBenchError, match=f"endpoint={before} is now chat={now}"):
        build(endpoint=before)


def test_options_are_sent(fake: FakeServer, build: Callable[..., Any]) -> None:
    options = {"temperature": 0.7, "top_p": 0.9, "stop": "###+\\n+\\\\n", "max_tokens": 9, "system": "Be brief."}
    list(build(**options, limit_key="max_completion_tokens").generate(prompts(1)))
    list(build(**options, seed=3, chat="never").generate(prompts(1)))
    sampled = {"model": "fake", "temperature": 0.7, "top_p": 0.9, "stop": ["###", "\n", "\\n"]}
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "prompt 0"}]
    assert [request.content for request in fake.posts] == [
        # The run's seed is 5: repetitions with other seeds must differ.
        {**sampled, "max_completion_tokens": 9, "seed": 5, "messages": turns},
        {**sampled, "max_tokens": 9, "seed": 3, "prompt": "Be brief.\n\nprompt 0"},
    ]
    fake.seen.clear()
    list(build(temperature="none").generate(prompts(1)))
    assert fake.posts[0].content.keys() == {"model", "max_tokens", "seed", "messages"}


def test_samples_have_seeds_of_their_own(fake: FakeServer, build: Callable[..., Any]) -> None:
    found = dict(build(temperature=0.7).sample(prompts(2), 3))
    assert {place: [completion.text for completion in row] for place, row in found.items()} == {
        place: [f"to prompt {place}"] * 3 for place in range(2)
    }
    asked = sorted((request.content["messages"][0]["content"], request.content["seed"]) for request in fake.posts)
    # The run's seed is 5, and the first sample is the completion of a run.
    assert asked == [(f"prompt {place}", 5 + 1_000_003 * number) for place in range(2) for number in range(3)]
    with pytest.raises(PrlmBenchError, match="so 2 samples of it would be the same"):
        list(build().sample(prompts(1), 2))
    assert texts([(place, row[0]) for place, row in build().sample(prompts(1), 1)]) == ["to prompt 0"]


def test_arguments_of_the_template_go_with_chats(fake: FakeServer, build: Callable[..., Any]) -> None:
    more = {"template": '{"enable_thinking": false}', "extra": '{"reasoning_effort": "low", "top_k": 5}'}
    list(build(**more).generate(prompts(1)))
    list(build(**more, chat="never").generate(prompts(1)))
    chat, plain = (request.content for request in fake.posts)
    assert chat["chat_template_kwargs"] == {"enable_thinking": False}
    assert "chat_template_kwargs" not in plain
    assert all((content["reasoning_effort"], content["top_k"]) == ("low", 5) for content in (chat, plain))


def test_usage_and_cost(fake: FakeServer, build: Callable[..., Any]) -> None:
    ((_, completion),) = build(price_in=2, price_out=10).generate(prompts(1))
    assert completion == Completion("to prompt 0", False, "stop", 3, 7, pytest.approx(44e-6))
    ((_, completion),) = build().generate(prompts(1))
    assert (completion.tokens, completion.prompt_tokens, completion.cost) == (3, 7, None)
    ((_, completion),) = build(price_in=2, chat="never").generate(prompts(1))
    assert completion == Completion("to prompt 0", False, "length")


# Identity


#: Options that cannot change an answer.
WITHOUT_EFFECT = {
    "concurrency": 32,
    "timeout": 600,
    "max_retries": 20,
    "api_key_env": "ANOTHER_KEY",
    "price_in": 2.5,
    "price_out": 10,
}


@pytest.mark.parametrize(
    ("options", "same"),
    [
        *[({name: value}, True) for name, value in WITHOUT_EFFECT.items()],
        (WITHOUT_EFFECT, True),
        ({"model": "fake-2"}, False),
        ({"temperature": 0.5}, False),
        ({"temperature": "none"}, False),
        ({"top_p": 0.5}, False),
        ({"seed": 1}, False),
        ({"max_tokens": 255}, False),
        ({"stop": "x"}, False),
        ({"system": "x"}, False),
        ({"chat": "never"}, False),
        ({"limit_key": "max_completion_tokens"}, False),
        ({"tokenizer": "words"}, False),
        ({"template": {"enable_thinking": False}}, False),
        ({"extra": {"top_k": 5}}, False),
        ({"refused": "empty"}, False),
    ],
)
def test_options_that_cannot_change_an_answer_are_not_in_the_identity(
    fake: FakeServer, identity: Callable[..., Any], options: dict[str, Any], same: bool
) -> None:
    fake.models.content["data"].append({"id": "fake-2", "root": "/models/fake"})
    assert (identity(**options) == identity()) is same


def test_the_address_is_in_the_identity(fake: FakeServer, identity: Callable[..., Any]) -> None:
    assert identity(base_url=fake.url.replace("127.0.0.1", "localhost")) != identity()


@pytest.fixture
def identity(
    fake: FakeServer, host: PluginHost, context: Context, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, str]]:
    """The identity of the generator with options."""
    monkeypatch.setenv("ANOTHER_KEY", "abc")

    def of(**options: Any) -> dict[str, str]:
        choice = host.registry.choose(
            "generator", {"name": "openai-api", "model": "fake", "base_url": fake.url} | options
        )
        return choice.identity(choice.make(context))

    return of


# Options and the key


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": None}, "openai-api needs a server (base_url=http://localhost:8000/v1, or set OPENAI_BASE_URL)"),
        ({"base_url": "localhost:8000/v1"}, "base_url is not an http or https address (write it like"),
        ({"base_url": "ftp://host/v1"}, "base_url is not an http or https address"),
        ({"base_url": "http://host:99999/v1"}, "base_url is not an http or https address"),
        (
            {"base_url": f"http://u:{SECRET}@host/v1", "concurrency": 0},
            "base_url must not contain a user name, password or",
        ),
        ({"base_url": f"http://host/v1?key={SECRET}"}, "base_url must not contain a user name, password or query"),
        ({"base_url": "http://host/v1/chat/completions"}, "base_url is too long: give the part before"),
        ({"api_key_env": SECRET}, "api_key_env is not the name of an environment variable"),
        ({"api_key_env": "hf_" + SECRET[3:]}, "the environment variable that api_key_env names is not set"),
        ({"concurrency": 0}, "concurrency must be at least 1"),
        ({"timeout": 0}, "timeout above 0"),
        ({"max_retries": -1}, "max_retries at least 0"),
        ({"stop": "a+"}, "a text that ends a completion must not be empty"),
        ({"extra": {"stream": True}}, "extra must not contain stream"),
    ],
)
def test_mistakes_in_options(build: Callable[..., Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(PrlmBenchError) as caught:
        build(**options)
    assert said in str(caught.value)
    assert SECRET[3:] not in str(caught.value)


def test_the_manual_has_every_option(host: PluginHost) -> None:
    table = manual.section(manual.REPOSITORY / "docs" / "guides" / "servers.md", "Options")
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
    with pytest.raises(PrlmBenchError, match=r"^the key contains blanks or non-ASCII characters"):
        build()


def test_the_address_may_come_from_the_environment(
    fake: FakeServer, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{fake.url}/")
    generator = context.build("generator", "openai-api:fake")
    assert fake.url.removeprefix("http://") in generator.fingerprint()
    assert texts(list(generator.generate(prompts(1)))) == ["to prompt 0"]


def test_the_key_is_nowhere(
    fake: FakeServer,
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
        packed = base64.b64encode(f"key {SECRET}".encode()).decode()
        finish = (SECRET, packed, SECRET.encode().hex())[len(prompt) % 3]
        text = f"{{'title': '{SECRET}'}} {packed}"
        return Reply(content=chat_reply(text, finish, id=packed, system_fingerprint=SECRET))

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
    encoded = base64.b64encode(SECRET[3:].encode()).decode()[:16]
    forms = [SECRET[3:], encoded, SECRET[3:].encode().hex()]
    assert not [text for text in said if any(form in text for form in forms)]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {".jsonl", ".json", ".sqlite"} <= {path.suffix for path in files}
    held = [path.read_bytes() + str(path).encode() for path in files]
    assert not [content for content in held if any(form.encode() in content for form in forms)]


# Through a run


def test_a_failed_run_goes_on_where_it_stopped(fake: FakeServer, here: Any, tmp_path: Path) -> None:
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


def test_a_longer_timeout_or_a_price_asks_nothing_again(fake: FakeServer, here: Any, tmp_path: Path) -> None:
    spec = f"openai-api:model=fake,base_url={fake.url}"
    fake.act = lambda prompt, attempt: Reply(content=chat_reply("{'title': 'x'}"))
    assert here(*RUN.split(), "--generator", f"{spec},price_in=1,timeout=5", "--results", "out").status == 0
    requests = len(fake.posts)
    for more in ("timeout=600,concurrency=1,max_retries=9", "price_in=500,price_out=500"):
        assert here(*RUN.split(), "--generator", f"{spec},{more}", "--results", "out").status == 0
    assert here(*RUN.split(), "--generator", f"{spec},price_in=500", "--results", "other").status == 0
    assert len(fake.posts) == requests
    for folder in ("out", "other"):  # a completion keeps the cost that it had when it was generated
        ((stored,), _) = find_results(tmp_path / folder)
        assert {sample.cost for sample in read_samples(stored.folder)} == {7e-6}


def test_the_request_can_be_shown(build: Callable[..., Any]) -> None:
    shown = json.loads(build(system="Be brief.").render(prompts(1, chat=False)[0]))
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "prompt 0"}]
    assert (shown["POST"], shown["messages"]) == ("/chat/completions", turns)
    assert json.loads(build(chat="never").render(prompts(1)[0]))["prompt"] == "prompt 0"
