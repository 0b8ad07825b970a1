"""Plugins as the command line sees them: what is told of broken ones, and what the others bring to each command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sites import HOOK, WORKS, Site

from prlm_bench.cli import _app

BROKEN = "from prlm_bench import hookimpl\nimport no_such_module\n"
METRIC = (
    """
from prlm_bench import hookimpl
from prlm_bench.metrics import MeanMetric, Pairs

def same_length(pairs: Pairs) -> list[float]:
    return [float(len(answer) == len(gold)) for answer, gold in zip(pairs.answers, pairs.golds, strict=True)]
"""
    + HOOK.format("metrics", "register('length@mine', lambda: MeanMetric('length@mine', same_length))")
    + HOOK.format("methods", "register('mine', retriever='bm25:k1={k1}', generator='copy', k=1)")
)
COMMANDS = """
import typer
from prlm_bench import hookimpl

one = typer.Typer()
many = typer.Typer(help="Greets.")

@one.callback(invoke_without_command=True)
def hello(name: str = "you") -> None:
    "Greet somebody."
    print("hello", name)

many.command("hello")(hello)

@many.command()
def goodbye() -> None:
    raise RuntimeError("never")

@hookimpl
def prlm_bench_register_commands(register):
    register("zz-hello", one)
    register("zz-greet", many)
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site.on_path(tmp_path, monkeypatch)


Cli = Callable[..., Any]


def test_plugins_are_listed_with_their_failures(here: Cli, site: Site) -> None:
    works = site.add(WORKS)
    broken = site.add(BROKEN, dist="zz-broken", plugin="zz-bad")
    ended = here("plugins")
    assert (ended.status, ended.stderr) == (0, "")
    rows = [line.split() for line in ended.stdout.splitlines()]
    assert ["zz-plugin", "zz-dist", "1.2", "retriever", "zz-works"] in rows
    told = ended.stdout[ended.stdout.index("not loaded: ") :].splitlines()
    assert told[0] == "not loaded: zz-bad (zz-broken 1.2): ModuleNotFoundError: No module named 'no_such_module'"
    assert told[1] == f"  at {broken}:2; pip install no_such_module"
    assert len(told) == 2
    assert "Traceback" in here("plugins", "--verbose").stdout
    found = json.loads(here("plugins", "--json").stdout)
    assert found["plugins"][-1] == {
        "plugin": "zz-plugin",
        "dist": "zz-dist",
        "version": "1.2",
        "file": str(works),
        "hooks": ["prlm_bench_register_retrievers"],
        "registered": ["retriever zz-works"],
    }
    (failure,) = found["failures"]
    assert failure.pop("traceback").startswith("Traceback")
    assert failure == {
        "plugin": "zz-bad",
        "dist": "zz-broken",
        "version": "1.2",
        "file": broken.stem,
        "error": "ModuleNotFoundError: No module named 'no_such_module'",
        "where": f"{broken}:2",
        "hint": "pip install no_such_module",
    }


def test_a_broken_plugin_costs_one_line(here: Cli, site: Site) -> None:
    broken = site.add(BROKEN, dist="zz-broken", plugin="zz-bad")
    ended = here("list", "retrievers")
    assert ended.status == 0
    assert "bm25" in ended.stdout
    (line,) = ended.stderr.splitlines()
    assert line.startswith("prlm-bench: warning: plugin zz-bad (zz-broken 1.2) was not loaded: ModuleNotFoundError")
    assert line.endswith(f"at {broken}:2")


def test_only_a_run_that_needs_it_fails(here: Cli, site: Site) -> None:
    site.add(BROKEN, dist="zz-broken", plugin="zz-bad")
    words = ("run", "--task", "mini_lamp_4", "--generator", "copy", "-k", 1, "--dry-run", "--retriever")
    assert here(*words, "bm25").status == 0
    ended = here(*words, "zz-wanted")
    assert ended.status == 2
    warning, line = ended.stderr.splitlines()
    assert "warning" in warning
    assert line.startswith("prlm-bench: unknown retriever 'zz-wanted' (known: ")
    assert (
        "plugin zz-bad (zz-broken 1.2) failed to load: ModuleNotFoundError: No module named 'no_such_module' "
        "(pip install no_such_module)"
    ) in line


