"""`prlm-bench compare`."""

from __future__ import annotations

import sys
from typing import Annotated, cast

import typer

from ._output import print_json
from .options import IntervalOption, JsonOption, ResultsOptions, checked_interval, takes


@takes(ResultsOptions)
def compare(
    options: ResultsOptions,
    methods: Annotated[
        list[str] | None,
        typer.Argument(
            help="Results: a folder, the start of a fingerprint, or parts such as bm25+copy. Two results are compared "
            "with each other; with --baseline each is compared with it, and none means all of its table."
        ),
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="The result that others are compared with.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Compare in these metrics; by default the ranking ones.")
    ] = None,
    correction: Annotated[str, typer.Option(help="Of p-values over all comparisons: holm, bh or none.")] = "holm",
    margin: Annotated[
        float | None, typer.Option(min=0, help="Test equivalence: differences below this count as none.")
    ] = None,
    interval: IntervalOption = "percentile",
    json: JsonOption = False,
) -> None:
    """Test whether methods differ: paired on the same questions, users as the unit.

    Intervals resample users; p-values come from a sign-flip test over users and are corrected for the number of
    comparisons. Seeds of one method are taken together, unless `+seed=0` names one: the difference is the mean over
    the seeds, and its standard deviation between seeds has a column of its own.
    """
    from .. import api
    from ..report import Correction

    found = api.compare(
        options.load(),
        methods or (),
        baseline,
        metrics=metric or (),
        correction=cast(Correction, correction),
        margin=margin,
        interval=checked_interval(interval),
    )
    if json:
        print_json([row.to_dict() for row in found])
    else:
        sys.stdout.write(repr(found))
