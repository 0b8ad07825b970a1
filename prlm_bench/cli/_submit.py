"""`prlm-bench submit`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .._util.files import STDOUT
from .._util.reading import validated
from ._output import ask_to_replace, print_table, say
from .options import DEFAULT_RESULTS, DataOption, PluginOption, ResultsOption, host_for

app = typer.Typer(help="Make submissions for leaderboards.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Make submissions for leaderboards."""


@app.command("lamp")
def lamp(
    output: Annotated[Path, typer.Option("--output", "-o", help="Zip file to write.")],
    results: ResultsOption = DEFAULT_RESULTS,
    method: Annotated[
        str | None,
        typer.Option(help="The result to submit where a task has several: parts of a method such as bm25+copy."),
    ] = None,
    data: DataOption = None,
    time: Annotated[
        bool, typer.Option("--time", help="Submit the time-split tasks instead of the user-split tasks.")
    ] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Allow fewer than seven tasks; the server rejects them.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file without asking.")] = False,
) -> None:
    """Write the official LaMP submission from results on the test split, checked against the question files."""
    from ..results import describe, find_results
    from ..submission import gather, submission_tasks, write_submission
    from ..tasks import TaskRegistry

    tasks = submission_tasks(TaskRegistry(), time)
    submitted = gather(find_results(results)[0], tasks, method, data, partial=partial)
    ask_to_replace(output, force)
    write_submission(submitted, output)
    rows = [[s.task.benchmark, str(len(s.answers)), str(s.empty), describe(s.result)] for s in submitted]
    print_table(str(output), ["task", "answers", "blank", "method"], rows, err=output == STDOUT)
    if len(submitted) < len(tasks):
        given = {s.task.name for s in submitted}
        left = ", ".join(task.name for task in tasks if task.name not in given)
        print(f"partial, without {left}: the server rejects a submission that lacks a task", file=sys.stderr)


@app.command("row")
def row(
    folders: Annotated[list[Path], typer.Argument(help="Result folders, or folders that contain some.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Zip file to write.")],
    by: Annotated[str, typer.Option(help="Who made the rows, as tables will name them.")],
    url: Annotated[str, typer.Option(help="Address where more is said, such as that of a paper.")] = "",
    note: Annotated[str, typer.Option(help="What is needed to run them, such as the pip line of a plugin.")] = "",
    plugin: PluginOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file without asking.")] = False,
) -> None:
    """Pack rows with their samples for another results folder, which takes them in by `results receive`.

    The figures are computed again from the samples first, as the one who receives them will.
    """
    from ..errors import DataError
    from ..results import Contribution, pack_rows, row_folders

    ask_to_replace(output, force)
    contribution = validated(Contribution, {"by": by, "url": url, "note": note}, "submit row")
    found = [each for folder in folders for each in row_folders(folder)]
    if not found:
        raise DataError(f"no result folders in {', '.join(map(str, folders))}")
    pack_rows(found, contribution, output, host_for(plugin))
    say(f"packed {len(found)} rows by {by} as {output}", err=output == STDOUT)
