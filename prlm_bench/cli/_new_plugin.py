"""`prlm-bench new-plugin`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new_plugin(
    name: Annotated[str, typer.Argument(help="Name of the plugin, such as `longest-first`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make the project in.")] = Path(),
) -> None:
    """Write a working plugin project: a retriever of a few lines, its tests and its pyproject.toml."""
    from ..host import write_plugin

    folder = write_plugin(name, output)
    print(f"wrote {folder}")
    print(f"next: pip install -e '{folder}[test]' && pytest {folder} && prlm-bench list retrievers")
