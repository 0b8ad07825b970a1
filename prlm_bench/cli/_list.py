"""`prlm-bench list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._output import print_json, print_table
from .options import JsonOption, PluginOption, host_for

if TYPE_CHECKING:
    from ..host import PluginHost

#: What can be listed besides the kinds of component.
_OTHERS = ("tasks", "methods", "commands")


def list_things(
    what: Annotated[
        str | None,
        typer.Argument(help="tasks, methods, commands, or a kind of component: retrievers, generators, metrics, ..."),
    ] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """List what can be used by name on the command line, with the options of each component."""
    from ..errors import UnknownNameError
    from ..host import KINDS

    kinds = [*_OTHERS[:1], *(f"{kind}s" for kind in KINDS), *_OTHERS[1:]]
    if what is not None and what not in kinds:
        raise UnknownNameError("list", what, kinds)
    host = host_for(plugin)
    found = {kind: _rows(host, kind) for kind in ([what] if what else kinds)}
    if json:
        print_json(found if what is None else found[what])
        return
    for kind, rows in found.items():
        if not rows:
            print(f"{kind}: none")
            continue
        columns = [column for column in rows[0] if any(row[column] not in ("", [], None) for row in rows)]
        print_table("" if what else kind, columns, [[_text(row[column]) for column in columns] for row in rows])


def _rows(host: PluginHost, kind: str) -> list[dict[str, Any]]:
    if kind == "tasks":
        tasks = [host.tasks.get(name) for name in host.tasks.names]
        return [
            {"name": t.name, "title": t.title, "split": t.split_by, "output": t.output, "metrics": list(t.metrics)}
            for t in tasks
        ]
    if kind == "methods":
        return [
            {"name": m.name, "retriever": m.retriever, "k": m.k, "reasoner": m.reasoner, "generator": m.generator}
            | {"plugin": m.origin.dist}
            for m in host.methods
        ]
    if kind == "commands":
        return [{"name": name} for name in host.commands]
    return [_component(component) for component in host.registry.all(kind.removesuffix("s"))]


def _component(component: Any) -> dict[str, Any]:
    from ..errors import PluginError
    from ..host._specs import as_text

    try:
        summary, options, missing = component.summary, component.options.values(), component.missing()
    except PluginError as error:
        summary, options, missing = "", (), str(error)
    return {
        "name": component.name,
        "summary": summary,
        "options": {option.name: None if option.required else as_text(option.default) for option in options},
        "needs": sorted(component.needs),
        "missing": (missing or "").removeprefix("needs "),
        "control": component.control,
        "aliases": list(component.aliases),
        "plugin": component.origin.dist,
    }


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={'...' if default is None else default}" for key, default in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return {True: "yes", False: "", None: ""}.get(value, str(value)) if isinstance(value, bool | None) else str(value)
