"""lm_eval in both directions, as far as it need not be run: prompts, figures, identities and mistakes."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from prlm_bench_plugins.lm_eval_bridge import _backends, _frozen_prompts
from prlm_bench_plugins.lm_eval_bridge._cli import TASKS, export
from prlm_bench_plugins.lm_eval_bridge._frozen_prompts import find_frozen_prompts
from prlm_bench_plugins.lm_eval_bridge._generator import LmEvalGenerator
from prlm_bench_plugins.lm_eval_bridge._score_docs import aggregate
from prlm_bench_plugins.tiny import MODEL

from prlm_bench import Example, Prompt, Ranking
from prlm_bench.data import open_split
from prlm_bench.errors import DataError, PrlmBenchError, RunError
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import NOT_VERIFIED, Context
from prlm_bench.prompting import find_answer
from prlm_bench.results import score_answers
from prlm_bench.running import Components
from prlm_bench.tasks import TaskRegistry

Cli = Callable[..., Any]

needs_lm_eval = pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs lm_eval: prlm-bench[lm-eval]")
METHOD = ("--retriever", "bm25", "-k", "2", "--reasoner", "direct:protocol=chat", "--synth-users", "4")


# Tasks and prompts


def test_there_is_a_task_of_lm_eval_for_each_task_that_ships(here: Cli) -> None:
    printed = here("paths", "lm-eval")
    assert printed.stdout == f"{TASKS}\n"
    assert {path.stem for path in TASKS.glob("*.yaml")} == {f"prlm_{name}" for name in TaskRegistry().names}
    for path in TASKS.glob("*.yaml"):
        assert path.read_text() == _frozen_prompts._YAML.format(name=path.stem)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin and the prompts of all seven tasks."""
    folder = tmp_path_factory.mktemp("prompts")
    (folder / "mute.py").write_text(MUTE, encoding="utf-8")
    tasks = [word for number in range(1, 8) for word in ("--task", f"mini_lamp_{number}")]
    words = ["lm-eval", "export", *tasks, *METHOD, *MUTED, "-o", "frozen"]
    subprocess.run([sys.executable, "-m", "prlm_bench", *words], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def exported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The prompts, seen from the folder in which they were made."""
    monkeypatch.chdir(folder)
    return folder / "frozen"


MUTED = ("--generator", "mute", "--plugin", "mute.py")
MUTE = '''
"""A generator that reads items and says little."""
from prlm_bench import Completion, hookimpl


class Mute:
    """Says the same."""

    tokenizer = None

    def __init__(self, max_new_tokens: int = 17) -> None:
        """Nothing."""

    def fingerprint(self):
        return ""

    def generate(self, prompts):
        yield from ((index, Completion("{'title': 'as always'}")) for index, _ in enumerate(prompts))


@hookimpl
def prlm_bench_register_generators(register):
    register("mute", Mute)
'''


def rows(folder: Path, task: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{task}.jsonl").read_bytes().splitlines()]


def test_prompts_are_those_of_a_run(here: Cli, exported: Path, tmp_path: Path) -> None:
    words = ("--task", "mini_lamp_4", *METHOD, *MUTED, "--no-controls")
    assert here("run", *words, "--results", tmp_path).status == 0
    (manifest,) = tmp_path.rglob("manifest.json")
    samples = [json.loads(line) for line in (manifest.parent / "samples.jsonl").read_bytes().splitlines()]
    fingerprint = json.loads(manifest.read_bytes())["fingerprint"]
    found = rows(exported, "mini_lamp_4")
    assert [(row["id"], row["user"], row["prompt"], row["gold"]) for row in found] == [
        (sample["id"], sample["user"], sample["prompt"], sample["gold"]) for sample in samples
    ]
    assert {row["fingerprint"] for row in found} == {fingerprint}
    assert {(row["task"], row["protocol"]) for row in found} == {("mini_lamp_4", "chat")}
    assert json.loads((exported / "mini_lamp_4.json").read_bytes())["max_new_tokens"] == 17


def answer_like(row: dict[str, Any], number: int) -> str:
    """Completions of all sorts: right, near, unreadable, of no number."""
    key = row["prompt"].rpartition("{'")[2].partition("'")[0]
    near = [row["gold"], row["gold"][:-3], " ".join(row["gold"].split()[::-1]), row["items"][0]["text"], "5", "3.5"]
    texts = [*(f"{{'{key}': {text!r}}}" for text in near), "no object", f"<think>hm</think>{{'{key}': 'x'}}"]
    return texts[number % len(texts)]


@pytest.mark.parametrize("number", range(1, 8))
def test_figures_are_those_of_our_own_tables(exported: Path, host: PluginHost, number: int) -> None:
    """Summed one by one, to the last digit, corpus measures too."""
    name = f"mini_lamp_{number}"
    task, found = host.tasks.get(name), rows(exported, name)
    completions = {row["id"]: answer_like(row, place) for place, row in enumerate(found)}
    docs = find_frozen_prompts(f"prlm_{name}", {"prompts": str(exported)})
    items: dict[str, list[Any]] = {}
    for doc in docs.docs:
        for metric, row in docs.statistics(doc["id"], completions[doc["id"]]).items():
            items.setdefault(metric, []).append(json.loads(json.dumps(row)))
    answers = [find_answer(task, completions[row["id"]], task.prompts.chat.key).text for row in found]
    golds, users = [row["gold"] for row in found], [row["user"] for row in found]
    expected = score_answers(answers, golds, users, task.labels, host.metrics(task.metrics)).summaries
    assert len(set(answers)) > 2
    assert {metric.name: aggregate(metric, items[metric.name]) for metric in docs.metrics} == {
        metric: summary.value for metric, summary in expected.items()
    }


def test_where_prompts_are_looked_for(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = {"config_source": str(exported / "prlm_mini_lamp_4.yaml")}
    assert find_frozen_prompts("prlm_mini_lamp_4", beside).docs
    monkeypatch.setenv("PRLM_BENCH_PROMPTS", str(exported))
    assert find_frozen_prompts("prlm_mini_lamp_4", {"config_source": "/shipped/prlm_mini_lamp_4.yaml"}).docs
    with pytest.raises(DataError, match=r"no prompts of mini_lamp_4 in .*elsewhere.*lm-eval export.*_PROMPTS"):
        find_frozen_prompts("prlm_mini_lamp_4", {"prompts": str(tmp_path / "elsewhere")})


def test_files_that_are_not_as_exported(exported: Path, tmp_path: Path) -> None:
    exported = Path(shutil.copytree(exported, tmp_path / "altered"))
    lines, manifest = exported / "mini_lamp_4.jsonl", exported / "mini_lamp_4.json"
    where = {"prompts": str(exported)}
    whole = lines.read_bytes()
    lines.write_bytes(whole[:-40])
    with pytest.raises(DataError, match="not the file that was exported"):
        find_frozen_prompts("prlm_mini_lamp_4", where)
    lines.write_bytes(whole)
    content = json.loads(manifest.read_bytes())
    content["run"]["method"]["reasoner"]["source"] = "0"
    manifest.write_text(json.dumps(content))
    with pytest.raises(RunError, match="another version of direct:protocol=chat"):
        find_frozen_prompts("prlm_mini_lamp_4", where)
    manifest.write_text("{}")
    with pytest.raises(DataError, match="export the prompts again"):
        find_frozen_prompts("prlm_mini_lamp_4", where)


def test_mistakes_of_the_commands(here: Cli) -> None:
    task = ("--task", "mini_lamp_4")
    nobody = ("--generator", "openai-api:model=m,base_url=http://127.0.0.1:9/v1", "-o", "frozen")
    assert "no server answers" in here("lm-eval", "export", *task, *METHOD, *nobody).mistake
    assert "give --generator or --method" in here("lm-eval", "run", *task).mistake
    assert "--method brings its own" in here("lm-eval", "run", *task, "--method", "echo", "--reasoner", "think").mistake
    assert "it needs a task whose" in here("lm-eval", "export", *task, "--generator", "vote", "-o", "x").mistake
    assert "did you mean mini_lamp_4" in here("lm-eval", "run", "--task", "mini_lamp4", "--method", "echo").mistake


def test_without_lm_eval_there_is_a_line_that_says_how_to_get_it(
    here: Cli, host: PluginHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[export.__module__], "find_spec", lambda name: None)
    said = here("lm-eval", "run", "--task", "mini_lamp_4", "--method", "echo").mistake
    assert said.endswith("needs the package 'lm_eval' (pip install 'prlm-bench[lm-eval]')")
    assert host.registry.get("generator", "lm-eval").requires == {"lm_eval": "prlm-bench[lm-eval]"}


def test_the_command_line_does_not_import_lm_eval() -> None:
    code = (
        "import sys\nfrom prlm_bench.cli import main\n"
        "for words in (['--help'], ['lm-eval', '--help'], ['list', 'generators']):\n"
        "    try:\n        main(words)\n    except SystemExit:\n        pass\n"
        "print('lm_eval' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.endswith("False\n"), ended


# The generator


@pytest.fixture
def context(host: PluginHost, tmp_path: Path) -> Context:
    dataset = open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)
    return Components(host, dataset, tmp_path).context(0)


class FakeBackend:
    """Says a prompt's length, and remembers what it was asked."""

    strips_reasoning = False

    def __init__(self, name: str, options: dict[str, str], date: str = "") -> None:
        self.asked: list[list[str]] = []
        self.kwargs: Any = None

    def render(self, prompt: Any, chat: str) -> str:
        return prompt if isinstance(prompt, str) else f"<{prompt[0]['content']}>"

    def length(self, rendered: str) -> int:
        return len(rendered)

    def max_prompt_tokens(self, max_new_tokens: int) -> int:
        return 100 - max_new_tokens

    def write(self, prompts: list[str], kwargs: Any) -> list[str]:
        self.asked.append(prompts)
        self.kwargs = kwargs
        return [f"{prompt}!" for prompt in prompts]


@pytest.fixture
def made(context: Context, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The generator in front of a backend that is none of lm_eval's."""
    backend = FakeBackend("fake", {})
    monkeypatch.setattr(LmEvalGenerator, "_load", lambda self: backend)
    monkeypatch.setitem(sys.modules, "prlm_bench_plugins.lm_eval_bridge.adapter", _Adapter())

    def make(spec: str) -> Any:
        return context.build("generator", f"lm-eval:backend=fake,{spec}"), backend

    return make


class _Adapter:
    Backend = FakeBackend

    @staticmethod
    def check_options(name: str, options: dict[str, str]) -> None:
        assert name == "fake"


def prompts(*texts: str, chat: bool = False) -> list[Prompt]:
    return [
        Prompt(Example(f"q{place}", "u", text, text, ()), Ranking(), text, chat=chat)
        for place, text in enumerate(texts)
    ]


@needs_lm_eval
def test_chunks_are_bounded_and_kept_as_they_come(made: Callable[..., Any]) -> None:
    component, backend = made("chunk=2,max_new_tokens=10,until=stop+end,chat=never")
    answers = component.generate(prompts("a", "ccc", "bb", "eeeee", "dddd"))
    first = [next(answers), next(answers)]
    assert [(index, completion.text) for index, completion in first] == [(3, "eeeee!"), (4, "dddd!")]
    assert backend.asked == [["eeeee", "dddd"]]
    assert [(index, completion.text) for index, completion in answers] == [(1, "ccc!"), (2, "bb!"), (0, "a!")]
    assert backend.asked == [["eeeee", "dddd"], ["ccc", "bb"], ["a"]]
    assert backend.kwargs == {"until": ["stop", "end"], "max_gen_toks": 10, "do_sample": False}


@needs_lm_eval
@pytest.mark.parametrize(
    ("option", "chat", "expected"),
    [
        ("auto", True, "<a>!"),
        ("auto", False, "<a>!"),
        ("never", True, "a!"),
        ("always", False, "<a>!"),
        ("by-protocol", True, "<a>!"),
        ("by-protocol", False, "a!"),
    ],
)
def test_turns_of_a_chat(made: Callable[..., Any], option: str, chat: bool, expected: str) -> None:
    component, _ = made(f"chat={option},max_new_tokens=10")
    assert [completion.text for _, completion in component.generate(prompts("a", chat=chat))] == [expected]


@needs_lm_eval
def test_a_prompt_that_is_too_long_is_no_answer(made: Callable[..., Any]) -> None:
    component, backend = made("max_new_tokens=60,chat=never")
    with pytest.raises(PrlmBenchError, match="question q1 has 41 tokens, and the model has room for 40 beside 60"):
        list(component.generate(prompts("a", "b" * 41)))
    assert backend.asked == []


@needs_lm_eval
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("temperature=0.7", "answers are greedy"),
        ("auth_token=abc", "OPENAI_API_KEY"),
        ("chunk=0", "at least 1"),
        ("max_new_token=3", "did you mean max_new_tokens?"),
        ("pretrained=/nowhere/model", "there is no such folder"),
    ],
)
def test_options_that_it_does_not_take(made: Callable[..., Any], spec: str, said: str) -> None:
    with pytest.raises(PrlmBenchError, match=said.replace("?", r"\?")):
        made(spec)


