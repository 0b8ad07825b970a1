"""`prlm-bench leaderboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import note, print_or_write
from .options import IntervalOption, JsonOption, ResultsOptions, TableOptions, checked_interval, takes


@takes(TableOptions, "table")
@takes(ResultsOptions)
def leaderboard(
    options: ResultsOptions,
    table: TableOptions,
    form: Annotated[
        str, typer.Option("--format", help="Output format: terminal, markdown, csv, json, latex or html.")
    ] = "terminal",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Only this metric protocol: lamp or prlm.")] = None,
    interval: IntervalOption = "auto",
    by_seed: Annotated[bool, typer.Option("--by-seed", help="One row per seed instead of one per method.")] = False,
    json: JsonOption = False,
) -> None:
    """Print the tables of a results folder: one for each task, split, set of questions and metric protocol.

    Seeds of a method are averaged into one row, with intervals over users and seeds; the standard deviation between
    seeds has its own column. Rows that are not shown to differ from the best share its group letter.
    """
    from ..errors import UnknownNameError
    from ..report import FORMATS, render

    form = "json" if json else form
    if form not in FORMATS:
        raise UnknownNameError("format", form, FORMATS)
    found = options.load()
    tables = found.tables(protocol=protocol, interval=checked_interval(interval), by_seed=by_seed)
    print_or_write(render(tables, form, table.view()), output)
    published = sum(not row.has_samples for row in found)
    if published:
        note(f"{published} of {len(found)} rows are summaries without samples")
    for run in found.unfinished:
        note(f"unfinished, not in the tables: {run.folder}; resume with: {run.manifest.command}")
