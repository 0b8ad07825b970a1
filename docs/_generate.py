"""Pages of the site that are made when it is built: command line, components, result schema, Python API.

MkDocs loads this file as a hook (see `mkdocs.yml`). `pages` can also be called on its own, which the tests do.
"""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
URL = "https://github.com/prlm-bench/prlm-bench"
#: Files of the repository's top level that are pages of the site, and where they stand there.
COPIES = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "results/README.md": "experiments/leaderboard.md",
}
#: Where the pictures of `results/studies` stand on the site.
PICTURES = "assets/studies/"


def pages() -> dict[str, str]:
    """Every generated page: its path below `docs/`, and its Markdown."""
    api = {f"reference/python/{name}.md": text for name, text in python_api().items()}
    copies = {target: copied(REPOSITORY / source, target) for source, target in COPIES.items()}
    return {
        "reference/cli.md": command_line(),
        "reference/components.md": components(),
        "reference/result-schema.md": result_schema(),
        **api,
        **copies,
    }


# MkDocs hooks


def on_config(config: Any) -> Any:
    """Put the pages of the Python API into the navigation, below the two pages that introduce it."""
    _section(config.nav, "Python API")[2:] = [f"reference/python/{name}.md" for name in python_api()]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages to the files of the site."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    for file in pictures():
        files.append(File.generated(config, PICTURES + file.name, abs_src_path=str(file)))
    return files


def pictures() -> list[Path]:
    """The pictures of committed studies, which the leaderboard shows."""
    return sorted((REPOSITORY / "results" / "studies").glob("*.png"))


def _section(nav: Any, title: str) -> Any:
    """The list of pages under a title of the navigation, at any depth."""
    for entry in nav if isinstance(nav, list) else []:
        for name, value in entry.items() if isinstance(entry, dict) else ():
            found = value if name == title else _section(value, title)
            if found is not None:
                return found
    return None


# Markdown


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, or nothing where there are no rows; columns without any entry are left out."""
    rows = [list(row) for row in rows]
    kept = [i for i in range(len(head)) if any(row[i] for row in rows)]
    if not kept:
        return ""
    lines = [[head[i] for i in kept], ["---"] * len(kept), *([_cell(row[i]) for i in kept] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def plain(text: str) -> str:
    """Text of a docstring or a help string, with what Markdown would swallow kept visible."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    return re.sub(r"[*_{}\[\]]", r"\\\g<0>", text).replace("<", "&lt;").replace(">", "&gt;")


# Command line


