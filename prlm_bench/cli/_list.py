"""`prlm-bench list`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._output import print_json, print_table
from .options import JsonOption, PluginOption, host_for

if TYPE_CHECKING:
    from ..host import Component, PluginHost

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
    facts = {"summary": summary} if component.kind != "metric" else metric_facts(component)
    return {
        "name": component.name,
        **facts,
        "options": {option.name: None if option.required else as_text(option.default) for option in options},
        "needs": sorted(component.needs),
        "missing": (missing or "").removeprefix("needs "),
        "control": component.control,
        "aliases": list(component.aliases),
        "plugin": component.origin.dist,
    }


_BETTER = {True: "higher", False: "lower"}


def metric_facts(component: Component) -> dict[str, str]:
    """What a metric declares, as text: `summary`, `range` and which values are `better`."""
    from ..errors import PluginError

    try:
        found = component.declared()
    except PluginError:  # its module cannot be imported
        found = {"summary": "", "limits": None, "higher_is_better": None}
    better = _BETTER.get(found["higher_is_better"], "")
    return {"summary": found["summary"], "range": _range(found["limits"]), "better": better}


def _range(limits: Any) -> str:
    """The range of a metric, such as `0 to 1`; "" where it declares none."""
    try:
        low, high = map(float, limits)
    except (TypeError, ValueError):
        return ""
    if math.isinf(low) and math.isinf(high):
        return ""
    return f"from {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={'...' if default is None else default}" for key, default in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return {True: "yes", False: "", None: ""}.get(value, str(value)) if isinstance(value, bool | None) else str(value)
