"""`prlm-bench cache`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ._output import print_json, print_table, say
from .options import JsonOption

app = typer.Typer(help="Inspect and prune completions cached between runs.", no_args_is_help=True)


@app.command("info")
def info(json: JsonOption = False) -> None:
    """Show cached completions by generator."""
    from .._util.cache_folder import cache_root
    from ..running import generation_files

    root = cache_root()
    files = generation_files(root)
    total = sum(file.bytes for file in files)
    if json:
        print_json({"folder": str(root), "bytes": total, "generations": [_row(file) for file in files]})
        return
    columns = ["generator", "completions", "MB", "days since use", "identity"]
    rows = [[str(value) for value in _cells(file)] for file in files]
    if rows:
        print_table("", columns, rows)
    print(f"{len(files)} generators, {total / 1e6:.1f} MB in {root}")


@app.command("prune")
def prune(
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Remove what no run has used for this many days.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove everything that no process is using.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove cached completions; a run that needs them generates them again."""
    from .._util.cache_folder import cache_root
    from ..errors import PrlmBenchError
    from ..running import prune as remove

    if (older_than is None) != everything:
        raise PrlmBenchError("nothing was selected for removal", "give --older-than DAYS or --all")
    removed, in_use = remove(cache_root(), older_than or 0.0)
    freed = sum(file.bytes for file in removed)
    if json:
        print_json({"bytes": freed, "removed": list(map(_row, removed)), "in_use": list(map(_row, in_use))})
        return
    print(f"removed the completions of {len(removed)} generators, {freed / 1e6:.1f} MB")
    for file in in_use:
        say(f"kept, in use: {_cells(file)[0]}")


def _row(file: Any) -> dict[str, Any]:
    return {
        "path": str(file.path),
        "identity": file.identity,
        "completions": file.count,
        "bytes": file.bytes,
        "days": round(file.age, 3),
    }


def _cells(file: Any) -> list[Any]:
    name = file.identity.get("spec", "(unreadable)")
    return [name, file.count, f"{file.bytes / 1e6:.1f}", f"{file.age:.1f}", file.path.name[:12]]
