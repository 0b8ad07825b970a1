"""`prlm-bench plugins`."""

from __future__ import annotations

from typing import Annotated

import typer

from ._output import print_json, print_table, say
from .options import JsonOption, PluginOption, host_for


def plugins(
    plugin: PluginOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the traceback of each failure.")] = False,
    json: JsonOption = False,
) -> None:
    """Show all plugins: their origin, what they register, and why any failed to load.

    PRLM_BENCH_LOAD_PLUGINS=name,name loads only these installed plugins; an empty value loads none.
    """
    from dataclasses import asdict

    host = host_for(plugin, quiet=True)
    if json:
        loaded = [
            asdict(p.origin) | {"hooks": list(p.hooks), "registered": [f"{kind} {name}" for kind, name in p.registered]}
            for p in host.plugins
        ]
        failed = [
            asdict(f.origin) | {"error": f.error, "where": f.where, "hint": f.hint, "traceback": f.details}
            for f in host.failures
        ]
        print_json({"plugins": loaded, "failures": failed})
        return
    rows = [
        [p.origin.plugin, p.origin.dist, p.origin.version, ", ".join(f"{kind} {name}" for kind, name in p.registered)]
        for p in host.plugins
    ]
    print_table("", ["plugin", "distribution", "version", "registers"], rows)
    for failure in host.failures:
        say(f"not loaded: {failure.origin}: {failure.error}")
        say(f"  at {failure.where}" + (f"; {failure.hint}" if failure.hint else ""))
        if verbose:
            print(failure.details)
