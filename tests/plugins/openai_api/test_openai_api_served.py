"""Which model is behind an address: what servers say of it, and where completions are kept that could be another's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prlm_bench_plugins.openai_api import served_model
from support.openai_server import (
    HTML,
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

from prlm_bench.interfaces import NOT_VERIFIED
from prlm_bench.results import find_results, read_samples

#: A list that says nothing beyond the name.
BARE = {"data": [{"id": "fake", "object": "model", "owned_by": "nobody", "created": 1}]}


def test_the_fingerprint_names_model_server_and_report(fake: FakeServer, build: Callable[..., Any]) -> None:
    address = fake.url.removeprefix("http://")
    said = f"model=fake; server={address}; reported=id fake, owned_by nobody"
    assert build().fingerprint().startswith(f"{said}, details ")
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
    assert not any("/models/a" in text or NOT_VERIFIED in text for text in seen)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(404, {"detail": "Not Found"}), "nothing"),
        (Reply(403, {}), "nothing"),
        (Reply(500, b"Internal Server Error"), "nothing"),
        (Reply(content={"data": []}), "nothing"),
        (Reply(content={"data": [{"id": "another"}, {"id": "more"}, "x"]}), "nothing"),
        (Reply(content={"models": ["fake"]}), "nothing"),
        (Reply(content=b"not json"), "nothing"),
        (Reply(content=BARE), "id fake, owned_by nobody"),
        (Reply(content={"data": [{"id": "another"}]}), "id another"),
        (Reply(content={"data": [{"id": "fake", "root": "fake", "owned_by": "x"}]}), "id fake, owned_by x, details "),
        (Reply(content={"data": [{"id": "fake", "meta": {"n_params": 9}, "aliases": 3}]}), "id fake, details "),
    ],
)
def test_a_model_of_which_nothing_is_said(fake: FakeServer, build: Callable[..., Any], reply: Reply, said: str) -> None:
    fake.models = reply
    generator = build()
    assert f"; reported={said}" in generator.fingerprint()
    assert generator.fingerprint().endswith(f"; {NOT_VERIFIED}")
    assert texts(list(generator.generate(prompts(1)))) == ["to prompt 0"]


#: By server: the list, where else it says what it serves, what it says, and what it says of another model.
SERVERS: dict[str, tuple[Any, str, Any, Any]] = {
    "llama.cpp": (
        {"data": [{"id": "gpt-3.5-turbo", "owned_by": "llamacpp", "meta": {"n_params": 8, "size": 9}}]},
        "/props",
        {"model_path": "/a.gguf", "build_info": "b7000", "total_slots": 4},
        {"model_path": "/b.gguf", "build_info": "b7000", "total_slots": 4},
    ),
    "llama.cpp, upgraded": (
        {"data": [{"id": "fake", "owned_by": "llamacpp"}]},
        "/props",
        {"model_path": "/a.gguf", "build_info": "b7000"},
        {"model_path": "/a.gguf", "build_info": "b7001"},
    ),
    "Ollama": (
        {"data": [{"id": "fake", "owned_by": "library"}, {"id": "more", "owned_by": "library"}]},
        "/api/tags",
        {"models": [{"name": "more", "digest": "c"}, {"name": "fake:latest", "digest": "a"}]},
        {"models": [{"name": "more", "digest": "c"}, {"name": "fake:latest", "digest": "b"}]},
    ),
    "TGI": (
        {"data": [{"id": "tgi", "created": 0, "owned_by": "tgi"}]},
        "/info",
        {"model_id": "me/model", "model_sha": "a1", "max_concurrent_requests": 128},
        {"model_id": "me/model", "model_sha": "b2", "max_concurrent_requests": 128},
    ),
    "SGLang": (
        {"data": [{"id": "fake", "owned_by": "sglang", "root": "fake"}]},
        "/get_model_info",
        {"model_path": "me/a", "is_generation": True},
        {"model_path": "me/b", "is_generation": True},
    ),
    "LiteLLM": (
        {"data": [{"id": "fake", "owned_by": "openai"}]},
        "/model/info",
        {"data": [{"model_name": "fake", "litellm_params": {"model": "openai/a"}}]},
        {"data": [{"model_name": "fake", "litellm_params": {"model": "openai/b"}}]},
    ),
    "KoboldCpp": (
        {"data": [{"id": "koboldcpp/x", "owned_by": "koboldcpp"}]},
        "/api/v1/model",
        {"result": "koboldcpp/a"},
        {"result": "koboldcpp/b"},
    ),
}


@pytest.mark.parametrize("server", SERVERS)
def test_another_model_behind_one_address(fake: FakeServer, build: Callable[..., Any], server: str) -> None:
    listed, path, first, second = SERVERS[server]
    fake.models = Reply(content=listed)
    unknown = build().fingerprint()
    assert unknown.endswith(NOT_VERIFIED)
    seen = []
    for said in (first, second):
        fake.pages[path] = Reply(content=said)
        assert build().fingerprint() == build().fingerprint()
        seen.append(build().fingerprint())
    assert len({unknown, *seen}) == 3
    assert not any(NOT_VERIFIED in text for text in seen)


def test_vllm_names_the_weights_in_its_list(fake: FakeServer, build: Callable[..., Any]) -> None:
    """Of an adapter, those of the base model as well."""
    base = {"id": "base", "owned_by": "vllm", "root": "/weights/a", "parent": None}
    fake.models = Reply(content={"data": [base, {"id": "fake", "owned_by": "vllm", "root": "/lora", "parent": "base"}]})
    before = build().fingerprint()
    base["root"] = "/weights/b"
    assert before != build().fingerprint()
    fake.models = Reply(content={"data": [{"id": "fake", "owned_by": "vllm", "root": "fake"}]})
    assert NOT_VERIFIED not in build().fingerprint()
    assert not [request for request in fake.seen if not request.path.endswith("/models")]


@pytest.mark.parametrize(
    "page",
    [
        Reply(500, {}),
        Reply(content=HTML),
        Reply(content={"model_path": "none", "role": "router"}),
        Reply(content=["model_path"]),
        Reply(content={"models": {"fake": 1}, "data": "x", "result": None}),
        Reply(307, b"", {"Location": "http://127.0.0.1:9/"}),
        Reply(content={"model_path": "late"}, wait=1.0),
    ],
)
def test_places_that_say_nothing_are_no_failure(fake: FakeServer, build: Callable[..., Any], page: Reply) -> None:
    fake.models = Reply(content=BARE)
    for path in ("/props", "/api/tags", "/info", "/model_info", "/get_model_info", "/model/info", "/api/v1/model"):
        fake.pages[path] = page
    assert build(timeout=0.5).fingerprint().endswith(NOT_VERIFIED)


def test_only_the_servers_own_host_is_asked(
    fake: FakeServer, build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    fake.models = Reply(content=BARE)
    model = {"model": "a b&c/../d", "base_url": fake.url.replace("/v1", "/team/v1")}
    build(**model).fingerprint()
    paths = {request.path for request in fake.seen}
    assert "/team/props?model=a%20b%26c%2F..%2Fd" in paths
    assert all(path.startswith("/team/") for path in paths)
    assert {request.headers["Host"] for request in fake.seen} == {fake.url[7:-3]}


def test_the_same_for_other_plugins(fake: FakeServer) -> None:
    fake.models = Reply(content=BARE)
    assert served_model(fake.url, "fake") == f"id fake, owned_by nobody; {NOT_VERIFIED}"


@pytest.mark.parametrize("jobs", [1, 2])
def test_completions_of_a_model_that_is_not_verified_stay_in_their_folder(
    fake: FakeServer, here: Any, tmp_path: Path, jobs: int
) -> None:
    """Run 2, of another model under the same name at the same address, gets its own answers."""
    fake.models = Reply(content=BARE)
    spec = f"openai-api:model=fake,base_url={fake.url}"
    answers = {}
    for folder in ("first", "second"):
        fake.act = lambda prompt, attempt, folder=folder: Reply(content=chat_reply(f"{{'title': '{folder}'}}"))
        done = here(*RUN.split(), "--generator", spec, "--results", folder, "--jobs", str(jobs))
        assert done.status == 0, done
        ((stored,), _) = find_results(tmp_path / folder)
        answers[folder] = {sample.answer for sample in read_samples(stored.folder)}
        assert NOT_VERIFIED in stored.manifest.method.generator.fingerprint
    assert answers == {"first": {"first"}, "second": {"second"}}
    assert not list((tmp_path / "cache").rglob("*.sqlite"))
    asked = len(fake.posts)
    rerun = [*RUN.split(), "--limit", "5", "--generator", spec, "--results", "second"]
    assert here(*rerun).status == 0
    assert len(fake.posts) == asked  # in their own folder they are found


def test_after_a_change_a_verified_model_has_rows_of_its_own(fake: FakeServer, here: Any, tmp_path: Path) -> None:
    spec = f"openai-api:model=fake,base_url={fake.url}"
    for root in ("/a", "/b"):
        fake.models.content["data"][0]["root"] = root
        fake.act = lambda prompt, attempt, root=root: Reply(content=chat_reply(f"{{'title': '{root}'}}"))
        assert here(*RUN.split(), "--generator", spec, "--results", "out").status == 0
    stored, _ = find_results(tmp_path / "out")
    assert sorted({sample.answer for sample in read_samples(each.folder)}.pop() for each in stored) == ["/a", "/b"]


def test_a_model_that_is_exchanged_during_a_run_ends_its_row(fake: FakeServer, here: Any, tmp_path: Path) -> None:
    def act(prompt: str, attempt: int) -> Reply:
        fake.models.content["data"][0]["root"] = "/another"
        return Reply(content=chat_reply("{'title': 'x'}"))

    fake.act = act
    run = [*RUN.split(), "--generator", f"openai-api:model=fake,base_url={fake.url}", "--results", "out"]
    done = here(*run)
    assert done.status != 0
    assert "serves another model than when the run was planned (run again: the other" in done.stdout + done.stderr
    assert not find_results(tmp_path / "out")[0]
    assert here(*run).status == 0
    ((stored,), unfinished) = find_results(tmp_path / "out")
    assert (len(list(read_samples(stored.folder))), len(unfinished)) == (stored.manifest.data.n, 1)
    assert set(fake.attempts.values()) == {2}
