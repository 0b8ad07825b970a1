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
            help="Results: a folder, the start of a fingerprint, or parts such as bm25+copy. Two results are "
            "compared with each other; with --baseline each is compared with it, by default all of its table."
        ),
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Result to compare the others with.")] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="Metric to compare; by default those that rank the tables. Repeatable."),
    ] = None,
    correction: Annotated[str, typer.Option(help="Correction of all p-values: holm, bh or none.")] = "holm",
    margin: Annotated[
        float | None, typer.Option(min=0, help="Test equivalence: smaller differences count as zero.")
    ] = None,
    interval: IntervalOption = "auto",
    json: JsonOption = False,
) -> None:
    """Test whether methods differ, paired by question, with users as the unit.

    p-values come from a sign-flip test over users and are corrected for the number of comparisons; intervals hold the
    values that the test does not reject. Seeds of a method are averaged, unless `+seed=0` selects one; where they
    differ, test and interval are over users and seeds.
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
