"""`prlm-bench site`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._util.progress_bars import make_progress
from .options import DEFAULT_RESULTS, IntervalOption, PluginOption, ResultsOption, checked_interval, host_for


def site(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write the site to.")] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            help="Write the leaderboard as one Markdown page. In a file that exists it follows the line "
            "<!-- leaderboard -->, and what stands before stays."
        ),
    ] = None,
    results: ResultsOption = DEFAULT_RESULTS,
    interval: IntervalOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Write the leaderboard as a static site with all samples, which opens without a server, or as a Markdown page.

    Both begin with an overview over the tasks. Rows that are summaries without samples have a page with their figures.
    """
    from ..errors import PrlmBenchError
    from ..report import SeedAggregation, build_tables
    from ..report.findings import find
    from ..results import find_results, without_stale
    from ..site import find_pictures, write_markdown, write_site

    if output is None and markdown is None:
        raise PrlmBenchError("nothing to write", "--output FOLDER writes the site, --markdown FILE a page")
    host, kind = host_for(plugin), checked_interval(interval)
    found, unfinished = find_results(results)
    finished = without_stale(found, host)
    pooling, pictures = SeedAggregation(host, kind), find_pictures(results)
    with make_progress() as progress:
        if output is not None:
            findings = find([row for row in finished if row.has_samples], host.registry)
            index = write_site(
                finished, host.tasks, output, progress, pooling=pooling, findings=findings, pictures=pictures
            )
            print(index)
        if markdown is not None:
            write_markdown(build_tables(finished, host.tasks, pooling), host, markdown, pictures)
            print(markdown)
        if unfinished:
            progress.note(f"{len(unfinished)} unfinished results are left out")
