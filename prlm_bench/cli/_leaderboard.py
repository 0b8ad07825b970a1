"""`prlm-bench leaderboard`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ._host import JsonOption, PluginOption, host_for
from ._interval import IntervalOption, checked_interval
from ._output import print_or_write
from ._run import DEFAULT_RESULTS, ResultsOption


def leaderboard(
    results: ResultsOption = DEFAULT_RESULTS,
    form: Annotated[str, typer.Option("--format", help="terminal, markdown, csv, json or latex.")] = "terminal",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    task: Annotated[list[str] | None, typer.Option("--task", help="Only these tasks. Repeatable.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Only this metric protocol: lamp or prlm.")] = None,
    interval: IntervalOption = "percentile",
    by_seed: Annotated[bool, typer.Option("--by-seed", help="A row for each seed, not one for all.")] = False,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Print the tables of a results folder: one for each task, split, set of questions and metric protocol.

    Seeds of one method are one row: means over the seeds, intervals over users, and the standard deviation between
    seeds in a column of its own.
    """
    from ..errors import UnknownNameError
    from ..report._formats import FORMATS, render
    from ..report._leaderboard import build_tables
    from ..report._pooling import SeedAggregation
    from ..results._store import load_results

    form = "json" if json else form
    if form not in FORMATS:
        raise UnknownNameError("format", form, FORMATS)
    finished, unfinished = load_results(results)
    wanted = [
        result
        for result in finished
        if (not task or result.manifest.task in task) and split in (None, result.manifest.split)
    ]
    host = host_for(plugin)
    tables = build_tables(wanted, host.tasks, SeedAggregation(host, checked_interval(interval), by_seed))
    if protocol is not None:
        tables = [table for table in tables if table.protocol == protocol]
    print_or_write(render(tables, form), output)
    for left in unfinished:
        print(f"unfinished, not in the tables: {left.folder}; go on with: {left.manifest.command}", file=sys.stderr)
