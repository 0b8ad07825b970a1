"""The commands do what their contracts say, on synthetic data and on LaMP's own files."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from prlm_bench import __version__
from prlm_bench.cli import COMMANDS as COMMANDS_AND_GROUPS, _app
from prlm_bench.cli._help import EXAMPLES, with_help
from prlm_bench.cli._run import with_profile_value
from prlm_bench.data import Dataset, open_split
from prlm_bench.errors import SpecError
from prlm_bench.host import PluginHost

Command = Callable[..., Any]

MINI = ("--task", "mini_lamp_4", "--synth-users", 4)
COMMANDS = ["run", "leaderboard", "score", "rank", "prompts", "list", "plugins", "doctor", "new-plugin"]
GROUPS = {"data": ["import", "info", "validate", "download", "synth"], "results": ["list", "schema"]}


def parsed(ended: Any) -> Any:
    assert ended.status == 0, ended
    return json.loads(ended.stdout)


@pytest.fixture
def dev(host: PluginHost) -> Dataset:
    """The dev split of mini-LaMP 4, in a folder."""
    return open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS), *([g, c] for g in GROUPS for c in GROUPS[g])])
def test_every_command_explains_itself(here: Command, words: list[str]) -> None:
    ended = here(*words, "--help")
    assert (ended.status, ended.stderr) == (0, "")
    usage = ended.stdout.splitlines()[0].partition(" [")[0]
    assert usage.startswith("Usage: ")
    assert usage.endswith(" ".join(words))
    assert "--help" in ended.stdout
    if not words:
        assert [name for name in [*COMMANDS, *GROUPS] if f"\n  {name} " not in ended.stdout] == []


def test_the_command_line_is_a_program(cli: Command) -> None:
    ended = cli("--version")
    assert (ended.status, ended.stdout, ended.stderr) == (0, f"prlm-bench {__version__}\n", "")
    assert cli("rnu").mistake == "No such command 'rnu'. Did you mean 'run'?"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    words = ("prompts", "--task", "mini_lamp_4", "--retriever", "bm25", "-k", "8")
    command = [sys.executable, "-m", "prlm_bench", *words]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["id"]
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=60) == 0
    assert said.startswith("mini_lamp_4 dev: 120 to do\n")
    assert "Traceback" not in said
    assert "prlm-bench:" not in said


HEAVY = ("torch", "transformers", "pyarrow", "datasets", "lm_eval", "scipy", "sklearn", "matplotlib")


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "--help"], ["list", "tasks"], ["list"], ["plugins"]], ids=" ".join
)
def test_nothing_heavy_is_imported_to_look_around(words: list[str]) -> None:
    code = (
        "import sys\n"
        "from prlm_bench.cli._app import _run\n"
        f"status = _run({words!r})\n"
        f"print(status, [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.stderr == "0 []\n"


def test_list_names_what_there_is(here: Command) -> None:
    tasks = {row["name"]: row for row in parsed(here("list", "tasks", "--json"))}
    assert set(tasks) >= {f"{kind}_{n}" for kind in ("lamp", "mini_lamp") for n in range(1, 8)} | {"lamp_4_time"}
    assert (tasks["lamp_3"]["output"], tasks["lamp_3"]["metrics"]) == ("number", ["mae@lamp", "rmse@lamp"])
    assert tasks["lamp_4_time"]["split"] == "time"
    everything = parsed(here("list", "--json"))
    assert next(iter(everything)) == "tasks"
    retrievers = {row["name"]: row for row in everything["retrievers"]}
    assert set(retrievers) >= {"none", "random", "recency", "bm25", "oracle", "other-user"}
    options = {"k1": "1.5", "b": "0.75", "epsilon": "0.25", "ties": "profile", "backend": "auto"}
    assert retrievers["bm25"]["options"] == options
    assert (retrievers["random"]["aliases"], retrievers["random"]["control"]) == (["random-own"], True)
    assert retrievers["recency"]["needs"] == ["date"]
    assert {row["name"] for row in everything["generators"]} >= {"echo", "copy", "vote", "nearest", "constant"}
    table = here("list", "metrics").stdout
    assert [name for name in ("rouge1@lamp", "bleu-4@prlm", "rmse@lamp") if name not in table] == []


def test_plugins_and_doctor_say_what_is_installed(here: Command) -> None:
    found = parsed(here("plugins", "--json"))
    assert found["failures"] == []
    plugins = {plugin["plugin"]: plugin for plugin in found["plugins"]}
    assert plugins["bm25"]["registered"] == ["retriever bm25"]
    assert plugins["bm25"]["hooks"] == ["prlm_bench_register_retrievers"]
    assert (plugins["bm25"]["dist"], plugins["bm25"]["version"]) == ("prlm-bench", __version__)
    checks = {check["check"]: check for check in parsed(here("doctor", "--json"))}
    assert (checks["prlm-bench"]["ok"], checks["prlm-bench"]["found"]) == (True, __version__)
    assert checks["plugin baselines"]["ok"] is True
    assert checks["data root"]["ok"] is None


def test_a_broken_plugin_costs_one_warning_and_the_run_goes_on(here: Command, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import json\nimport no_such_module\n")
    words = ("run", *MINI, "--retriever", "bm25", "--generator", "copy", "--plugin", "broken.py", "--json")
    ended = here(*words)
    assert ended.status == 0
    assert [line for line in ended.stderr.splitlines() if "warning" in line] == [
        "prlm-bench: warning: plugin broken.py (broken) was not loaded: "
        f"ModuleNotFoundError: No module named 'no_such_module' at {tmp_path / 'broken.py'}:2"
    ]
    assert [table["task"] for table in json.loads(ended.stdout)["tables"]] == ["mini_lamp_4", "mini_lamp_4"]
    shown = parsed(here("plugins", "--plugin", "broken.py", "--json"))
    (failure,) = shown["failures"]
    where = f"{tmp_path / 'broken.py'}:2"
    assert (failure["plugin"], failure["where"], failure["hint"]) == (
        "broken.py",
        where,
        "pip install no_such_module",
    )
    needed = here("run", *MINI, "--retriever", "mine", "--generator", "copy", "--plugin", "broken.py")
    assert needed.status == 2
    line = needed.stderr.splitlines()[-1]
    assert line.startswith("prlm-bench: unknown retriever 'mine' (")
    assert "plugin broken.py (broken) failed to load: ModuleNotFoundError" in line


def test_rank_gives_the_whole_profile_in_the_order_of_the_file(here: Command, dev: Dataset, tmp_path: Path) -> None:
    words = ("rank", "--task", "mini_lamp_4", "--data", dev.root)
    text = here(*words, "--retriever", "bm25").stdout
    ranking = json.loads(text)
    assert list(ranking) == dev.ids
    for example in next(dev.batches(100)):
        assert sorted(ranking[example.id]) == sorted(item.id for item in example.profile)
    best = [ids[0] for ids in ranking.values()]
    assert best != [example.profile[0].id for example in next(dev.batches(100))]
    ended = here(*words, "--retriever", "bm25", "--output", "deep/rank.json")
    assert (ended.status, ended.stdout) == (0, "")
    assert ended.stderr.splitlines()[-1] == "wrote deep/rank.json"
    assert (tmp_path / "deep" / "rank.json").read_text() == text
    assert list(parsed(here(*words, "--retriever", "bm25", "--limit", 3))) == dev.ids[:3]
    seeds = [parsed(here(*words, "--retriever", "random", "--seed", seed)) for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_rank_puts_relevant_items_first_where_they_are_known(here: Command, dev: Dataset) -> None:
    ranking = parsed(here("rank", "--task", "mini_lamp_4", "--data", dev.root, "--retriever", "oracle"))
    for example in next(dev.batches(100)):
        assert example.relevant
        assert set(ranking[example.id][: len(example.relevant)]) == example.relevant


def test_prompts_have_an_id_and_a_prompt(here: Command, dev: Dataset) -> None:
    words = ("prompts", "--task", "mini_lamp_4", "--data", dev.root, "--retriever", "bm25", "-k", 2)
    ranking = parsed(here("rank", "--task", "mini_lamp_4", "--data", dev.root, "--retriever", "bm25"))
    lines = [json.loads(line) for line in here(*words).stdout.splitlines()]
    assert [line["id"] for line in lines] == dev.ids
    for line, example in zip(lines, next(dev.batches(100)), strict=True):
        titles = {item.id: item.fields["title"] for item in example.profile}
        first, second, *_ = ranking[example.id]
        assert line["prompt"].startswith(f'"{titles[first]}" is the title for "')
        assert f'", and "{titles[second]}" is the title for "' in line["prompt"].replace('" , and', '", and')
        assert line["prompt"].endswith(example.input)
        assert (line["shown"], line["cut"], line["dropped"]) == (2, 0, 0)
        assert line["tokens"] == len(line["prompt"].split())
    short = [json.loads(line) for line in here(*words, "--max-length", 60, "--limit", 5).stdout.splitlines()]
    assert len(short) == 5
    assert all(line["cut"] + line["dropped"] > 0 for line in short)
    chat = json.loads(here(*words, "--protocol", "chat", "--limit", 1).stdout)
    assert chat["id"] == dev.ids[0]
    assert "{'title': '...'}" in chat["prompt"]


def test_score_joins_by_id(here: Command, dev: Dataset, tmp_path: Path) -> None:
    golds = dict(zip(dev.ids, dev.golds, strict=True))
    answers = [{"id": name, "output": gold} for name, gold in reversed(golds.items())]
    answers[0]["output"] = "something else entirely"
    (tmp_path / "answers.json").write_text(json.dumps({"task": "LaMP_4", "golds": answers}))
    files = ("--golds", dev.root / "dev" / "dev_outputs.json", "--predictions", "answers.json")
    found = parsed(here("score", "--task", "mini_lamp_4", *files, "--json"))
    assert (found["task"], found["n"], found["n_users"]) == ("mini_lamp_4", 12, 12)
    assert list(found["metrics"]) == list(dev.task.metrics)
    assert found["metrics"]["rouge1@lamp"]["value"] == pytest.approx(11 / 12)
    users = ("--questions", dev.root / "dev" / "dev_questions.json")
    by_user = parsed(here("score", "--task", "mini_lamp_4", *files, *users, "--metric", "rouge1@lamp", "--json"))
    assert by_user["n_users"] == 4
    assert list(by_user["metrics"]) == ["rouge1@lamp"]
    assert by_user["metrics"]["rouge1@lamp"]["value"] == found["metrics"]["rouge1@lamp"]["value"]
    table = here("score", "--task", "mini_lamp_4", *files).stdout
    assert "12 questions, 12 users" in table
    assert "0.9167" in table


def test_a_run_its_dry_run_and_its_leaderboards(here: Command, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("tasks: mini_lamp_3\nretrievers: bm25\ngenerators: vote\nsynth_users: 4\n")
    run = ("run", "study.yaml", "--results", "out", "--no-controls")
    plan = parsed(here(*run, "--dry-run", "--json"))
    assert not (tmp_path / "out").exists()
    (cell,) = plan["cells"]
    assert (cell["retriever"], cell["k"], cell["generator"], cell["samples"], cell["done"]) == (
        "bm25",
        4,
        "vote",
        12,
        0,
    )
    ended = here(*run)
    assert ended.status == 0
    assert "mini_lamp_3 dev, lamp protocol: Personalized product rating (mini-LaMP); 12 of 12 questions" in ended.stdout
    assert ended.stderr.splitlines()[-1] == "1 rows run, 0 were there already, 0 failed; results in out"
    (cell,) = parsed(here(*run, "--dry-run", "--json"))["cells"]
    assert cell["done"] == 12
    assert "1 methods, 12 samples, 12 done, 0 to run; results in out" in here(*run, "--dry-run").stdout
    table, _, findings = ended.stdout.partition("\nFindings: ")
    assert here("leaderboard", "--results", "out").stdout == table
    assert findings.startswith("0 of 2 checks, 3 not possible\n")
    tables = parsed(here("leaderboard", "--results", "out", "--json"))
    assert parsed(here("leaderboard", "--results", "out", "--format", "json")) == tables
    assert tables["tables"][0]["rows"][0]["generator"] == "vote"
    for form in ("terminal", "markdown", "csv", "json", "latex"):
        words = ("leaderboard", "--results", "out", "--format", form)
        shown = here(*words).stdout
        assert here(*words, "--output", "table").stderr == "wrote table\n"
        assert (tmp_path / "table").read_text() == shown
    assert here("leaderboard", "--results", "out", "--task", "other").stdout == "No finished results.\n"
    (listed,) = parsed(here("results", "list", "--results", "out", "--json"))
    assert (listed["task"], listed["n"], listed["finished"]) == ("mini_lamp_3", 12, True)


def test_results_schema_describes_the_files(here: Command) -> None:
    schema = parsed(here("results", "schema"))
    assert list(schema) == ["manifest.json", "samples.jsonl (each line)", "summary.json", "timing.json"]
    assert "fingerprint" in schema["manifest.json"]["properties"]
    assert schema["summary.json"]["properties"]["n"]["type"] == "integer"


def test_data_is_made_looked_at_and_checked(here: Command, tmp_path: Path) -> None:
    sizes = ("--train-users", 3, "--dev-users", 2, "--test-users", 1, "--questions", 2)
    assert here("data", "synth", "-o", "made", "--task", 4, *sizes).stdout == "made/mini_LaMP_4\n"
    words = ("--task", "mini_lamp_4", "--data", "made", "--split", "train")
    info = parsed(here("data", "info", *words, "--json"))
    assert (info["questions"], info["users"], info["malformed"]) == (6, 3, 0)
    assert info["has"] == ["date", "golds", "relevance", "users"]
    assert parsed(here("data", "import", *words, "--json"))["fingerprint"] == info["fingerprint"]
    ended = here("data", "validate", *words)
    assert (ended.status, ended.stdout) == (0, "6 questions, 0 malformed, 0 errors, 0 warnings\n")
    path = tmp_path / "made" / "mini_LaMP_4" / "train" / "train_questions.json"
    questions = json.loads(path.read_text())
    del questions[1]["profile"]
    path.write_text(json.dumps(questions))
    ended = here("data", "validate", *words)
    assert ended.status == 2
    assert questions[1]["id"] in ended.stdout
    assert ended.stderr.startswith("prlm-bench: mini_lamp_4 train: ")
    run = ("run", *words, "--retriever", "bm25", "--generator", "copy", "--skip-invalid", "--json")
    table = parsed(here(*run))["tables"][0]
    assert (table["n"], table["n_total"], table["rows"][0]["n_invalid"]) == (5, 6, 1)


class TestHelp:
    @pytest.mark.parametrize(
        "words", [(), *((name,) for name in (*GROUPS, "study", "lm-eval", "paths", "prlm", "human"))]
    )
    def test_a_bare_group_prints_its_help(self, words: tuple[str, ...], here: Command) -> None:
        bare = here(*words)
        assert (bare.status, bare.stderr) == (0, "")
        assert bare.stdout.count("\n") > 8
        assert bare.stdout == here(*words, "--help").stdout == here(*words, "-h").stdout

    def test_it_is_as_wide_as_the_terminal(self, here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = {}
        for width in (60, 80, 120, 180):
            monkeypatch.setenv("COLUMNS", str(width))
            shown = here("run", "-h").stdout.partition("Examples:")[0].splitlines()
            lines[width] = max(map(len, shown))
            assert width - 25 < lines[width] < width
        assert len({*lines.values()}) == 4

    @pytest.mark.parametrize("words", EXAMPLES)
    def test_every_example_is_a_command_line(self, words: str, here: Command) -> None:
        text = here(*words.split(), "--help").stdout
        for example in EXAMPLES[words]:
            assert " ".join(example.split()) in " ".join(text.replace("\\\n", " ").split())
            program, *rest = shlex.split(example)
            assert program == "prlm-bench"
            command = with_help(typer.main.get_command(_app.application()))
            while hasattr(command, "commands"):
                command, rest = command.commands[rest[0]], rest[1:]
            assert command.make_context("prlm-bench", with_profile_value(rest)).params

    def test_every_command_has_an_example(self) -> None:
        assert {*COMMANDS_AND_GROUPS} - {*EXAMPLES} == set()

    @pytest.mark.parametrize(
        ("typed", "names"),
        [
            ("run --retriever bm", ["bm25"]),
            ("run --task LAMP_7", ["lamp_7", "lamp_7_time"]),
            ("run --generator ec", ["echo"]),
            ("compare --metric ROUGEl", ["rougeL@lamp"]),
            ("leaderboard --task mini_lamp_7", ["mini_lamp_7"]),
            ("study k --retriever orac", ["oracle"]),
            ("stu", ["study"]),
        ],
    )
    def test_the_tab_key_completes_names(self, typed: str, names: list[str], cli: Command) -> None:
        asked = {"COMP_WORDS": f"prlm-bench {typed}", "COMP_CWORD": str(len(typed.split()))}
        code = "import sys; sys.argv[0] = 'prlm-bench'; from prlm_bench.__main__ import main; main()"
        ended = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **asked, "_PRLM_BENCH_COMPLETE": "complete_bash"},
            capture_output=True,
            text=True,
            check=False,
        )
        found = ended.stdout.split()
        assert set(names) <= set(found), ended
        assert all(name.casefold().startswith(typed.split()[-1].casefold()) for name in found)


class TestQuietAndVerbose:
    RUN = ("run", *MINI, "--retriever", "bm25", "--generator", "copy", "--no-controls")

    @pytest.mark.parametrize("flag", ["--quiet", "-q"])
    def test_nothing_but_output(self, flag: str, here: Command) -> None:
        loud = here(*self.RUN)
        assert "mini_lamp_4 dev: 12 to do" in loud.stderr
        assert "1 rows run" in loud.stderr
        for words in ((flag, *self.RUN), (*self.RUN, flag)):
            quiet = here(*words)
            assert (quiet.status, quiet.stderr) == (0, "")
            assert quiet.stdout == loud.stdout
        assert "mini_lamp_4 dev: 12 to do" in here(*self.RUN, "--results", "again").stderr, "it holds for one command"

    def test_a_mistake_is_said_even_so(self, here: Command) -> None:
        assert here(*self.RUN, "-q", "--generator", "cppy").mistake.startswith("unknown generator 'cppy'")

    def test_more_is_said(self, here: Command) -> None:
        plain, more = here("list", "tasks"), here("list", "tasks", "-v")
        assert plain.stderr == ""
        assert re.fullmatch(r"\d+ plugins\n", more.stderr)
        assert plain.stdout == more.stdout


class TestNamesInAnyCase:
    def test_of_tasks_and_components(self, here: Command, tmp_path: Path) -> None:
        words = ("run", "--synth-users", 4, "--no-controls", "-q", "--task", "Mini_LaMP_4")
        assert here(*words, "--retriever", "BM25", "--generator", "Copy").status == 0
        (manifest,) = (tmp_path / "prlm-results").rglob("manifest.json")
        found = json.loads(manifest.read_text())
        assert (found["task"], found["method"]["retriever"]["spec"]) == ("mini_lamp_4", "bm25")
        assert found["method"]["generator"]["spec"] == "copy"
        assert "mini_lamp_4 dev" in here("leaderboard", "--task", "MINI_LAMP_4").stdout

    def test_other_names_of_other_tools(self, host: PluginHost) -> None:
        assert host.registry.get("generator", "HF").name == "transformers"
        choice = host.registry.choose("generator", "hf:pretrained=a/b,max_new_tokens=8")
        assert str(choice) == "transformers:model=a/b,max_new_tokens=8"
        with pytest.raises(SpecError, match="given twice"):
            host.registry.choose("generator", "hf:pretrained=a,model=b")