def command_line() -> str:
    """Every command with its arguments and options, read from the application itself."""
    from prlm_bench.cli._help import EXAMPLES

    lines = [
        "# Command line",
        "`prlm-bench COMMAND --help` prints what this page lists. Results go to standard output, everything else to "
        "standard error; [exit status and environment variables](environment.md) have a page of their own.\n",
    ]
    for words, command, origin in commands():
        lines.append(f"{'#' * (1 + len(words))} {'prlm-bench ' + ' '.join(words)}\n")
        if origin:
            lines.append(f"From the plugin `{origin}`.\n")
        lines.append(plain(inspect.cleandoc(command.help or "")) + "\n")
        if examples := EXAMPLES.get(" ".join(words)):
            lines.append("```sh\n" + "\n".join(examples) + "\n```\n")
        if hasattr(command, "commands"):
            continue
        context = command.context_class(command, info_name="prlm-bench " + " ".join(words))
        lines.append(f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n")
        records = [parameter.get_help_record(context) for parameter in command.params]
        rows = (_parameter(*record) for record in records if record is not None)
        lines.append(table(("argument or option", "value", "meaning", "default"), rows))
    return "\n".join(lines)


def commands() -> Iterator[tuple[list[str], Any, str]]:
    """Each command as its words, the object, and for a plugin's command the plugin's name."""
    import typer

    from prlm_bench import PluginHost
    from prlm_bench.cli import application
    from prlm_bench.cli._help import with_help

    yield from _below([], with_help(typer.main.get_command(application())), "")
    host = PluginHost()
    for plugin in host.plugins:
        for kind, name in plugin.registered:
            if kind == "command":
                command = with_help(typer.main.get_command(host.command(name)), name)
                yield from _below([name], command, plugin.origin.plugin)


def _below(words: list[str], command: Any, origin: str) -> Iterator[tuple[list[str], Any, str]]:
    if words:
        yield words, command, origin
    for name, inner in getattr(command, "commands", {}).items():
        yield from _below([*words, name], inner, "" if words else origin)


def _parameter(names: str, meaning: str) -> tuple[str, str, str, str]:
    """A row made of the two columns that `--help` prints."""
    name, _, value = re.sub(r"^(\S.*?) (<.*>|[A-Z]+)$", r"\1\n\2", names).partition("\n")
    found = re.search(r"  \[(.*?)\](?= |$)", meaning, re.DOTALL)
    meaning = meaning.replace(found[0], "") if found else meaning
    facts, marks = {}, []
    for part in found[1].split("; ") if found else []:
        key, colon, text = part.partition(": ")
        facts.update({key: text} if colon else {})
        marks += [] if colon else [part]
    notes = [f"environment variable `{facts['env var']}`"] if "env var" in facts else []
    notes += [f"`{mark}`" for mark in marks if mark != "required"]
    default = "required" if "required" in marks else _code(facts.get("default", ""))
    shown = ", ".join(_code(word) for word in re.split(r",\s+|\s+/\s+", name))
    return shown, _code(value.strip("<>")), plain(meaning) + (f" ({'; '.join(notes)})" if notes else ""), default


# Components


def components() -> str:
    """Tasks, components of every kind and named methods, read from the registry."""
    from prlm_bench import PluginHost
    from prlm_bench.host import KINDS

    host = PluginHost()
    lines = [
        "# Components",
        "What the plugins that ship register, as `prlm-bench list` shows it. How a name with options is written: "
        "[specs](specs.md).\n",
        "## Tasks\n",
        table(("task", "title", "split by", "answer", "metrics"), map(_task, _tasks(host))),
    ]
    for kind in KINDS:
        lines += _kind(kind, host.registry.all(kind))
    lines += ["## Methods\n", "Named compositions for `--method NAME:option=value`.\n"]
    fields = [[getattr(method, field) for field in _METHOD] for method in host.methods]
    lines.append(table(_METHOD, [["" if value is None else _code(str(value)) for value in row] for row in fields]))
    empty = [f"{kind}s" for kind in KINDS if not host.registry.all(kind)]
    if empty:
        names = " or ".join([", ".join(empty[:-1]), empty[-1]] if len(empty) > 1 else empty)
        lines += ["## Other kinds\n", f"No {names} ship; [plugins](plugins.md#hooks) can add some.\n"]
    return "\n".join(lines)


def _kind(kind: str, members: Sequence[Any]) -> Iterator[str]:
    """The section of a kind; nothing where there is no component of it."""
    if not members:
        return
    yield f"## {kind.capitalize()}s\n"
    if kind != "metric":
        for component in members:
            yield from _component(kind, component)
        return
    yield "Formulas: [protocols](protocols.md#metrics-of-the-lamp-protocol).\n"
    yield table(("metric", "what it is", "range", "better"), map(_metric, members))


def _metric(component: Any) -> tuple[str, ...]:
    from prlm_bench.cli._list import metric_facts

    facts = metric_facts(component)
    return _code(component.name), facts["summary"], facts["range"], facts["better"]


_METHOD = ("name", "retriever", "k", "reasoner", "generator")


def _tasks(host: Any) -> list[Any]:
    return [host.tasks.get(name) for name in host.tasks.names]


def _task(task: Any) -> tuple[str, ...]:
    return _code(task.name), task.title, task.split_by, task.output, ", ".join(map(_code, task.metrics))


def _component(kind: str, component: Any) -> Iterator[str]:
    from prlm_bench.host._specs import unwrapped

    text, described = documented(unwrapped(component.factory))
    yield f"### {component.name} ({kind})\n"
    yield plain(text or component.summary) + "\n"
    facts = [f"plugin `{component.origin.plugin}`"]
    facts += ["aliases " + ", ".join(map(_code, component.aliases))] if component.aliases else []
    facts += ["needs " + ", ".join(map(_code, sorted(component.needs)))] if component.needs else []
    facts += [f"package {_code(m)}: `pip install '{pip}'`" for m, pip in component.requires.items()]
    facts += ["control row"] if component.control else []
    yield "; ".join(facts)[0].upper() + "; ".join(facts)[1:] + ".\n"
    rows = (_option(option, described.get(option.parameter, "")) for option in component.options.values())
    yield table(("option", "type", "default", "meaning"), rows)


def _option(option: Any, meaning: str) -> tuple[str, ...]:
    from prlm_bench.host._specs import as_text

    default = "required" if option.required else _code(as_text(option.default) or "''")
    kind = "text" if option.type is Any else type_text(option.type)
    return _code(option.name), _code(kind), default, plain(meaning)


def type_text(kind: Any) -> str:
    """A type as it is written in a source file, without modules and `Annotated`."""
    if typing.get_origin(kind) is typing.Annotated:
        return type_text(typing.get_args(kind)[0])
    text = kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text).replace("NoneType", "None")


