"""`prlm-bench new-plugin`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new_plugin(
    name: Annotated[str, typer.Argument(help="Plugin name, such as `longest-first`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Parent folder of the project.")] = Path(),
) -> None:
    """Create a working plugin project: a short retriever, its tests and a pyproject.toml."""
    from ..host import write_plugin

    folder = write_plugin(name, output)
    print(f"wrote {folder}")
    print(f"next: pip install -e '{folder}[test]' && pytest {folder} && prlm-bench list retrievers")
