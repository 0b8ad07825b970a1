"""The manual is true: its code runs, its links lead somewhere, and it names what there is."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import pkgutil
import re
import runpy
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

import pytest
import yaml
from support import manual
from support.manual import DOCS, REPOSITORY

import prlm_bench
from prlm_bench import PluginHost, interfaces, metrics, records
from prlm_bench.cli import application
from prlm_bench.host import KINDS, _hookspecs as hookspecs
from prlm_bench.running import RunConfig
from prlm_bench.tasks import TaskRegistry

PAGES = [*DOCS, *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"))]
TUTORIAL, GRID, CONFIG, ENVIRONMENT, PLUGINS, PROTOCOLS, ARCHITECTURE, BENCHMARKS, API = (
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
        "reference/python-api",
    )
)
PUBLIC_MODULES = [
    "prlm_bench",
    *(module.name for module in pkgutil.walk_packages(prlm_bench.__path__, "prlm_bench.") if "._" not in module.name),
]
NOTEBOOK = REPOSITORY / "docs/tutorials/first-run.ipynb"
PROGRAMS = {
    "prlm-bench": [sys.executable, "-m", "prlm_bench"],
    "pytest": [sys.executable, "-m", "pytest"],
    "python": [sys.executable],
}
#: A transcript with a real model: its commands run as on any page, and print these lines but for the figures.
HOUR = REPOSITORY / "docs/tutorials/first-hour.md"


def squeezed(line: str) -> str:
    return " ".join(line.split())


def without_figures(line: str) -> str:
    """A line of a transcript without what a real model may write differently on another processor."""
    return re.sub(r"\d+(\.\d+)?", "#", squeezed(line))


def is_script(block: manual.Block) -> bool:
    """Whether a block is run as it stands: Python that is no file of its own."""
    return block.language == "python" and block.file is None


def executed(page: Path) -> bool:
    return any(block.language == "console" or is_script(block) for block in manual.blocks(page))


def run_script(text: str, where: str) -> None:
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, f"{where}\n{ended.stdout}{ended.stderr}"


def run_command(command: str, output: list[str], where: str, comparable: Callable[[str], str] = squeezed) -> None:
    program, *words = shlex.split(command)
    ended = subprocess.run([*PROGRAMS[program], *words], capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, f"{where}: {command}\n{ended.stdout}{ended.stderr}"
    printed = {comparable(line) for line in (ended.stdout + ended.stderr).splitlines()}
    missing = [line for line in output if comparable(line) not in printed]
    assert not missing, f"{where}: {command}\ndid not print {missing}, but\n{ended.stdout}{ended.stderr}"


@contextmanager
def in_the_background(command: str, output: list[str], where: str) -> Iterator[None]:
    """A command that ends in `&`, with its errors sent to a file, once it has printed its first line."""
    words, _, log = command.removesuffix("&").partition(" 2> ")
    program, *arguments = shlex.split(words)
    with Path(log.strip()).open("wb") as errors:
        process = subprocess.Popen([*PROGRAMS[program], *arguments], stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    try:
        assert [process.stdout.readline().strip()] == output, f"{where}: {Path(log.strip()).read_text()}"
        yield
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()


def is_free(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.slow
def test_the_first_hour_with_a_chat_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smollm2: Path) -> None:
    """Every command of the transcript, the server among them, in a terminal of 80 columns."""
    pytest.importorskip("xllamacpp", reason="needs xllamacpp: pip install 'prlm-bench[llama-cpp]'")
    if not is_free(8080):
        pytest.skip("the transcript's port 8080 is taken")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    commands = 0
    with ExitStack() as running:
        for block in manual.blocks(HOUR):
            if block.file is not None:
                (tmp_path / block.file).write_text(block.text, encoding="utf-8")
            elif block.language == "python":
                run_script(block.text, block.where)
            for command, output in block.commands() if block.language == "console" else ():
                commands += 1
                if command.startswith("export "):
                    monkeypatch.setenv(*command.removeprefix("export ").split("=", 1))
                elif command.endswith("&"):
                    running.enter_context(in_the_background(command, output, block.where))
                else:
                    run_command(command, output, block.where, without_figures)
    assert commands == 10


def test_the_readme_quotes_the_first_hour() -> None:
    """What the README shows of real models is in the transcript, whose commands are executed."""
    transcript = HOUR.read_text(encoding="utf-8")
    shown = [b for b in manual.blocks(REPOSITORY / "README.md") if b.language == "text" and "smollm2" in b.text]
    lines = [line for block in shown for line in block.text.splitlines() if line.strip() not in ("", "...")]
    assert sum(line.startswith("$ ") for line in lines) >= 2
    assert [line for line in lines if line not in transcript] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if executed(page) and page != HOUR], ids=lambda p: p.stem)
def test_every_command_and_script_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page. Scripts between two commands are one script: each sees the names of those before it."""
    monkeypatch.chdir(tmp_path)
    script = ""
    for block in manual.blocks(page):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            script += block.text
        elif block.language == "console":
            if script:
                run_script(script, f"before {block.where}")
                script = ""
            for command, output in block.commands():
                run_command(command, output, block.where)
    if script:
        run_script(script, page.name)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_script("\n".join(source for kind, source in manual.cells(NOTEBOOK) if kind == "code"), NOTEBOOK.name)


