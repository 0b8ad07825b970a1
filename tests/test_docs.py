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

import prlm_bench
from prlm_bench import interfaces, metrics, records
from prlm_bench.cli import _app
from prlm_bench.running import RunConfig
from prlm_bench.tasks import TaskRegistry

PAGES = [*DOCS, *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"))]
TUTORIAL, GRID, CONFIG, ENVIRONMENT, PLUGINS, PROTOCOLS, ARCHITECTURE, BENCHMARKS = (
    REPOSITORY / "docs" / f"{name}.md"
    for name in (
        "tutorials/write-a-plugin",
        "guides/running",
        "reference/run-config",
        "reference/environment",
        "reference/plugins",
        "reference/protocols",
        "explanation/architecture",
        "experiments/benchmarks",
    )
)
PROGRAMS = {"prlm-bench": [sys.executable, "-m", "prlm_bench"], "pytest": [sys.executable, "-m", "pytest"]}


def squeezed(line: str) -> str:
    return " ".join(line.split())


def is_script(block: manual.Block) -> bool:
    """Whether a block is run as it stands: Python that is no file of its own."""
    return block.language == "python" and block.file is None


def executed(page: Path) -> bool:
    return any(block.language == "console" or is_script(block) for block in manual.blocks(page))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if executed(page)], ids=lambda p: p.stem)
def test_every_command_and_script_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in manual.blocks(page):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        # The Python API is on its way; until it is there, its examples are not run.
        if is_script(block) and hasattr(prlm_bench, "run"):
            script = [sys.executable, "-c", block.text]
            ended = subprocess.run(script, capture_output=True, text=True, timeout=300)
            assert ended.returncode == 0, f"{block.where}\n{ended.stdout}{ended.stderr}"
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
        if is_script(block):
            compile(block.text, block.where, "exec")
        elif block.language == "python" and block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
            runpy.run_path(block.file)
        elif block.language == "yaml":
            yaml.safe_load(block.text)


def test_the_tutorial_registers_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as the slow test, as far as a second goes: every plugin file of the tutorial loads."""
    monkeypatch.chdir(tmp_path)
    names = []
    for block in manual.blocks(TUTORIAL):
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
        assert file.exists() or file in manual.generated(), f"{page.name}: {link}"
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


def test_the_command_line_page_has_every_option_as_help_prints_it() -> None:
    page = manual.generator().command_line()
    names = {" ".join(words) for words, _, _ in manual.generator().commands()}
    assert {"run", "results verify", "study ablation", "prlm curve"} <= names
    for words, command, _ in manual.generator().commands():
        assert f"# prlm-bench {' '.join(words)}\n" in page
        for parameter in [] if hasattr(command, "commands") else command.params:
            for name in parameter.opts if parameter.param_type_name == "option" else []:
                assert f"`{name}`" in page, (words, name)
            help_text = (getattr(parameter, "help", None) or "").partition("  [")[0]
            plain = manual.generator().plain(" ".join(help_text.split())).replace("|", "\\|")
            assert plain in page, (words, help_text)


def test_the_components_page_has_every_component_and_option() -> None:
    page = manual.generator().components()
    for kind in ("retriever", "reasoner", "generator", "reward", "trainer"):
        for component in PluginHost().registry.all(kind):
            section = page.partition(f"### {component.name} ({kind})\n")[2].partition("\n### ")[0]
            assert section, component.name
            assert [f"`{name}`" for name in component.options if f"| `{name}` |" not in section] == []
    for metric in PluginHost().registry.all("metric"):
        assert f"`{metric.name}`" in page


def test_the_python_page_of_a_package_has_all_its_public_names() -> None:
    pages = manual.generator().python_api()
    assert {"prlm_bench", "prlm_bench.records", "prlm_bench.interfaces", "prlm_bench.metrics"} <= pages.keys()
    named = set(re.findall(r"::: [\w.]+\.(\w+)\n", "".join(pages.values())))
    for module in (prlm_bench, metrics):
        assert {name for name in module.__all__ if not name.startswith("__")} <= named


def documented(text: str) -> set[str]:
    return set(re.findall(r"`([^`\s]+)`", text))


@pytest.mark.parametrize("name", manual.generator().stored_models())
def test_every_stored_field_is_documented(name: str) -> None:
    model = manual.generator().stored_models()[name]
    own = [field for field in model.model_fields if field in model.__annotations__]
    meanings = manual.generator().field_meanings()[name]
    assert list(meanings) == ["", *own], f"docs/_fields.yaml, {name}: one entry for each field, in order"
    for field in own:
        assert f"| `{field}` |" in manual.generator().result_schema()


def test_every_field_of_a_run_config_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", manual.section(CONFIG, "Run config"), re.MULTILINE)
    assert rows == list(RunConfig.model_fields)
    (example,) = [block for block in manual.blocks(GRID) if block.file == "grid.yaml"]
    RunConfig.model_validate(yaml.safe_load(example.text))


def test_every_environment_variable_is_documented() -> None:
    read = {
        name
        for folder in ("prlm_bench", "plugins")
        for file in (REPOSITORY / folder).rglob("*.py")
        for name in re.findall(r"\bPRLM_BENCH_[A-Z_]+\b", file.read_text(encoding="utf-8"))
    }
    assert read
    assert read - documented(manual.section(ENVIRONMENT, "Environment variables")) == set()


def test_records_and_the_context_are_documented() -> None:
    rows = dict(re.findall(r"^\| `(\w+)`.*? \| (.+) \|$", manual.section(PLUGINS, "Interfaces"), re.MULTILINE))
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
    text = manual.section(PLUGINS, "Interfaces")
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


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) < 120


def test_every_page_is_in_the_navigation() -> None:
    nav = re.findall(r"[\w/-]+\.md", (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = {path.relative_to(REPOSITORY / "docs").as_posix() for path in (*DOCS, *manual.generated())}
    assert sorted(nav) == sorted(page for page in pages if not page.startswith("reference/python/"))


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == prlm_bench.__version__
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{prlm_bench.__version__}]" in changelog
