"""Whatever is damaged in a file or a reply that a plugin reads: it is read, or refused in one line that names it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, strategies as st
from prlm_bench_plugins._hf import read_json
from prlm_bench_plugins._training import (
    Artefact,
    read_artefact,
    read_completions,
    read_log,
    read_manifest,
    read_seconds,
)
from prlm_bench_plugins.dense._checkpoint import Checkpoint, resolve_settings
from prlm_bench_plugins.lm_eval_bridge._frozen_prompts import _Exported, _Line
from prlm_bench_plugins.openai_api._errors import RequestError, refusal
from prlm_bench_plugins.openai_api._replies import read_completion, read_json as read_reply, read_models
from prlm_bench_plugins.openai_api._served import _PLACES, _described, _pick, _says_which
from prlm_bench_plugins.openai_api._server import Key, Server
from prlm_bench_plugins.prlm._cli import completions, curve
from prlm_bench_plugins.prlm._preference_pairs import read_pairs
from prlm_bench_plugins.prlm._recipe import read_recipe
from prlm_bench_plugins.studies._traces import method_of
from prlm_bench_plugins.transformers_lm._files import _shards
from support.corpus import make_corpus, write_json
from support.damage import LONG, SHORT, VALUES, changed_value, damaged, damaged_bytes, read_or_refuse
from support.prlm_shop import settings

from prlm_bench.errors import PrlmBenchError
from prlm_bench.files import load_json, load_json_lines
from prlm_bench.tasks import TaskRegistry

Read = Callable[[Path], Any]
KEY = Key("a-secret-key-of-twenty")
SERVER = Server("http://localhost:1/v1", "m", KEY, "OPENAI_API_KEY", 1, 1.0, 0)
REPLY = {
    "id": "x",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "an answer", "reasoning_content": "a thought"},
            "text": "an answer",
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}
MODELS = {"object": "list", "data": [{"id": "m", "owned_by": "vllm", "root": "/models/m", "parent": None, "meta": {}}]}
REFUSAL = {"error": {"message": "no", "type": "invalid_request_error", "param": "temperature", "code": "bad"}}


def _policy(read: Callable[[Artefact], Any]) -> Read:
    return lambda root: read(Artefact(root / "policy", {}))


def _exported(root: Path) -> None:
    load_json(root / "exported.json", _Exported)


def _checkpoint(root: Path) -> None:
    resolve_settings(Checkpoint(root / "checkpoint"), None, None, None, "float32", "cpu")


def _quietly(command: Callable[..., None], **options: Any) -> Read:
    return lambda root: command(root / "policy", json=True, **options)


#: What reads a file of the corpus.
READERS: dict[str, tuple[str, Read]] = {
    "recipe": ("recipe.yaml", lambda root: read_recipe(str(root / "recipe.yaml"))),
    "manifest": ("policy/manifest.json", lambda root: method_of(str(root), "policy", 0)),
    "any manifest": ("policy/manifest.json", lambda root: read_manifest(root / "policy")),
    "artefact": ("policy/manifest.json", lambda root: read_artefact(root / "policy", "policy")),
    "log": ("policy/log.jsonl", lambda root: read_log(root / "policy")),
    "curve": ("policy/log.jsonl", _quietly(curve, every=1)),
    "completions": ("policy/completions.jsonl", lambda root: read_completions(root / "policy")),
    "shown completions": ("policy/completions.jsonl", _quietly(completions, step=None, validation=False, limit=3)),
    "timing": ("policy/timing.json", lambda root: read_seconds(root / "policy")),
    "pairs": ("policy/pairs.jsonl", _policy(read_pairs)),
    "exported prompts": ("exported.json", _exported),
    "lines of prompts": ("prompts.jsonl", lambda root: list(load_json_lines(root / "prompts.jsonl", _Line))),
    "config": ("checkpoint/config.json", lambda root: read_json(root / "checkpoint/config.json")),
    "encoder": ("checkpoint/config.json", _checkpoint),
    "modules": ("checkpoint/modules.json", _checkpoint),
    "pooling": ("checkpoint/1_Pooling/config.json", _checkpoint),
    "tokenizer": ("checkpoint/tokenizer_config.json", _checkpoint),
    "shards": ("checkpoint/model.safetensors.index.json", lambda root: _shards(root / "checkpoint")),
}


def _read_reply(body: bytes) -> None:
    for chat in (True, False):
        read_completion(body, chat, SERVER, "http://localhost:1/v1/x", "q", (1.0, 2.0))


def _read_models(body: bytes) -> None:
    models = read_models(body, KEY)
    for model in [_pick(models, "m"), *models]:
        _says_which(model, "m")
        _described(SERVER, model, {name: value for name, value in model.items() if name != "id"})


def _read_places(body: bytes) -> None:
    reply = read_reply(body, KEY)
    for read in _PLACES.values():
        _described(SERVER, {}, read(reply, "m"))


def _read_refusal(body: bytes) -> None:
    for status in (400, 401, 404, 429, 500):
        raise refusal(SERVER, "http://localhost:1/v1/x", status, body, question="q")


#: What reads a reply of a server.
REPLIES: dict[str, tuple[dict[str, Any], Callable[[bytes], None]]] = {
    "completion": (REPLY, _read_reply),
    "models": (MODELS, _read_models),
    "places": ({"models": [{"name": "m", "digest": "d"}], **MODELS, "model_path": "x"}, _read_places),
    "refusal": (REFUSAL, _read_refusal),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = make_corpus(tmp_path_factory.mktemp("corpus"))
    (root / "recipe.yaml").write_text(yaml.safe_dump(settings("base")))
    (root / "checkpoint" / "model.safetensors").write_bytes(b"")
    row = json.loads((root / "row/manifest.json").read_text())
    task = TaskRegistry().get("mini_lamp_4").model_dump(mode="json")
    digest = hashlib.sha256(b"").hexdigest()
    about = {"task": task, "reasoner": "direct", "plugins": [], "max_new_tokens": 8, "prompts_sha256": digest}
    write_json(root / "exported.json", {**about, "run": row})
    item = {"id": "i", "text": "t", "fields": {"title": "t"}, "date": None}
    texts = dict.fromkeys(("id", "user", "task", "fingerprint", "prompt", "gold", "input", "query"), "x")
    counts = dict.fromkeys(("tokens", "shown", "cut", "dropped"), 1)
    line = {**texts, **counts, "protocol": "chat", "items": [item], "scores": [0.5]}
    (root / "prompts.jsonl").write_text(json.dumps(line) + "\n")
    yield root
    shutil.rmtree(root)


def _check_file(root: Path, name: str, data: st.DataObject) -> None:
    place, read = READERS[name]
    path = root / place
    whole = path.read_bytes()
    content = data.draw(damaged(path, whole))
    try:
        path.write_bytes(content)
        read_or_refuse(path, lambda: read(root), str(root), str(path.parent))
    finally:
        path.write_bytes(whole)


def _check_reply(name: str, data: st.DataObject) -> None:
    whole, read = REPLIES[name]
    text = json.dumps(whole).encode()
    body = data.draw(damaged_bytes(text) | changed_value(whole).map(lambda value: json.dumps(value).encode()))
    try:
        read(body)
    except (RequestError, ValueError) as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(corpus: Path, name: str) -> None:
    READERS[name][1](corpus)


@pytest.mark.parametrize("name", READERS)
@SHORT
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(corpus: Path, name: str, data: st.DataObject) -> None:
    _check_file(corpus, name, data)


@pytest.mark.parametrize("name", REPLIES)
@SHORT
@given(data=st.data())
def test_a_damaged_reply_is_read_or_refused(name: str, data: st.DataObject) -> None:
    _check_reply(name, data)


@SHORT
@given(VALUES | st.text(max_size=30))
def test_a_change_is_read_or_refused(value: Any) -> None:
    for text in (f"policy.steps={value}", f"policy={json.dumps(value)}", str(value)):
        try:
            read_recipe("tiny", [text[:200]])
        except PrlmBenchError as error:
            assert "\n" not in str(error)


@pytest.mark.nightly
@pytest.mark.parametrize("name", READERS)
@LONG
@given(data=st.data())
def test_ten_thousand_damaged_files_are_read_or_refused(corpus: Path, name: str, data: st.DataObject) -> None:
    _check_file(corpus, name, data)


@pytest.mark.nightly
@pytest.mark.parametrize("name", REPLIES)
@LONG
@given(data=st.data())
def test_ten_thousand_damaged_replies_are_read_or_refused(name: str, data: st.DataObject) -> None:
    _check_reply(name, data)
