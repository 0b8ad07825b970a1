"""`prlm-bench site`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._util.progress_bars import make_progress
from .options import DEFAULT_RESULTS, IntervalOption, PluginOption, ResultsOption, checked_interval, host_for


def site(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write the site to.")],
    results: ResultsOption = DEFAULT_RESULTS,
    interval: IntervalOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Write the leaderboard as a static site with all samples; it opens without a server.

    Rows that are summaries without samples have a page with their figures.
    """
    from ..report import SeedAggregation
    from ..report.findings import find
    from ..results import find_results
    from ..site import find_pictures, write_site

    host, kind = host_for(plugin), checked_interval(interval)
    finished, unfinished = find_results(results)
    with make_progress() as progress:
        pooling, findings = (
            SeedAggregation(host, kind),
            find([row for row in finished if row.has_samples], host.registry),
        )
        pictures = find_pictures(results)
        index = write_site(
            finished, host.tasks, output, progress, pooling=pooling, findings=findings, pictures=pictures
        )
        if unfinished:
            progress.note(f"{len(unfinished)} unfinished results are left out")
    print(index)
