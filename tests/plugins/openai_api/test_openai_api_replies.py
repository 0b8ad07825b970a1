"""Replies as servers write them: text, why it ended, what failed or was refused, and fields that nothing can hold."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prlm_bench_plugins.openai_api._errors import RefusedError, RequestError, RetryableError, refusal
from prlm_bench_plugins.openai_api._json import parse
from prlm_bench_plugins.openai_api._replies import read_completion, read_finish
from prlm_bench_plugins.openai_api._server import Key, Server
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
from prlm_bench.prompting import stop_texts
from prlm_bench.records import Completion
from prlm_bench.results import find_results, read_samples

THOUGHT = ("<think>\nhm\n</think>\nx", "stop")
LENGTH = "lower the reasoner's max_length= or max_tokens= here"
SERVER = Server("http://host/v1", "fake", Key(SECRET), "OPENAI_API_KEY", 1, 5.0, 3)


def read(reply: Any, chat: bool = True) -> Completion:
    body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    return read_completion(body, chat, SERVER, "http://host/v1/completions", "q7", (1.0, 1.0))


# Text


@pytest.mark.parametrize(
    ("message", "finish", "expected"),
    [
        ({"content": "x"}, "eos_token", ("x", "stop")),
        ({"content": None, "refusal": "no"}, "content_filter", ("", "refused")),
        ({"content": None, "refusal": "I cannot help with that."}, "stop", ("", "refused")),
        ({"content": "x", "refusal": None}, "stop", ("x", "stop")),
        ({"content": [{"type": "text", "text": "a"}, {"text": "b"}]}, "stop", ("ab", "stop")),
        ({"content": [{"type": "text", "text": None}, {"text": "b"}, None, 3, "c"]}, "stop", ("bc", "stop")),
        ({"content": [{"type": "text", "text": None}]}, "stop", ("", "stop")),
        ({"content": "x", "reasoning_content": " hm "}, "stop", THOUGHT),
        ({"content": "x", "reasoning_content": None, "reasoning": "hm"}, None, ("<think>\nhm\n</think>\nx", None)),
        ({"content": None, "reasoning_content": "hm"}, "length", ("<think>\nhm\n", "length")),
        ({"content": "hm</think>x", "reasoning_content": "hm"}, "stop", ("hm</think>x", "stop")),
        ({"content": "half \ud83d"}, "stop", ("half \ufffd", "stop")),
        ({"content": None, "reasoning": None}, "tool_calls", ("", "stop")),
        ({"content": [{"type": "thinking", "thinking": [{"text": "hm"}]}, {"text": "x"}]}, "stop", THOUGHT),  # Mistral
        ({"content": [{"type": "thinking", "thinking": "hm"}, {"text": "x"}]}, "end_turn", THOUGHT),
    ],
)  # fmt: skip
def test_replies_as_servers_write_them(message: Any, finish: Any, expected: tuple[str, str | None]) -> None:
    completion = read({"choices": [{"message": message, "finish_reason": finish}], "usage": None, "error": None})
    assert (completion.text, completion.finish) == expected
    assert (completion.tokens, completion.prompt_tokens, completion.cost) == (None, None, None)


def test_a_text_of_null_is_empty() -> None:
    assert read({"choices": [{"text": None, "finish_reason": "stop"}]}, chat=False).text == ""
    with pytest.raises(RetryableError, match="a choice without text"):
        read({"choices": [{"finish_reason": "stop"}]}, chat=False)


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 2**64, "completion_tokens": 3}, (None, 3)),
        ({"prompt_tokens": -(10**30), "completion_tokens": 1e400}, (None, None)),
        ({"input_tokens": 7, "output_tokens": 2**64}, (7, None)),
        ({"prompt_tokens": True, "completion_tokens": "3"}, (None, None)),
        ({"prompt_tokens": 2.5, "completion_tokens": float("nan")}, (None, None)),
        ([7, 3], (None, None)),
        ("\ud83d", (None, None)),
    ],
)
def test_counts_that_nothing_can_hold_are_unknown(usage: Any, counts: tuple[int | None, int | None]) -> None:
    completion = read(chat_reply("x") | {"usage": usage})
    assert (completion.prompt_tokens, completion.tokens, completion.cost) == (*counts, None)


def test_numbers_with_thousands_of_digits() -> None:
    body = json.dumps(chat_reply("x")).replace("7", "7" * 5000).encode()
    assert (read(body).prompt_tokens, read(body).tokens) == (None, 3)
    assert parse(b"[1e999, -Infinity, NaN, 123456789012345, 1.5]", Key("")) == [None, None, None, 123456789012345, 1.5]


def test_deep_nesting_is_an_unreadable_reply() -> None:
    for depth in (3000, 100_000):
        with pytest.raises(RetryableError, match="invalid JSON"):
            read(b'{"choices": ' + b"[" * depth + b"]" * depth + b"}")


# Why a completion ended


@pytest.mark.parametrize(
    ("reasons", "finish"),
    [
        (["stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn", "COMPLETE", "eosFound"], "stop"),
        ([{"type": "stop", "matched": 2}, "FinishReason.STOP", "FINISH_REASON_STOP", "tool_calls"], "stop"),
        (["length", "max_tokens", "MAX_TOKENS", "model_length", "maxPredictedTokensReached", "limit"], "length"),
        ([{"type": "length", "length": 9}, "model_context_window_exceeded", "repetition"], "length"),
        (["content_filter", "content-filter", "SAFETY", "refusal", "guardrail_intervened", "sensitive"], "refused"),
        (["error", "ERROR_TOXIC", "abort", {"type": "abort", "message": "x"}, "cancelled", "canceled"], "failed"),
        (["insufficient_system_resource", "network_error", "load", "modelUnloaded", "timeout"], "failed"),
        ([None, "", " ", 3, [], {}, True], None),
    ],
)  # fmt: skip
def test_reasons_to_finish(reasons: list[Any], finish: str | None) -> None:
    assert [read_finish(reason) for reason in reasons] == [finish] * len(reasons)


def test_an_unknown_reason_is_named_once(
    fake: FakeServer, build: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    fake.act = lambda prompt, attempt: Reply(content=chat_reply(prompt, "half \ud83d a\x1b[31mthing"))
    answers = list(build().generate(prompts(9)))
    assert {completion.finish for _, completion in answers} == {"half \ufffd a [31mthing"}
    (said,) = caplog.messages
    assert said.endswith("finish_reason 'half \ufffd a [31mthing' is not known; such answers count as whole")


FAILED = {
    "finish_reason": lambda text: chat_reply(text, "error"),
    "abort": lambda text: chat_reply(text, "abort"),
    "in the choice": lambda text: {"choices": [{**chat_reply(text)["choices"][0], "error": {"message": "no memory"}}]},
    "beside the choices": lambda text: chat_reply(text) | {"error": {"code": 502, "message": "bad gateway"}},
    "as text": lambda text: chat_reply(text) | {"error": "\ud83d engine died"},
}  # fmt: skip


@pytest.mark.parametrize("kind", FAILED)
def test_a_failed_completion_is_asked_again(fake: FakeServer, build: Callable[..., Any], kind: str) -> None:
    fake.act = lambda prompt, attempt: Reply(content=FAILED[kind]("half") if attempt < 5 else fake.answer(prompt))
    assert texts(list(build().generate(prompts(3)))) == [f"to prompt {number}" for number in range(3)]
    assert set(fake.attempts.values()) == {6}


@pytest.mark.parametrize("kind", FAILED)
def test_a_completion_that_fails_for_good_is_no_answer(fake: FakeServer, here: Any, tmp_path: Path, kind: str) -> None:
    """Its row fails; the partial text is in no sample and in no cache."""
    fake.act = lambda prompt, attempt: Reply(content=FAILED[kind]("{'title': 'half of it'}"))
    spec = f"openai-api:model=fake,base_url={fake.url},max_retries=1"
    done = here(*RUN.split(), "--generator", spec, "--results", "out")
    assert done.status != 0
    assert "2 times" in done.stdout + done.stderr
    written = b"".join(
        path.read_bytes() for path in tmp_path.rglob("*") if path.suffix in (".jsonl", ".sqlite", ".sqlite-wal")
    )
    assert b"half of it" not in written


def test_an_error_in_a_reply_is_what_its_status_would_be(fake: FakeServer, build: Callable[..., Any]) -> None:
    fake.act = lambda prompt, attempt: Reply(content={"error": {"code": 401, "message": "no"}})
    with pytest.raises(PrlmBenchError, match="status 401: the server requires a key"):
        list(build().generate(prompts(1)))
    assert len(fake.posts) == 1


# Refused prompts

AZURE = {
    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "type": None,
    "param": "prompt",
    "code": "content_filter",
    "status": 400,
    "innererror": {"code": "ResponsibleAIPolicyViolation"},
}


def refusing(fake: FakeServer, status: int = 400) -> Callable[[str, int], Reply]:
    """Refuses the third of the prompts that come."""
    order: list[str] = []

    def act(prompt: str, attempt: int) -> Reply:
        order.append(prompt)
        return Reply(status, {"error": AZURE}) if len(order) == 3 else Reply(content=chat_reply("{'title': 'x'}"))

    return act


def test_a_refused_prompt_names_question_and_option(fake: FakeServer, here: Any) -> None:
    fake.act = refusing(fake)
    done = here(*RUN.split(), "--generator", f"openai-api:model=fake,base_url={fake.url}", "--results", "out")
    assert done.status != 0
    said = done.stdout + done.stderr
    assert "status 400: the server's content filter refuses question " in said
    assert "refused=empty counts it as an empty answer" in said


def test_refused_prompts_may_count_as_empty_answers(fake: FakeServer, here: Any, tmp_path: Path) -> None:
    fake.act = refusing(fake)
    spec = f"openai-api:model=fake,base_url={fake.url},refused=empty,concurrency=1"
    for folder in ("out", "again"):  # the second from the cache
        assert here(*RUN.split(), "--generator", spec, "--results", folder).status == 0
        ((stored,), _) = find_results(tmp_path / folder)
        samples = list(read_samples(stored.folder))
        assert sorted(sample.finish or "" for sample in samples) == ["refused"] + ["stop"] * (len(samples) - 1)
        assert [sample.answer for sample in samples if sample.finish == "refused"] == [""]
    assert set(fake.attempts.values()) == {1}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, AZURE),
        (400, {"message": "Output blocked by content filtering policy", "type": "invalid_request_error"}),
        (400, {"message": "Content Exists Risk", "code": "invalid_request_error"}),
        (400, {"message": "<400> InternalError: ...", "code": "data_inspection_failed"}),
        (400, {"message": "litellm.ContentPolicyViolationError: ..."}),
        (403, {"code": 403, "message": "Your chosen model requires moderation and your input was flagged"}),
        (400, {"message": "Invalid prompt: your prompt was flagged as potentially violating our usage policy."}),
    ],
)
def test_servers_words_for_a_refused_prompt(status: int, error: dict[str, Any]) -> None:
    failure = refusal(SERVER, "http://host", status, json.dumps({"error": error}).encode(), question="q7")
    assert isinstance(failure, RefusedError)
    assert "refuses question q7" in failure.message
    with pytest.raises(RefusedError, match="refuses question q7"):
        read({"error": error, "choices": [{"message": {"content": "half"}, "finish_reason": "stop"}]})


# Hints


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("Unsupported value: 'temperature' does not support 0.0 with this model.", "temperature=none"),
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "limit_key=max_com"),
        ("max_tokens is too large: 99999. This model supports at most 16384.", "lower max_tokens="),
        ("This model's maximum context length is 2048 tokens. However, you requested 9", LENGTH),
        ("the request exceeds the available context size, try increasing it", LENGTH),
        ("Input validation error: `inputs` must have less than 1024 tokens. Given: 2", LENGTH),
        ("`inputs` tokens + `max_new_tokens` must be <= 2048. Given: 9", LENGTH),
        ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", LENGTH),
        ("`temperature` and `top_p` cannot both be specified for this model.", "temperature=none"),
        ("top_p must be in (0, 1]", "leave top_p= out"),
        ("Unsupported parameter: 'stop' is not supported with this model.", "leave stop= out"),
        ("System role not supported", "leave system= out"),
        ("unrecognized field chat_template_kwargs", "leave template= out"),
        ("default chat template is no longer allowed, so you must provide a chat template", "chat=never, or"),
        ("The model `x` does not exist", "check model="),
        ("seed: Extra inputs are not permitted", "leave seed= out"),
        ("something else", "the server's log may say more"),
    ],
)  # fmt: skip
def test_hints_fit_the_error(message: str, hint: str) -> None:
    failure = refusal(SERVER, "http://host", 400, json.dumps({"error": {"message": message}}).encode(), question="q7")
    assert type(failure) is RequestError
    assert failure.hint.startswith(hint)


def test_a_parameter_is_named_by_its_field() -> None:
    body = json.dumps({"error": {"message": "Unsupported value.", "param": "temperature", "code": "x"}}).encode()
    assert refusal(SERVER, "http://host", 400, body, question="q7").hint == "temperature=none"


def test_messages_are_one_printable_line() -> None:
    body = json.dumps({"error": {"message": f"\x1b[31mhalf \ud83d\n{SECRET}\x07"}}).encode()
    assert refusal(SERVER, "http://host", 400, body).message.endswith("status 400: [31mhalf \ufffd ***")


# Through a run


def test_no_row_fails_or_lies_because_of_odd_fields(
    fake: FakeServer, here: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    listed = {"id": "fake", "owned_by": "half \ud83d", "root": f"\ud83d{SECRET}", "meta": {"\ud83d": 2**70}}
    fake.models = Reply(content={"data": [listed, {"id": "\ud83d"}, {"id": None}, {"id": 7}]})
    kinds = [
        lambda: chat_reply("{'title': 'x'}", f"\ud83d{SECRET}"),
        lambda: chat_reply("{'title': 'x'}") | {"usage": {"prompt_tokens": 2**64, "completion_tokens": 2**200}},
        lambda: {"choices": [{"message": {"content": [{"text": None}, {"text": "{'title': 'x'}"}]}}]},
        lambda: {"model": "\ud83d", "id": 2**80, "choices": [{"message": {"content": "{'title': 'x\ud83d'}"}}]},
    ]  # fmt: skip
    fake.act = lambda prompt, attempt: Reply(content=kinds[len(fake.posts) % len(kinds)]())
    done = here(
        *RUN.split(), "--generator", f"openai-api:model=fake,base_url={fake.url},price_in=1", "--results", "out"
    )
    assert done.status == 0, done
    ((stored,), _) = find_results(tmp_path / "out")
    samples = list(read_samples(stored.folder))
    assert {sample.answer for sample in samples} == {"x", "x\ufffd"}
    assert {sample.finish for sample in samples} == {"stop", None, "\ufffd***"}
    assert {sample.generator_prompt_tokens for sample in samples} == {7, None}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert SECRET not in done.stdout + done.stderr + caplog.text


def test_escapes_in_stop_texts() -> None:
    written = ["\\n", "\\t", "\\r", "a\\\\nb", "\\boxed", "a\nb", "\\"]
    assert stop_texts(written) == ["\n", "\t", "\r", "a\\nb", "\\boxed", "a\nb", "\\"]
    assert stop_texts(None) == []