@needs_lm_eval
@pytest.mark.parametrize(
    ("backend", "options", "absent", "missing"),
    [
        ("local-chat-completions", {}, ("tenacity", "tiktoken"), ["tenacity"]),
        ("openai-chat-completions", {}, ("aiohttp", "tenacity"), ["aiohttp", "tenacity"]),
        ("openai-completions", {}, ("tiktoken",), ["tiktoken"]),
        ("openai-completions", {"tokenizer": "t5-small"}, ("tiktoken", "transformers"), ["transformers"]),
        ("local-completions", {"tokenizer_backend": "tiktoken"}, ("tiktoken",), ["tiktoken"]),
        ("litellm", {}, ("litellm", "requests"), ["litellm", "requests"]),
        ("sglang", {}, ("sglang", "tenacity"), ["sglang"]),
        ("hf", {}, ("tenacity", "vllm"), []),
    ],
)
def test_packages_that_only_a_model_asks_for(
    monkeypatch: pytest.MonkeyPatch, backend: str, options: dict[str, str], absent: tuple[str, ...], missing: list[str]
) -> None:
    from prlm_bench_plugins.lm_eval_bridge.adapter import check_options, find_backend

    monkeypatch.setattr(_backends, "find_spec", lambda module: None if module in absent else module)
    kind = find_backend(backend)
    assert _backends.missing_packages(backend, kind, options) == missing
    given = {"model": "m", "base_url": "http://localhost:1", "pretrained": "p"} | options
    if not missing:
        check_options(backend, given)
        return
    with pytest.raises(PrlmBenchError, match=f"'{backend}' of lm_eval needs the package") as caught:
        check_options(backend, given)
    assert caught.value.hint == f"pip install {' '.join(missing)}"


