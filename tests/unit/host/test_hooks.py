"""Every hook: a tiny plugin that implements it, and what that changes. Each is documented with its signature."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.paths import REPOSITORY
from support.sites import Site

from prlm_bench.host import KINDS, NEEDS, PluginHost, _hookspecs as hookspecs
from prlm_bench.host._host import _Pending
from prlm_bench.host._registry import IGNORES, make_component

HOOKS = [name for name in dir(hookspecs) if hasattr(getattr(hookspecs, name), "prlm_bench_spec")]
RUN = ("run", "--task", "mini_lamp_4", "--synth-users", 3, "--limit", 5, "--no-controls", "--json")
RUN += ("--plugin", "mine.py")
Cli = Callable[..., Any]


@pytest.fixture
def mine(tmp_path: Path) -> Callable[[str], str]:
    """Writes the plugin `mine.py`."""

    def write(source: str) -> str:
        file = tmp_path / "mine.py"
        file.write_text("from prlm_bench import *\n\n" + inspect.cleandoc(source))
        return str(file)

    return write


def only_row(ended: Any) -> dict[str, Any]:
    assert ended.status == 0, ended.stderr
    (row,) = json.loads(ended.stdout)["tables"][0]["rows"]
    return row


def samples(folder: Path) -> list[dict[str, Any]]:
    (file,) = folder.rglob("samples.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_hook_prlm_bench_register_retrievers(mine: Any, here: Cli, tmp_path: Path) -> None:
    mine("""
        class Backwards:
            def fingerprint(self):
                return ""
            def rank(self, examples, k=None):
                numbers = [tuple(float(-n) for n in range(len(e.profile))) for e in examples]
                return [Ranking(e.profile[::-1], n) for e, n in zip(examples, numbers)]

        @hookimpl
        def prlm_bench_register_retrievers(register):
            register("backwards", Backwards, aliases=["reversed"])
    """)
    ranked = [
        json.loads(here("rank", "--task", "mini_lamp_4", "--retriever", name, "--plugin", "mine.py").stdout)
        for name in ("backwards", "reversed", "random")
    ]
    assert ranked[0] == ranked[1] != ranked[2]
    assert all(sorted(ids) == sorted(ranked[2][name]) for name, ids in ranked[0].items())


def test_hook_prlm_bench_register_reasoners(mine: Any, here: Cli, tmp_path: Path) -> None:
    mine("""
        class Shout:
            def fingerprint(self):
                return ""
            def prompts(self, examples, rankings, generator):
                return [Prompt(e, r, e.query.upper(), shown=len(r.items)) for e, r in zip(examples, rankings)]
            def parse(self, prompt, completion):
                return Answer(completion.text.lower(), "lowered")

        class Repeat:
            tokenizer = None
            def fingerprint(self):
                return ""
            def generate(self, prompts):
                return ((i, Completion(p.text)) for i, p in enumerate(prompts))

        @hookimpl
        def prlm_bench_register_reasoners(register):
            register("shout", Shout)

        @hookimpl
        def prlm_bench_register_generators(register):
            register("repeat", Repeat)
    """)
    row = only_row(here(*RUN, "--reasoner", "shout", "--generator", "repeat", "--retriever", "none"))
    assert (row["reasoner"], row["parse_failures"]["value"]) == ("shout", 0)
    for sample in samples(tmp_path):
        assert sample["completion"] == sample["prompt"] == sample["prompt"].upper()
        assert (sample["answer"], sample["parsed"]) == (sample["prompt"].lower(), "lowered")


def test_hook_prlm_bench_register_generators(mine: Any, here: Cli, tmp_path: Path) -> None:
    mine("""
        class Fixed:
            tokenizer = None
            def __init__(self, text: str = "yes"):
                self.text = text
            def fingerprint(self):
                return ""
            def generate(self, prompts):
                return ((i, Completion(self.text)) for i in reversed(range(len(prompts))))

        @hookimpl
        def prlm_bench_register_generators(register):
            register("fixed", Fixed, ignores=["items"], control=True)
    """)
    row = only_row(here(*RUN, "--generator", "fixed:no", "--retriever", "bm25"))
    assert (row["retriever"], row["k"], row["control"]) == ("none", 0, True)
    assert {sample["answer"] for sample in samples(tmp_path)} == {"no"}


def test_hook_prlm_bench_register_rewards(mine: Any, here: Cli, tmp_path: Path) -> None:
    mine("""
        class Length:
            def fingerprint(self):
                return ""
            def score(self, samples):
                return [len(s.answer.text) for s in samples]

        @hookimpl
        def prlm_bench_register_rewards(register):
            register("length", Length)
    """)
    row = only_row(here(*RUN, "--generator", "echo", "--retriever", "none", "--reward", "length"))
    found = samples(tmp_path)
    assert [sample["rewards"]["length"] for sample in found] == [len(sample["answer"]) for sample in found]
    assert row["rewards"]["length"]["value"] == pytest.approx(sum(len(s["answer"]) for s in found) / len(found))


def test_hook_prlm_bench_register_metrics(mine: Any, here: Cli, tmp_path: Path) -> None:
    mine("""
        from prlm_bench.metrics import MeanMetric

        @hookimpl
        def prlm_bench_register_metrics(register):
            register("longer@mine", lambda: MeanMetric("longer@mine", lambda pairs: [
                float(len(answer) > len(gold)) for answer, gold in zip(pairs.answers, pairs.golds)]))
    """)
    for name, outputs in (("golds", ["a", "abc"]), ("answers", ["ab", "ab"])):
        rows = [{"id": str(i), "output": output} for i, output in enumerate(outputs)]
        (tmp_path / f"{name}.json").write_text(json.dumps({"golds": rows}))
    words = ("score", "--task", "lamp_4", "--golds", "golds.json", "--predictions", "answers.json", "--json")
    ended = here(*words, "--plugin", "mine.py", "--metric", "longer@mine")
    assert json.loads(ended.stdout)["metrics"]["longer@mine"]["value"] == 0.5


def test_hook_prlm_bench_register_tasks(mine: Any, here: Cli, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("extends: mini_lamp_4\nname: own\ntitle: My own task\nmetrics: [bleu@lamp]\n")
    mine("""
        @hookimpl
        def prlm_bench_register_tasks(register):
            register("own.yaml")
    """)
    rows = json.loads(here("list", "tasks", "--json", "--plugin", "mine.py").stdout)
    assert [row["title"] for row in rows if row["name"] == "own"] == ["My own task"]
    words = [word if word != "mini_lamp_4" else "own" for word in RUN]
    assert list(only_row(here(*words, "--generator", "echo", "--retriever", "none"))["metrics"]) == ["bleu@lamp"]


def test_hook_prlm_bench_register_methods(mine: Any, here: Cli) -> None:
    mine("""
        @hookimpl
        def prlm_bench_register_methods(register):
            register("mine", generator="copy", retriever="bm25:k1={k1}", k=2)
    """)
    row = only_row(here(*RUN, "--method", "mine:k1=3"))
    assert (row["retriever"], row["k"], row["reasoner"], row["generator"]) == ("bm25:k1=3.0", 2, "direct", "copy")
    rows = json.loads(here("list", "methods", "--json", "--plugin", "mine.py").stdout)
    assert [row["retriever"] for row in rows if row["name"] == "mine"] == ["bm25:k1={k1}"]


def test_hook_prlm_bench_register_trainers(mine: Any, here: Cli, tmp_path: Path) -> None:
    name = mine("""
        class Counts:
            def __init__(self, context, steps: int = 1):
                self.context, self.steps = context, steps
            def fingerprint(self):
                return ""
            def train(self, output):
                output.mkdir()
                (output / "steps").write_text(str(self.steps))
                return {"steps": self.steps, "context": self.context}

        @hookimpl
        def prlm_bench_register_trainers(register):
            register("counts", Counts, needs=["train"])
    """)
    context: Any = object()
    trainer = PluginHost([name]).registry.choose("trainer", "counts:steps=3").make(context)
    assert trainer.train(tmp_path / "out") == {"steps": 3, "context": context}
    assert (tmp_path / "out/steps").read_text() == "3"
    rows = json.loads(here("list", "trainers", "--json", "--plugin", "mine.py").stdout)
    (row,) = [row for row in rows if row["name"] == "counts"]
    assert (row["options"], row["needs"]) == ({"steps": "1"}, ["train"])


def test_hook_prlm_bench_register_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    Site.on_path(tmp_path, monkeypatch).add(
        "import typer\nfrom prlm_bench import hookimpl\napp = typer.Typer()\n"
        "@app.command()\ndef hello():\n    print('hello')\n    raise typer.Exit(3)\n"
        "@hookimpl\ndef prlm_bench_register_commands(register): register('zz-says', app)\n"
    )
    ended = cli("zz-says", "hello")
    assert (ended.status, ended.stdout) == (3, "hello\n")


def test_every_hook_is_tested() -> None:
    assert HOOKS
    assert [name for name in HOOKS if f"test_hook_{name}" not in globals()] == []


def test_every_hook_has_its_register() -> None:
    origin = PluginHost().plugins[0].origin
    assert sorted(_Pending(origin, "mine").registers()) == sorted(HOOKS)


def plain_signature(function: Callable[..., Any], leave_out: tuple[str, ...] = (), annotations: bool = True) -> str:
    """`inspect.signature` as it is written in a source file, with or without types."""
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name not in leave_out]
    if not annotations:
        parameters = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
        signature = signature.replace(return_annotation=inspect.Signature.empty)
    text = str(signature.replace(parameters=parameters))
    return text.replace("'", "") if annotations else text  # annotations are kept as strings


@pytest.fixture(scope="module")
def manual() -> str:
    return (REPOSITORY / "docs/reference/plugins.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented(manual: str, name: str) -> None:
    assert f"| `{name}` |" in manual
    kinds = {"methods": "RegisterMethod", "tasks": "RegisterTask", "commands": "RegisterCommand"}
    register = kinds.get(name.rpartition("_")[2], "Register")
    assert plain_signature(getattr(hookspecs, name)) == f"(register: {register}) -> None"


def test_hook_prlm_bench_register_judges(mine: Any, here: Cli) -> None:
    mine("""
        class Length:
            "Counts the characters of answers."
            def judge(self, samples):
                return [{"length": float(len(s.answer.text))} for s in samples]

        @hookimpl
        def prlm_bench_register_judges(register):
            register("length", Length)
    """)
    (row,) = json.loads(here("list", "judges", "--plugin", "mine.py", "--json").stdout)
    assert (row["name"], row["summary"]) == ("length", "Counts the characters of answers.")


def test_hook_prlm_bench_register_importers(mine: Any, here: Cli) -> None:
    mine("""
        class Family:
            def recognizes(self, folder):
                return (folder / "family.json").is_file()
            def convert(self, folder, output, progress):
                raise DataError("nothing to convert")

        @hookimpl
        def prlm_bench_register_importers(register):
            register("family", Family)
    """)
    (row,) = json.loads(here("list", "importers", "--plugin", "mine.py", "--json").stdout)
    assert row["name"] == "family"


def test_hook_prlm_bench_register_engines(mine: Any, here: Cli, tmp_path: Path) -> None:
    mine("""
        from pathlib import Path

        class Elsewhere:
            def __init__(self, note: str = "engine.txt"):
                self.note = note
            def map(self, work, batches, start):
                start()
                for batch in batches:
                    yield work(batch)
                Path(self.note).write_text("done")

        @hookimpl
        def prlm_bench_register_engines(register):
            register("elsewhere", Elsewhere)
    """)
    words = (*RUN, "--retriever", "bm25", "--generator", "copy")
    first = only_row(here(*words, "--results", "a"))
    second = only_row(here(*words, "--results", "b", "--engine", "elsewhere:note=mine.txt"))
    assert first == second
    assert (tmp_path / "mine.txt").read_text() == "done"
    assert here(*words, "--engine", "elsewere").mistake.startswith("unknown engine 'elsewere' (did you mean elsewhere")


def test_hook_prlm_bench_register_loggers(mine: Any, here: Cli, tmp_path: Path) -> None:
    mine("""
        import json
        from pathlib import Path

        class File:
            def log(self, rows):
                Path("log.json").write_text(json.dumps(list(rows)))

        @hookimpl
        def prlm_bench_register_loggers(register):
            register("file", File)
    """)
    row = only_row(here(*RUN, "--retriever", "bm25", "--generator", "copy", "--log", "file"))
    logged = json.loads((tmp_path / "log.json").read_text())
    assert {each["metric"]: each["value"] for each in logged if each["metric"].endswith("@lamp")} == {
        name: found["value"] for name, found in row["metrics"].items()
    }


def test_what_register_takes_is_documented(manual: str) -> None:
    for function, leave_out in (
        (make_component, ("kind", "origin")),
        (_Pending.method, ("self",)),
        (_Pending.task, ("self",)),
        (_Pending.command, ("self",)),
    ):
        assert f"register{plain_signature(function, leave_out, annotations=False)}" in manual
    for word in (*NEEDS, *IGNORES):
        assert f"`{word}`" in manual, word
    for kind in KINDS:
        assert kind in manual