def test_the_notebook_is_committed_without_outputs() -> None:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    for cell in content["cells"]:
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None
    assert "first-run.ipynb" in (REPOSITORY / "docs/tutorials/first-run.md").read_text(encoding="utf-8")


def attributes_read(text: str) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}


def names_used(text: str) -> set[tuple[str, str]]:
    """The names of `prlm_bench` that a script uses after it has imported them, each with its module."""
    nodes = list(ast.walk(ast.parse(text)))
    names: dict[str, tuple[str, str]] = {}
    modules: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "prlm_bench":
            names |= {alias.asname or alias.name: (str(node.module), alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in node.names}
    modules |= {own: ".".join(place) for own, place in names.items() if ".".join(place) in PUBLIC_MODULES}
    loaded = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    read = {(node.value.id, node.attr) for node in nodes if isinstance(node, ast.Attribute) and is_name(node.value)}
    return {names[own] for own in names.keys() & loaded} | {
        (modules[own], name) for own, name in read if own in modules and modules[own].startswith("prlm_bench")
    }


def is_name(node: ast.expr) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name)


def places(module: str) -> dict[str, str]:
    """The public names of a module with the place of their definition: one example serves every module that has it."""
    found: dict[str, str] = manual.generator().public_names(module)
    return {name: place for name, place in found.items() if not name.startswith("__")}


@cache
def places_in_examples() -> frozenset[str]:
    """Where the names are defined that executed examples use: the scripts of each page, and its files one by one."""
    used: set[tuple[str, str]] = set()
    for page in PAGES:
        python = [block for block in manual.blocks(page) if block.language == "python"]
        used |= names_used("".join(block.text for block in python if is_script(block)))
        used |= set().union(*(names_used(block.text) for block in python if block.file is not None))
    known = {module: places(module) for module in PUBLIC_MODULES}
    return frozenset(known[module][name] for module, name in used if name in known.get(module, {}))


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_every_public_name_is_in_an_executed_example(module: str) -> None:
    listed = getattr(importlib.import_module(module), "__all__", [])
    found = places(module)
    assert found.keys() == {name for name in listed if not name.startswith("__")}
    assert [name for name, place in found.items() if place not in places_in_examples()] == []


def test_a_name_that_is_only_imported_is_no_example() -> None:
    script = "import prlm_bench as pb\nfrom prlm_bench import tasks\nfrom prlm_bench.stats import holm, user_totals"
    assert names_used(script) == set()
    assert names_used(f"{script}\nholm([])\nholm = user_totals\npb.run()\ntasks.Task") == {
        ("prlm_bench.stats", "holm"),
        ("prlm_bench.stats", "user_totals"),
        ("prlm_bench", "run"),
        ("prlm_bench", "tasks"),
        ("prlm_bench.tasks", "Task"),
    }


def test_every_method_of_the_front_door_is_in_an_executed_example() -> None:
    scripts = [block.text for block in manual.blocks(API) if block.language == "python"]
    used = set().union(*map(attributes_read, scripts))
    for kind in ("Results", "SampleTable", "Comparisons", "Scores", "Session", "PluginHost"):
        methods = {name for name, value in vars(getattr(prlm_bench, kind)).items() if is_public_member(name, value)}
        assert methods and methods - used == set(), kind


def is_public_member(name: str, value: object) -> bool:
    return name[0] != "_" and (inspect.isfunction(value) or isinstance(value, property))


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

    if words[:1] == ["--plugin"]:  # a command of the page's own plugin; the slow test runs it
        return typer.main.get_command(typer.Typer(callback=lambda: None)), []
    command: Any = typer.main.get_command(application())
    host = PluginHost()
    while words and hasattr(command, "commands"):
        if words[0].startswith("-"):
            break
        name = words[0]
        if name not in command.commands and name in host.commands:
            command = typer.main.get_command(host.command(name))
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
    for kind in KINDS.keys() - {"metric"}:
        for component in PluginHost().registry.all(kind):
            section = page.partition(f"### {component.name} ({kind})\n")[2].partition("\n### ")[0]
            assert section, component.name
            assert [f"`{name}`" for name in component.options if f"| `{name}` |" not in section] == []
    for metric in PluginHost().registry.all("metric"):
        assert f"`{metric.name}`" in page
    empty = [kind for kind in KINDS if not PluginHost().registry.all(kind)]
    assert [kind for kind in empty if f"## {kind.capitalize()}s" in page] == []
    assert [kind for kind in empty if f"{kind}s" not in page.partition("## Other kinds")[2]] == []