@needs_lm_eval
@pytest.mark.skipif(find_spec("sglang") is not None, reason="sglang is installed")
def test_a_missing_package_shows_before_a_run(here: Cli) -> None:
    words = ("--task", "mini_lamp_4", "--synth-users", "4", "--retriever", "none", "--dry-run")
    said = here("run", *words, "--generator", "lm-eval:backend=sglang,pretrained=m").mistake
    assert said == "the backend 'sglang' of lm_eval needs the package sglang (pip install sglang)"


def test_it_takes_part_in_the_cache_of_completions(host: PluginHost) -> None:
    for name in ("lm-eval", "openai-api", "transformers", "tiny"):
        assert host.registry.get("generator", name).cached, name


# Identity


def test_a_model_folder_is_known_by_its_content(tmp_path: Path) -> None:
    folder, other = tmp_path / "model", tmp_path / "copy"
    shutil.copytree(MODEL, folder)
    shutil.copytree(MODEL, other)
    first = _backends.identify({"pretrained": str(folder)}, tmp_path)
    assert "lm_eval=" in first or find_spec("lm_eval") is None
    assert _backends.identify({"pretrained": str(other)}, tmp_path) == first
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    assert _backends.identify({"pretrained": str(other)}, tmp_path) != first
    assert _backends.identify({"pretrained": str(folder), "peft": str(other)}, tmp_path) != first


