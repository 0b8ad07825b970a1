"""The manual is true: its code runs, its links lead somewhere, and it names what there is."""

from __future__ import annotations

import inspect
import os
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import manual
import pytest
import yaml
from manual import DOCS, REPOSITORY
from pydantic import BaseModel

from prlm_bench import interfaces, metrics, records
from prlm_bench.cli import _app
from prlm_bench.host._host import PluginHost
from prlm_bench.results import _schema as schema
from prlm_bench.running import RunConfig
from prlm_bench.tasks import TaskRegistry

PAGES = [page for page in (*DOCS, REPOSITORY / "README.md") if page.stat().st_size > 100]
PLUGINS, RUNNING, RESULTS, PROTOCOLS, ARCHITECTURE, BENCHMARKS = (
    REPOSITORY / "docs" / f"{name}.md"
    for name in ("plugins", "running", "results", "protocols", "architecture", "benchmarks")
)
PROGRAMS = {"prlm-bench": [sys.executable, "-m", "prlm_bench"], "pytest": [sys.executable, "-m", "pytest"]}


def squeezed(line: str) -> str:
    return " ".join(line.split())


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if "```console" in page.read_text()], ids=lambda p: p.stem)
def test_every_command_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in manual.blocks(page):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        if block.language != "console":
            continue
        for command, output in block.commands():
            program, *words = shlex.split(command)
            ended = subprocess.run([*PROGRAMS[program], *words], capture_output=True, text=True, timeout=300)
            assert ended.returncode == 0, f"{block.where}: {command}\n{ended.stdout}{ended.stderr}"
            printed = {squeezed(line) for line in (ended.stdout + ended.stderr).splitlines()}
            missing = [line for line in output if squeezed(line) not in printed]
            assert not missing, f"{block.where}: {command}\ndid not print {missing}, but\n{ended.stdout}{ended.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_python_blocks_are_files_that_can_be_imported(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in manual.blocks(page):
        if block.language == "python":
            assert block.file is not None, f"{block.where}: the first line of a python block is `# file: NAME.py`"
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
            runpy.run_path(block.file)
        elif block.language == "yaml":
            yaml.safe_load(block.text)


def test_the_tutorial_registers_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as the slow test, as far as a second goes: every plugin file of the tutorial loads."""
    monkeypatch.chdir(tmp_path)
    names = []
    for block in manual.blocks(PLUGINS):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
            names += [block.file] if "@hookimpl" in block.text else []
    host = PluginHost(names)
    assert host.failures == []
    registered = {f"{kind} {name}" for plugin in host.plugins for kind, name in plugin.registered}
    assert {"retriever shared-words", "generator lead", "reasoner titles", "method parroting"} <= registered
    assert {"reward brevity", "metric same-length@mine", "retriever round-robin"} <= registered
    assert "short_headlines" in host.tasks.names


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for link in manual.links(page):
        target, _, fragment = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name}: {link}"
        if fragment:
            assert fragment in manual.anchors(file), f"{page.name}: {link}"


def the_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and the words that follow."""
    import typer

    _app._add_commands()
    command: Any = typer.main.get_command(_app.app)
    plugins = PluginHost().commands
    while words and hasattr(command, "commands"):
        if words[0].startswith("-"):
            break
        name = words[0]
        if name not in command.commands and name in plugins:
            command = typer.main.get_command(plugins[name])
        else:
            assert name in command.commands, f"there is no command {name!r}"
            command = command.commands[name]
        words = words[1:]
    return command, words


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_commands_and_options_exist(page: Path) -> None:
    for where, words in manual.commands_named(page):
        assert "prlm-bench" in words, (where, words)
        words = words[words.index("prlm-bench") + 1 :]
        if any(stop in words for stop in ("|", "&&", ">")):
            words = words[: min(words.index(stop) for stop in ("|", "&&", ">") if stop in words)]
        if words[:1] in (["NAME"], ["..."]):
            continue
        command, rest = the_command(words)
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        known.add("--help")
        for word in rest:
            if re.match(r"-{1,2}[a-z]", word):
                assert word.partition("=")[0] in known, f"{where}: {' '.join(words)}: no option {word}"


def documented(text: str) -> set[str]:
    return set(re.findall(r"`([^`\s]+)`", text))


MODELS = [
    model
    for model in vars(schema).values()
    if inspect.isclass(model) and issubclass(model, BaseModel) and not model.__name__.startswith("_")
]


@pytest.mark.parametrize("model", [model for model in MODELS if model is not BaseModel], ids=lambda m: m.__name__)
def test_every_stored_field_is_documented(model: type[BaseModel]) -> None:
    section = manual.section(RESULTS, f"`{model.__name__}`")
    rows = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    own = [name for name in model.model_fields if name in model.__annotations__]
    assert named == own, f"docs/results.md, {model.__name__}: one row for each field, in order"