PACKAGES = ["", ".interfaces", ".host", ".results", ".report", ".metrics", ".session", ".cli.plugin_api"]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_python_pages_have_all_public_names(package: str) -> None:
    pages = manual.generator().python_api()
    assert next(iter(pages)) == "prlm_bench"
    module = importlib.import_module(f"prlm_bench{package}")
    page = pages[module.__name__]
    named = set(re.findall(r"^::: [\w.]+\.(\w+)$", page, re.MULTILINE)) | set(re.findall(r"\[`(\w+)`\]\(", page))
    assert named == {name for name in module.__all__ if not name.startswith("__")}


def test_a_public_name_is_described_once() -> None:
    described = re.findall(r"^::: ([\w.]+)$", "".join(manual.generator().python_api().values()), re.MULTILINE)
    assert "prlm_bench.Scores" in described and "prlm_bench.results.Scores" not in described
    assert len(described) == len(set(described))


def documented(text: str) -> set[str]:
    return set(re.findall(r"`([^`\s]+)`", text))


@pytest.mark.parametrize("name", manual.generator().stored_models())
def test_every_stored_field_is_documented(name: str) -> None:
    model = manual.generator().stored_models()[name]
    own = [field for field in model.model_fields if field in model.__annotations__]
    meanings = manual.generator().field_meanings()[name]
    assert list(meanings) == own
    assert [field for field, meaning in meanings.items() if not meaning.endswith(".")] == [], (
        "a comment `#:` above each"
    )
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
    rows = dict(re.findall(r"^\| `(\w+)`.*? \| (.+) \|$", manual.section(PLUGINS, "Records"), re.MULTILINE))
    for record in (getattr(records, name) for name in RECORDS):
        assert {field.name for field in fields(record)} <= documented(rows[record.__name__]), record.__name__
    assert {field.name for field in fields(interfaces.Context)} <= rows.keys()


def test_every_hook_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", manual.section(PLUGINS, "Hooks"), re.MULTILINE)
    hooks = [name for name in vars(hookspecs) if name.startswith("prlm_bench_register_")]
    assert [name for name in rows if name.startswith("prlm_bench_")] == hooks


def test_every_optional_protocol_is_documented() -> None:
    rows = dict(
        re.findall(r"^\| `(\w+)` \| .*? \| `(\w+)", manual.section(PLUGINS, "Optional protocols"), re.MULTILINE)
    )
    optional = {
        name: next(member for member in vars(value) if member[0] != "_")
        for name, value in vars(interfaces).items()
        if getattr(value, "_is_runtime_protocol", False)
    }
    assert rows == optional


CONTRACTS = (
    *("Retriever", "Tokenizer", "Generator", "Reasoner", "Reward", "Judge"),
    *("Trainer", "Importer", "Engine", "Logger"),
)
RECORDS = ("Document", "Example", "Ranking", "Prompt", "Completion", "Answer", "Sample")


@pytest.mark.parametrize(
    "protocol",
    [*(getattr(interfaces, name) for name in CONTRACTS), metrics.Metric],
    ids=lambda p: p.__name__,
)
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


def test_every_module_of_the_core_is_on_the_map_in_its_layer() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130, "the map is one page"
    names = {path.stem for path in (REPOSITORY / "prlm_bench").iterdir() if path.suffix == ".py" or path.is_dir()}
    public = {name for name in names if not name.startswith("_")} - {"_shipped"}
    layer, found = "", {}
    for row in re.findall(r"^\| ([\d-]?) ?\| (.+?) \|", manual.section(ARCHITECTURE, "The core"), re.MULTILINE):
        layer = row[0] or layer
        found.update({name.rstrip("/"): layer for name in documented(row[1])})
    assert public - found.keys() == set()
    content = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    layers = content["tool"]["importlinter"]["contracts"][0]["layers"]
    for number, names_of_layer in enumerate(reversed(layers), start=1):
        for name in names_of_layer.split(" : "):
            assert found[name.removeprefix("prlm_bench.")] == str(number), name
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
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) < 140


def test_every_page_is_in_the_navigation() -> None:
    nav = re.findall(r"[\w/-]+\.md", (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = {path.relative_to(REPOSITORY / "docs").as_posix() for path in (*DOCS, *manual.generated())}
    assert sorted(nav) == sorted(page for page in pages if not page.startswith("reference/python/"))


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == prlm_bench.__version__
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{prlm_bench.__version__}]" in changelog