def test_a_name_on_the_hub_is_known_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")

    class Info:
        sha = "abc123"

    monkeypatch.setattr(hub, "model_info", lambda name, revision, timeout: Info())
    _backends._commit.cache_clear()
    assert "pretrained=abc123" in _backends.identify({"pretrained": "someone/model"}, tmp_path)

    def away(*_: Any, **__: Any) -> Any:
        raise OSError("no connection")

    monkeypatch.setattr(hub, "model_info", away)
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_, **__: "/cache/snapshots/def456/config.json")
    _backends._commit.cache_clear()
    assert "pretrained=def456" in _backends.identify({"pretrained": "someone/model"}, tmp_path)
    _backends._commit.cache_clear()


class _Models(BaseHTTPRequestHandler):
    listed: list[dict[str, Any]] | None = None

    def do_GET(self) -> None:
        body = json.dumps({"data": self.listed}).encode()
        self.send_response(200 if self.path == "/v1/models" and self.listed is not None else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """No news on the terminal."""


def test_a_server_is_known_by_the_models_that_it_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Models)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = {"model": "m", "base_url": f"http://127.0.0.1:{server.server_port}/v1/chat/completions"}
    try:
        assert f"served=nothing; {NOT_VERIFIED}" in _backends.identify(options, tmp_path)
        monkeypatch.setattr(_Models, "listed", [{"id": "m", "root": "weights", "created": 1}])
        first = _backends.identify(options, tmp_path)
        monkeypatch.setattr(_Models, "listed", [{"id": "m", "root": "weights", "created": 2}])
        assert _backends.identify(options, tmp_path) == first
        assert NOT_VERIFIED not in first
        monkeypatch.setattr(_Models, "listed", [{"id": "m", "root": "other weights", "created": 2}])
        assert _backends.identify(options, tmp_path) != first
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(RunError, match="no server answers"):
        _backends.identify(options, tmp_path)


