"""`prlm-bench results`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._output import print_json, print_lines, print_table, say
from .options import (
    DEFAULT_RESULTS,
    DataOption,
    JsonOption,
    PluginOption,
    ResultsOption,
    ResultsOptions,
    host_for,
    takes,
)

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


@app.command("rescore")
@takes(ResultsOptions)
def rescore_results(
    options: ResultsOptions,
    metric: Annotated[list[str], typer.Option("--metric", help="Metric to add, such as one of a plugin. Repeatable.")],
    json: JsonOption = False,
) -> None:
    """Add a metric to stored rows, from their samples; nothing is generated.

    The figures are kept in scores.json of each row, with the identity of the metric; tables, the site and exports have
    them from then on. A metric whose code has changed is computed again. The row itself stays what it is.
    """
    from ..host._faults import keep_fault

    found = options.load()
    scored = found.rescore(metric)
    if scored.left_out:
        say(f"left out: {len(scored.left_out)} rows, first: {scored.left_out[0]}", err=True)
    for name, fault in scored.failures.items():
        say(f"FAILED metric {name}: {fault}", err=True)
        keep_fault(f"metric {name}: {fault}", fault)
    if json:
        print_json([row for row in scored.results.to_dicts() if row["metric"] in metric])
    else:
        counts = f"{scored.computed} rows computed, {scored.already} had it already, {len(scored.left_out)} left out"
        print(f"{', '.join(metric)}: {counts}")
    if scored.failures:
        raise typer.Exit(1)


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of the files of a result folder."""
    from ..results import AddedScores, Contribution, Manifest, SampleRecord, Summary, Timing

    files: dict[str, type[BaseModel]] = {
        "manifest.json": Manifest,
        "samples.jsonl (each line)": SampleRecord,
        "summary.json": Summary,
        "timing.json": Timing,
        "scores.json": AddedScores,
        "contribution.json": Contribution,
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


@app.command("receive")
def receive_results(
    archive: Annotated[Path, typer.Argument(help="Zip file that `prlm-bench submit row` wrote.")],
    results: ResultsOption = DEFAULT_RESULTS,
    data: DataOption = None,
    synth_users: Annotated[int | None, typer.Option(min=2, help="Users per split of generated tasks.")] = None,
    samples: Annotated[bool, typer.Option(help="Keep the samples; without them, rows are published summaries.")] = True,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Check rows that somebody else has made, and take in those that nothing is wrong with, marked as theirs.

    Schemas, fingerprints and digests are checked, every figure is computed again from the samples, and questions, users
    and references are compared with the data here. That the method wrote these answers is not checked by that.
    """
    from ..errors import DataError
    from ..results import receive_rows

    found = receive_rows(archive, results, host_for(plugin), data=data, synth_users=synth_users, keep_samples=samples)
    if json:
        rows = [(str(row.folder), row.contribution.by, row.problems, row.notes) for row in found]
        print_json([dict(zip(("folder", "by", "problems", "notes"), row, strict=True)) for row in rows])
    for row in [] if json else found:
        head = f"{'taken in' if not row.problems else 'REFUSED'} {row.folder}, by {row.contribution.by}"
        say(head, *(f"      {line}" for line in (*row.problems, *row.notes)))
    refused = sum(bool(row.problems) for row in found)
    if refused:
        raise DataError(f"{refused} of {len(found)} rows were refused")


def _samples_of(row: Path, folder: Path, samples: Path | None) -> Path:
    """Where the samples of a row are: next to its summary, or at the same relative path in another results folder."""
    if samples is None or (row / "samples.jsonl").is_file():
        return row
    return samples / row.relative_to(folder)
