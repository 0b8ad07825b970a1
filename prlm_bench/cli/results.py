"""`prlm-bench results`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ._host import JsonOption
from ._output import print_json, print_table

if TYPE_CHECKING:
    from pydantic import BaseModel
from .run import DEFAULT_RESULTS, ResultsOption

app = typer.Typer(help="Look at stored results.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_results(results: ResultsOption = DEFAULT_RESULTS, json: JsonOption = False) -> None:
    """List result folders, finished or not."""
    from ..results.store import load_results

    finished, unfinished = load_results(results)
    rows = [
        {"folder": str(r.folder), "task": r.manifest.task, "split": r.manifest.split, "n": r.manifest.data.n}
        | {"finished": done, "command": r.manifest.command}
        for group, done in ((finished, True), (unfinished, False))
        for r in group
    ]
    if json:
        print_json(rows)
        return
    table = [[row["task"], row["split"], str(row["n"]), "" if row["finished"] else "no", row["folder"]] for row in rows]
    print_table("", ["task", "split", "n", "unfinished", "folder"], [[str(cell) for cell in row] for row in table])


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of the files of a result folder."""
    from ..results.schema import Manifest, SampleRecord, Summary

    files: dict[str, type[BaseModel]] = {
        "manifest.json": Manifest,
        "samples.jsonl (each line)": SampleRecord,
        "summary.json": Summary,
    }
    print_json({name: model.model_json_schema() for name, model in files.items()})