def test_a_password_in_an_address_is_refused_and_not_shown(tmp_path: Path) -> None:
    options = {"model": "m", "base_url": "http://name:PASSWORD@127.0.0.1:9/v1/completions"}
    with pytest.raises(PrlmBenchError, match="must not contain a user name, password") as caught:
        _backends.identify(options, tmp_path)
    assert "PASSWORD" not in str(caught.value)


def test_an_option_may_look_like_the_home_of_nobody(tmp_path: Path) -> None:
    assert "cuda=" in _backends.identify({"system_instruction": "~nosuchuser says"}, tmp_path)
    with pytest.raises(PrlmBenchError, match="~nosuchuser/model: the home folder is not known"):
        _backends.check_folders({"pretrained": "~nosuchuser/model"})


@needs_lm_eval
def test_a_key_that_a_server_repeats_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    from prlm_bench_plugins.lm_eval_bridge import adapter

    key = "sk-0123456789abcdefghij"
    monkeypatch.setenv("OPENAI_API_KEY", key)

    class Echo:
        """Says the key, plainly and packed."""

        @classmethod
        def create_from_arg_obj(cls, options: Any) -> Echo:
            return cls()

        def generate_until(self, requests: list[Any]) -> list[str]:
            return [f"it is {key}, or {base64.b64encode(key.encode()).decode()}" for _ in requests]

    monkeypatch.setattr(adapter, "find_backend", lambda name: Echo)
    backend = adapter.Backend("echo", {}, "2024-01-01")
    assert backend.write(["a", "b"], {}) == ["it is ***, or ***"] * 2
