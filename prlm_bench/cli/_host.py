"""The plugins of a command, loaded once, with a line for each that failed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..host._host import PluginHost

PluginOption = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="Load a local plugin too: path/to/file.py or package.module. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def host_for(extra: Sequence[str] | None, *, quiet: bool = False) -> PluginHost:
    """Load all plugins; those that fail cost one line on standard error each."""
    from ..errors import PluginError
    from ..host._host import PluginHost

    for name in extra or ():
        if name.endswith(".py") and not Path(name).is_file():
            raise PluginError(f"no such plugin file: {name}")
    host = PluginHost(extra or ())
    for failure in [] if quiet else host.failures:
        print(
            f"prlm-bench: warning: plugin {failure.origin} was not loaded: {failure.error} at {failure.where}",
            file=sys.stderr,
        )
    return host