def documented(function: Any) -> tuple[str, dict[str, str]]:
    """The text of a docstring, and what its `Args:` section says of each parameter."""
    import griffe

    text, described = [], {}
    docstring = griffe.Docstring(inspect.getdoc(function) or "", parser="google")
    for section in docstring.parse(warnings=False):
        if section.kind.value == "text":
            text.append(section.value)
        elif section.kind.value == "parameters":
            described.update({parameter.name: parameter.description for parameter in section.value})
    return "\n\n".join(text), described


# Result schema


def result_schema() -> str:
    """The files of a result folder, field by field: names and types from the models, meanings from comments."""
    meanings = field_meanings()
    models = stored_models()
    lines = [
        "# Result schema",
        "The files of a [result folder](results.md), field by field. `prlm-bench results schema` prints the same as "
        "JSON schema. A figure that is not a finite number is stored as null. How names and options of components are "
        "written: [canonical form](specs.md#canonical-form).\n",
    ]
    for name in (name for name in _ORDER if name in models):
        fields = {field: kind for field, kind in models[name].model_fields.items() if field in meanings[name]}
        lines.append(f"## {name}\n")
        lines.append((inspect.getdoc(models[name]) or "") + "\n")
        rows = ((_code(f), _linked(type_text(k.annotation), models), meanings[name][f]) for f, k in fields.items())
        lines.append(table(("field", "type", "meaning"), rows))
    return "\n".join(lines)


#: The files first to last, each followed by what it is made of.
_ORDER = (
    *("Manifest", "DataIdentity", "MethodIdentity", "ComponentIdentity"),
    *("SampleRecord", "ItemRecord", "TurnRecord", "DraftRecord"),
    *("Summary", "Estimate", "MetricSummary", "RewardSummary"),
    *("Timing", "AddedScores", "AddedMetric", "Contribution"),
)


def _linked(kind: str, models: Iterable[str]) -> str:
    """A type as code, linked to the section of the model that it names."""
    named = next((model for model in models if re.search(rf"\b{model}\b", kind)), None)
    return f"[{_code(kind)}](#{named.lower()})" if named else _code(kind)


def stored_models() -> dict[str, Any]:
    """The models of stored files by name, in the order of the schema."""
    from pydantic import BaseModel

    from prlm_bench.results import _schema as schema

    found = {name: model for name, model in vars(schema).items() if inspect.isclass(model) and name[0] != "_"}
    return {name: m for name, m in found.items() if issubclass(m, BaseModel) and m is not BaseModel}


@cache
def field_meanings() -> dict[str, dict[str, str]]:
    """What each stored field means, by model: the `#:` comment above it in the source; "" where there is none."""
    source = (REPOSITORY / "prlm_bench/results/_schema.py").read_text("utf-8")
    lines = source.splitlines()
    return {
        node.name: {
            field.target.id: _comment_above(lines, field.lineno - 1)
            for field in node.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        }
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }


