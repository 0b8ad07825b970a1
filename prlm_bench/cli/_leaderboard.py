"""`prlm-bench leaderboard`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._output import note, print_or_write, say
from .options import IntervalOption, JsonOption, ResultsOptions, TableOptions, checked_interval, takes

if TYPE_CHECKING:
    from ..stats import Interval
    from ..views import Results


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
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--rows",
            help="Only these rows: folders, starts of fingerprints, or parts such as bm25+copy.",
        ),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[ROWS]...", help="Rows, as after --rows.")] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help='What a row is called: "bm25+copy=Ours". Repeatable.')
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Mark the rows that a paired test, Holm-corrected, shows to differ from this one."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="Only these metrics; computed from the samples where rows lack one. Repeatable."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Print the tables of a results folder: one for each task, split, set of questions and metric protocol.

    Seeds of a method are averaged into one row, with intervals over users and seeds; the standard deviation between
    seeds has its own column. Rows that are not shown to differ from the best share its group letter.

    With --rows, --name or --baseline, the formats latex and markdown are tables for a paper: the best of each column in
    bold, and a caption.
    """
    from ..errors import UnknownNameError
    from ..report import FORMATS, render

    form = "json" if json else form
    if form not in FORMATS:
        raise UnknownNameError("format", form, FORMATS)
    chosen, kind = [*(rows or ()), *(more or ())], checked_interval(interval)
    found = options.load()
    if chosen or name or baseline:
        print_or_write(
            _for_paper(found, form, chosen, name or [], baseline, metric or [], protocol, kind, by_seed), output
        )
    else:
        if metric:
            found = with_metrics(found, metric)
        tables = found.tables(protocol=protocol, interval=kind, by_seed=by_seed, metrics=metric or ())
        print_or_write(render(tables, form, table.view()), output)
    published = sum(not row.has_samples for row in found)
    if published:
        note(f"{published} of {len(found)} rows are summaries without samples")
    for run in found.unfinished:
        note(f"unfinished, not in the tables: {run.folder}; resume with: {run.manifest.command}")


def with_metrics(found: Results, metrics: list[str]) -> Results:
    """The rows with these metrics; which of them lack one is said on standard error."""
    scored = found.rescore(metrics, store=False)
    if scored.left_out:
        note(f"{len(scored.left_out)} rows lack a metric, first: {scored.left_out[0]}")
    for name, fault in scored.failures.items():
        say(f"FAILED metric {name}: {fault}", err=True)
    return scored.results


def _for_paper(
    found: Results,
    form: str,
    rows: list[str],
    names: list[str],
    baseline: str | None,
    metrics: list[str],
    protocol: str | None,
    interval: Interval,
    by_seed: bool,
) -> str:
    from .. import api
    from ..errors import RunError
    from ..report import PAPER_FORMATS
    from ..report._paper import split_name

    if form not in PAPER_FORMATS or by_seed:
        given = "--by-seed" if by_seed else f"--format {form}"
        raise RunError(
            f"--rows, --name and --baseline make a table for a paper, not one with {given}",
            "--format latex or markdown",
        )
    words = [*rows, *([] if baseline is None else [baseline])]
    tables = api.paper_tables(
        with_metrics(found, metrics) if metrics else found,
        rows,
        names=dict(split_name(each, words, found.rows) for each in names),
        baseline=baseline,
        metrics=metrics,
        protocol=protocol,
        interval=interval,
    )
    return "\n".join(table.render(form) for table in tables)
