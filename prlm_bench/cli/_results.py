"""`prlm-bench results`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._output import print_json, print_lines, print_table, say
from .options import DEFAULT_RESULTS, JsonOption, PluginOption, ResultsOption, ResultsOptions, host_for, takes

if TYPE_CHECKING:
    from pydantic import BaseModel

app = typer.Typer(help="Inspect and verify stored results.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_results(results: ResultsOption = DEFAULT_RESULTS, json: JsonOption = False) -> None:
    """List result folders, finished or not."""
    from ..results import find_results

    finished, unfinished = find_results(results)
    rows = [
        {"folder": str(r.folder), "task": r.manifest.task, "split": r.manifest.split, "n": r.manifest.data.n}
        | {"finished": done, "command": r.manifest.command}
        for group, done in ((finished, True), (unfinished, False))
        for r in group
    ]
    if json:
        print_json(rows)
        return
    table = [
        [row["task"], row["split"], str(row["n"]), "yes" if row["finished"] else "no", row["folder"]] for row in rows
    ]
    print_table("", ["task", "split", "n", "finished", "folder"], [[str(cell) for cell in row] for row in table])


@app.command("findings")
@takes(ResultsOptions)
def findings_of_results(
    options: ResultsOptions,
    passed: Annotated[bool, typer.Option("--passed", help="Also print the checks that found nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Check results for failure signatures, as `prlm-bench run` does.

    These are: retrieval no better than random, answers that hardly differ between users, rewards that do not separate
    good answers from bad ones, and methods that do not beat a control row.
    """
    from ..report.findings import to_json, to_lines

    found = options.load().findings()
    if json:
        print_json(to_json(found))
        return
    print_lines(to_lines(found, passed=passed) or ["Nothing to check: no finished results."])


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of the files of a result folder."""
    from ..results import Manifest, SampleRecord, Summary, Timing

    files: dict[str, type[BaseModel]] = {
        "manifest.json": Manifest,
        "samples.jsonl (each line)": SampleRecord,
        "summary.json": Summary,
        "timing.json": Timing,
    }
    print_json({name: model.model_json_schema() for name, model in files.items()})


@app.command("verify")
def verify_results(
    folders: Annotated[list[Path], typer.Argument(help="Result folders, or folders that contain some.")],
    samples: Annotated[
        Path | None,
        typer.Option(help="Results folder with regenerated samples of published rows that have none."),
    ] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Check result folders: schemas, fingerprints, checksums and ids; all figures are recomputed."""
    from ..errors import DataError
    from ..results import SAMPLES, row_folders, verify

    host = host_for(plugin)
    rows = [(folder, row) for folder in folders for row in row_folders(folder)]
    found = {row: verify(row, host, _samples_of(row, folder, samples)) for folder, row in rows}
    unread = [row for folder, row in rows if not (_samples_of(row, folder, samples) / SAMPLES).is_file()]
    if not found:
        raise DataError(f"no result folders in {', '.join(map(str, folders))}")
    if unread:
        print(f"{len(unread)} of {len(rows)} rows have no samples; their figures were not checked", file=sys.stderr)
    if json:
        print_json({str(folder): problems for folder, problems in found.items()})
    else:
        for folder, problems in found.items():
            say(f"{'ok' if not problems else 'WRONG':5} {folder}", *(f"      {problem}" for problem in problems))
    wrong = sum(bool(problems) for problems in found.values())
    if wrong:
        raise DataError(f"{wrong} of {len(found)} result folders are invalid")


def _samples_of(row: Path, folder: Path, samples: Path | None) -> Path:
    """Where the samples of a row are: next to its summary, or at the same relative path in another results folder."""
    if samples is None or (row / "samples.jsonl").is_file():
        return row
    return samples / row.relative_to(folder)
