"""`prlm-bench results`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._host import JsonOption, PluginOption, host_for
from ._output import print_json, print_table

if TYPE_CHECKING:
    from pydantic import BaseModel
from ._run import DEFAULT_RESULTS, ResultsOption

app = typer.Typer(help="Look at stored results.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_results(results: ResultsOption = DEFAULT_RESULTS, json: JsonOption = False) -> None:
    """List result folders, finished or not."""
    from ..results._store import load_results

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


@app.command("findings")
def findings_of_results(
    results: ResultsOption = DEFAULT_RESULTS,
    task: Annotated[list[str] | None, typer.Option("--task", help="Only these tasks. Repeatable.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    passed: Annotated[bool, typer.Option("--passed", help="Print the checks that found nothing, too.")] = False,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Check results for failure signatures, as `prlm-bench run` does.

    Retrieval no better than random, answers that hardly differ between users, rewards that do not separate, and
    methods that a control row reaches.
    """
    from ..report.findings import find, to_json, to_lines
    from ..results._store import load_results

    wanted = [
        result
        for result in load_results(results)[0]
        if (not task or result.manifest.task in task) and split in (None, result.manifest.split)
    ]
    found = find(wanted, host_for(plugin).registry)
    if json:
        print_json(to_json(found))
        return
    print("\n".join(to_lines(found, passed=passed) or ["Nothing to check: there is no finished result."]))


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of the files of a result folder."""
    from ..results._schema import Manifest, SampleRecord, Summary

    files: dict[str, type[BaseModel]] = {
        "manifest.json": Manifest,
        "samples.jsonl (each line)": SampleRecord,
        "summary.json": Summary,
    }
    print_json({name: model.model_json_schema() for name, model in files.items()})


@app.command("verify")
def verify_results(
    folders: Annotated[list[Path], typer.Argument(help="Result folders, or folders that hold some.")],
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Check result folders: schemas, fingerprints, checksums, ids, and every figure computed anew."""
    from ..errors import DataError
    from ..results._manifest import manifest_fingerprint
    from ..results._store import MANIFEST
    from ..results._verify import verify

    host = host_for(plugin)
    found = {
        path.parent: verify(path.parent, host, manifest_fingerprint)
        for folder in folders
        for path in sorted(folder.rglob(MANIFEST))
    }
    if not found:
        raise DataError(f"no result folders in {', '.join(map(str, folders))}")
    if json:
        print_json({str(folder): problems for folder, problems in found.items()})
    else:
        for folder, problems in found.items():
            print(f"{'ok' if not problems else 'WRONG':5} {folder}")
            for problem in problems:
                print(f"      {problem}")
    wrong = sum(bool(problems) for problems in found.values())
    if wrong:
        raise DataError(f"{wrong} of {len(found)} result folders do not hold up")