def test_a_clash_is_a_mistake_with_a_way_out(here: Cli, site: Site) -> None:
    site.add(WORKS.replace("zz-works", "bm25"))
    words = ("run", "--task", "mini_lamp_4", "--generator", "echo", "-k", 1, "--dry-run", "--retriever")
    said = here(*words, "bm25").mistake
    assert "zz-plugin (zz-dist 1.2)" in said and "write prlm-bench/bm25 or zz-dist/bm25" in said
    assert here(*words, "zz-dist/bm25").status == 0


def test_a_clash_does_not_merge_rows(here: Cli, site: Site) -> None:
    site.add(WORKS.replace("zz-works", "bm25"))
    words = ["--task", "mini_lamp_4", "--generator", "copy", "-k", 1, "--no-controls", "--json"]
    ended = here("run", *words, "--retriever", "zz-dist/bm25", "--retriever", "prlm-bench/bm25", "--synth-users", 4)
    assert ended.status == 0, ended.stderr
    rows = json.loads(ended.stdout)["tables"][0]["rows"]
    assert [row["retriever"] for row in rows] == ["bm25", "bm25"]
    assert len({row["fingerprint"] for row in rows}) == 2
    commands = [row["command"] for row in json.loads(here("results", "list", "--json").stdout)]
    assert sorted("zz-dist/bm25" in command for command in commands) == [False, True]