def test_every_field_of_a_study_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", manual.section(RUNNING, "A study in YAML"), re.MULTILINE)
    assert rows == list(RunConfig.model_fields)
    (example,) = [block for block in manual.blocks(RUNNING) if block.file == "study.yaml"]
    RunConfig.model_validate(yaml.safe_load(example.text))


def test_every_environment_variable_is_documented() -> None:
    read = {
        name
        for folder in ("prlm_bench", "plugins")
        for file in (REPOSITORY / folder).rglob("*.py")
        for name in re.findall(r"\bPRLM_BENCH_[A-Z_]+\b", file.read_text(encoding="utf-8"))
    }
    assert read
    assert read - documented(manual.section(RUNNING, "Environment variables")) == set()


def test_records_and_the_context_are_documented() -> None:
    rows = dict(
        re.findall(r"^\| `(\w+)`.*? \| (.+) \|$", manual.section(PLUGINS, "Reference: interfaces"), re.MULTILINE)
    )
    for record in (*(getattr(records, name) for name in RECORDS), interfaces.Context):
        named = documented(rows[record.__name__])
        assert {field.name for field in fields(record)} <= named, record.__name__


RECORDS = ("Document", "Example", "Ranking", "Prompt", "Completion", "Answer", "Sample")


@pytest.mark.parametrize(
    "protocol",
    [*(getattr(interfaces, n) for n in ("Retriever", "Tokenizer", "Generator", "Reasoner", "Reward", "Trainer")),
     metrics.Metric],
    ids=lambda p: p.__name__,
)  # fmt: skip
def test_interfaces_are_documented_with_their_signatures(protocol: type) -> None:
    text = manual.section(PLUGINS, "Reference: interfaces")
    start = text.index(f"class {protocol.__name__}(Protocol):")
    body = text[start : text.find("\nclass ", start + 1)]
    methods = [name for name, value in vars(protocol).items() if inspect.isfunction(value) and name[0] != "_"]
    for name in methods:
        signature = str(inspect.signature(getattr(protocol, name))).replace("'", "")
        assert f"    def {name}{signature}: ..." in body
    for name, value in vars(protocol).items():
        if isinstance(value, property):
            kind = str(inspect.signature(value.fget).return_annotation).strip("'")  # type: ignore[arg-type]
            assert f"    {name}: {kind}" in body


def test_every_kind_of_record_is_exported() -> None:
    import prlm_bench

    assert set(RECORDS) <= set(prlm_bench.__all__)


def test_the_protocols_page_has_the_formats_of_the_tasks() -> None:
    text = PROTOCOLS.read_text(encoding="utf-8")
    book = TaskRegistry()
    for number in range(1, 8):
        task = book.get(f"lamp_{number}")
        lamp = task.prompts.lamp
        pieces = [task.benchmark, lamp.item.strip(), lamp.reserve, task.prompts.chat.key, *task.labels]
        pieces += [template for view in task.views.values() for template in (view.document, view.query)]
        pieces += [(lamp.prompt or "").replace("{items}", "").replace("{input}", "").strip(". ")]
        pieces += [lamp.needed if isinstance(lamp.needed, str) else "", task.query.after or ""]
        missing = [piece for piece in pieces if piece and piece not in text]
        assert missing == [], task.name
    for metric in PluginHost().registry.all("metric"):
        assert f"`{metric.name}`" in text


def test_every_room_of_the_package_is_on_the_map() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130, "the map is one page"
    names = {path.stem for path in (REPOSITORY / "prlm_bench").iterdir() if path.suffix == ".py" or path.is_dir()}
    public = {name for name in names if not name.startswith("_")} | {"_plugins", "_specs", "_registry"}
    assert public - {"py"} - documented(text) - {name.rstrip("/") for name in documented(text)} == set()
    for name in documented(text):
        if name.endswith("/") and name.count("/") == 1 and not name.startswith("<"):
            places = (REPOSITORY / name, REPOSITORY / "prlm_bench" / name, REPOSITORY / "plugins" / name)
            assert any(place.is_dir() for place in places), name


def test_every_benchmark_is_in_the_table() -> None:
    files = {path.name for path in (REPOSITORY / "benchmarks").glob("bench_*.py")}
    assert files and files - documented(BENCHMARKS.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_pages_are_plain(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert os.sep + "work" + os.sep not in text and "/home/" not in text and "/root/" not in text
    assert text.startswith("# ") and text.endswith("\n")
