"""`prlm-bench new-plugin`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new_plugin(
    name: Annotated[str, typer.Argument(help="Plugin name, such as `longest-first`.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help="What it registers: retriever, reasoner, generator, reward, metric, judge, task, trainer or importer.",
        ),
    ] = "retriever",
    output: Annotated[Path, typer.Option("--output", "-o", help="Parent folder of the project.")] = Path(),
) -> None:
    """Create a working plugin project: a short component of a kind, its tests and a pyproject.toml."""
    from ..host import write_plugin

    folder = write_plugin(name, output, kind)
    print(f"wrote {folder}")
    print(f"next: pip install -e '{folder}[test]' && pytest {folder} && prlm-bench list {kind}s")