def test_a_method_and_a_metric_of_a_plugin(here: Cli, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(METRIC)
    task = tmp_path / "short.yaml"
    task.write_text("extends: mini_lamp_4\nname: short\nmetrics: [length@mine, rouge1@lamp]\n")
    words = ["run", "--task", task, "--plugin", plugin, "--no-controls", "--synth-users", 4, "--json"]
    ended = here(*words, "--method", "mine:k1=2")
    assert ended.status == 0, ended.stderr
    tables = json.loads(ended.stdout)["tables"]
    assert [table["protocol"] for table in tables] == ["lamp", "mine"]
    (row,) = tables[1]["rows"]
    assert (row["retriever"], row["k"], row["generator"]) == ("bm25:k1=2.0", 1, "copy")
    assert 0 <= row["metrics"]["length@mine"]["value"] <= 1
    assert "method 'mine' needs the option 'k1'" in here(*words, "--method", "mine").mistake


def test_a_metric_of_a_plugin_scores_a_file(here: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METRIC)
    for name, outputs in (("golds", ["abc", "abc"]), ("answers", ["xyz", "x"])):
        rows = [{"id": str(i), "output": output} for i, output in enumerate(outputs)]
        (tmp_path / f"{name}.json").write_text(json.dumps({"task": "LaMP_4", "golds": rows}))
    words = ["score", "--task", "lamp_4", "--golds", "golds.json", "--predictions", "answers.json", "--json"]
    ended = here(*words, "--metric", "length@mine", "--plugin", "mine.py")
    assert ended.status == 0, ended.stderr
    metrics = json.loads(ended.stdout)["metrics"]
    assert list(metrics) == ["length@mine"]
    assert metrics["length@mine"]["value"] == 0.5
    assert "unknown metric 'length@mine'" in here(*words, "--metric", "length@mine").mistake


@pytest.fixture
def own_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that plugins add to the command line of this process are gone after the test."""
    _app._add_commands()
    monkeypatch.setattr(_app.app, "registered_groups", list(_app.app.registered_groups))


def test_commands_of_a_plugin(cli: Cli, here: Cli, site: Site, own_app: None) -> None:
    site.add(COMMANDS)
    assert cli("zz-hello", "--name", "Ada").stdout == "hello Ada\n"
    assert here("zz-hello").stdout == "hello you\n"
    assert here("zz-greet", "hello", "--name", "Ada").stdout == "hello Ada\n"
    failed = here("zz-greet", "goodbye")
    assert failed.status == 1
    (line,) = failed.stderr.splitlines()
    assert line.startswith("prlm-bench: plugin zz-plugin (zz-dist 1.2): RuntimeError: never at site/zz_module_")
    assert line.endswith(" (--debug shows the traceback)")
    assert "Traceback" in here("zz-greet", "goodbye", "--debug").stderr
    names = [row["name"] for row in json.loads(here("list", "commands", "--json").stdout)]
    assert names == sorted(names) and {"zz-greet", "zz-hello"} <= set(names)
    assert "zz-helo" in here("zz-helo").mistake


def test_nothing_is_listed_where_nothing_is_loaded(here: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRLM_BENCH_LOAD_PLUGINS", "")
    assert here("list", "retrievers").stdout == "retrievers: none\n"
    assert "no retriever is registered" in here("rank", "--task", "mini_lamp_4", "--retriever", "bm25").mistake


def test_options_are_listed_as_they_are_written(here: Cli, tmp_path: Path) -> None:
    init = "    def __init__(self, model, flag=False, n: int | None = None): ..."
    source = WORKS.replace("class Nothing:", f"class Nothing:\n{init}\n")
    (tmp_path / "mine.py").write_text(source.replace('"""Finds nothing."""', ""))
    rows = json.loads(here("list", "retrievers", "--plugin", "mine.py", "--json").stdout)
    (mine,) = [row for row in rows if row["name"] == "zz-works"]
    assert mine["options"] == {"model": None, "flag": "false", "n": "none"}
    assert "model=..., flag=false, n=none" in here("list", "retrievers", "--plugin", "mine.py").stdout
    assert "did you mean retrievers" in here("list", "retriever").mistake


@pytest.mark.slow
def test_workers_load_a_local_plugin_too(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METRIC)
    words = ["run", "--task", "mini_lamp_4", "--plugin", "mine.py", "--method", "mine:k1=2", "--json"]
    one, two = (json.loads(cli(*words, "--results", f"r{jobs}", "--jobs", jobs).stdout) for jobs in (1, 2))
    assert one == two


COMMAND_FILE = """
import typer
from prlm_bench import hookimpl

app = typer.Typer()


@app.command("greet")
def greet(name: str = "you") -> None:
    print(f"hello {name}")


@app.callback()
def group() -> None:
    "Greetings."


@hookimpl
def prlm_bench_register_commands(register):
    register("zz-local", app)
"""


def test_a_local_plugin_file_adds_a_command(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(COMMAND_FILE)
    ended = cli("--plugin", "mine.py", "zz-local", "greet", "--name", "her")
    assert (ended.status, ended.stdout) == (0, "hello her\n")
    assert "zz-local" in cli("list", "commands", "--plugin", "mine.py").stdout
    assert "No such command 'zz-local'" in cli("zz-local", "greet").mistake


def test_what_a_plugin_names_is_imported_on_first_use(here: Cli, tmp_path: Path) -> None:
    """A component and a command that cannot be imported harm nothing but themselves."""
    (tmp_path / "lazy.py").write_text(
        "from prlm_bench import hookimpl\n"
        "@hookimpl\ndef prlm_bench_register_retrievers(register):\n"
        "    register('gone', 'no_such_module:Gone')\n"
        "@hookimpl\ndef prlm_bench_register_commands(register):\n"
        "    register('zz', 'no_such_module:app')\n"
    )
    rows = json.loads(here("list", "retrievers", "--plugin", "lazy.py", "--json").stdout)
    (gone,) = [row["missing"] for row in rows if row["name"] == "gone"]
    assert gone.startswith("retriever 'gone' (no_such_module")
    assert {"bm25", "random"} < {row["name"] for row in rows}
    used = here("rank", "--task", "mini_lamp_4", "--retriever", "gone", "--plugin", "lazy.py")
    assert used.status == 2 and "retriever 'gone' (no_such_module:Gone) cannot be loaded" in used.stderr
    used = here("--plugin", "lazy.py", "zz")
    assert used.status == 2 and "command 'zz' (no_such_module:app) cannot be loaded" in used.stderr