def _comment_above(lines: Sequence[str], index: int) -> str:
    """The `#:` comment that ends above a line, as one paragraph."""
    start = index
    while lines[start - 1].lstrip().startswith("#:"):
        start -= 1
    return " ".join(line.strip().removeprefix("#:").strip() for line in lines[start:index])


# Python API


def python_api() -> dict[str, str]:
    """A page for each module that lists public names, as instructions for mkdocstrings; the front door is the first.

    A name that several modules list is described on the first of their pages, and the others link to it. A module
    that lists no further names has no page. Functions come before classes.
    """
    shown: dict[str, str] = {}
    found = {}
    for module in public_modules():
        own, others = [], []
        for name, place in sorted(public_names(module).items(), key=lambda item: item[0][0].isupper()):
            if place in shown:
                others.append(f"[`{name}`]({shown[place].rpartition('.')[0]}.md#{shown[place]})")
            else:
                shown[place] = f"{module}.{name}"
                own.append(name)
        if not own:
            continue
        text = ast.get_docstring(ast.parse(_file(module).read_text("utf-8"))) or ""
        elsewhere = f"Described elsewhere: {', '.join(others)}.\n\n" if others else ""
        body = "\n".join(f"::: {module}.{name}\n" for name in own)
        found[module] = f"# {module}\n\n{plain(text)}\n\n{elsewhere}{body}"
    return found


def public_modules() -> list[str]:
    """The front door, then the other modules and packages of `prlm_bench` that list public names.

    Of the command line there is only what plugins may use.
    """
    package = REPOSITORY / "prlm_bench"
    names = []
    for file in package.rglob("*.py"):
        module = ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        hidden = "._" in module or (module.startswith("prlm_bench.cli") and module != "prlm_bench.cli.plugin_api")
        names += [] if hidden or not public_names(module) else [module]
    return sorted(names)


@cache
def public_names(module: str) -> dict[str, str]:
    """The public names of a module, each with the place of its definition as `module.name`.

    They are those that its stub `__init__.pyi` imports as themselves, or else those of its `__all__`.
    """
    file = _file(module)
    stub = file.with_suffix(".pyi")
    tree = ast.parse((stub if stub.exists() else file).read_text("utf-8"))
    imported = dict(_imports(tree, module, file.name == "__init__.py"))
    listed = list(imported) if stub.exists() else _listed(tree)
    return {name: _definition(*imported[name]) if name in imported else f"{module}.{name}" for name in listed}


def _imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each name that a module imports from another one, with that module and the name there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((alias.asname or alias.name, (source, alias.name)) for alias in node.names)


def _listed(tree: ast.Module) -> list[str]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) and isinstance(node.value, ast.List) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def _definition(module: str, name: str) -> str:
    """Where a name is defined, followed through the packages that pass it on."""
    if module.startswith("prlm_bench") and _file(module).exists():
        return public_names(module).get(name, f"{module}.{name}")
    return f"{module}.{name}"


def _file(module: str) -> Path:
    path = REPOSITORY.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


# Files of the repository that are pages


def copied(file: Path, target: str) -> str:
    """A file with its links turned into links of the site, or of the repository where the site has no such page."""
    if not file.exists():
        return f"# {file.stem.capitalize()}\n"

    def replace(match: re.Match[str]) -> str:
        link, _, fragment = match[1].partition("#")
        if not link or re.match(r"[a-z]+:", link):
            return match[0]
        path = (file.parent / link).resolve().relative_to(REPOSITORY).as_posix()
        return f"]({_on_site(path, target)}{'#' + fragment if fragment else ''})"

    return re.sub(r"\]\(([^)\s]+)\)", replace, file.read_text("utf-8"))


def _on_site(path: str, page: str) -> str:
    up = "../" * page.count("/")
    if path in COPIES:
        return up + COPIES[path]
    if REPOSITORY / path in pictures():
        return up + PICTURES + Path(path).name
    if path.startswith("docs/"):
        return up + path.removeprefix("docs/")
    return f"{URL}/blob/main/{path}"
