"""`prlm-bench results`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._output import print_json, print_table
from .options import DEFAULT_RESULTS, JsonOption, PluginOption, ResultsOption, ResultsOptions, host_for, takes

if TYPE_CHECKING:
    from pydantic import BaseModel

app = typer.Typer(help="Look at stored results.", no_args_is_help=True, rich_markup_mode=None)


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
    table = [[row["task"], row["split"], str(row["n"]), "" if row["finished"] else "no", row["folder"]] for row in rows]
    print_table("", ["task", "split", "n", "unfinished", "folder"], [[str(cell) for cell in row] for row in table])


@app.command("findings")
@takes(ResultsOptions)
def findings_of_results(
    options: ResultsOptions,
    passed: Annotated[bool, typer.Option("--passed", help="Print the checks that found nothing, too.")] = False,
    json: JsonOption = False,
) -> None:
    """Check results for failure signatures, as `prlm-bench run` does.

    Retrieval no better than random, answers that hardly differ between users, rewards that do not separate, and
    methods that a control row reaches.
    """
    from ..report.findings import to_json, to_lines

    found = options.load().findings()
    if json:
        print_json(to_json(found))
        return
    print("\n".join(to_lines(found, passed=passed) or ["Nothing to check: there is no finished result."]))


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of the files of a result folder."""
    from ..results import Manifest, SampleRecord, Summary

    files: dict[str, type[BaseModel]] = {
        "manifest.json": Manifest,
        "samples.jsonl (each line)": SampleRecord,
        "summary.json": Summary,
    }
    print_json({name: model.model_json_schema() for name, model in files.items()})


@app.command("verify")
def verify_results(
    folders: Annotated[list[Path], typer.Argument(help="Result folders, or folders that hold some.")],
    samples: Annotated[
        Path | None,
        typer.Option(help="A results folder with the samples of published rows that have none, made again."),
    ] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Check result folders: schemas, fingerprints, checksums, ids, and every figure computed again."""
    from ..errors import DataError
    from ..results import MANIFEST, SAMPLES, verify

    host = host_for(plugin)
    rows = [(folder, path.parent) for folder in folders for path in sorted(folder.rglob(MANIFEST))]
    found = {row: verify(row, host, _samples_of(row, folder, samples)) for folder, row in rows}
    unread = [row for folder, row in rows if not (_samples_of(row, folder, samples) / SAMPLES).is_file()]
    if not found:
        raise DataError(f"no result folders in {', '.join(map(str, folders))}")
    if unread:
        print(
            f"{len(unread)} of {len(rows)} rows have no samples here; their figures were not checked", file=sys.stderr
        )
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


def _samples_of(row: Path, folder: Path, samples: Path | None) -> Path:
    """Where the samples of a row are: beside its summary, or at the same place below another results folder."""
    if samples is None or (row / "samples.jsonl").is_file():
        return row
    return samples / row.relative_to(folder)
