"""`prlm-bench compare`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ._host import JsonOption, PluginOption, host_for
from ._interval import IntervalOption, checked_interval
from ._output import print_json, print_table
from ._run import DEFAULT_RESULTS, ResultsOption

if TYPE_CHECKING:
    from ..report._compare import Comparison


def compare(
    methods: Annotated[
        list[str] | None,
        typer.Argument(
            help="Results: a folder, the start of a fingerprint, or parts such as bm25+copy. Two results are compared "
            "with each other; with --baseline each is compared with it, and none means all of its table."
        ),
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="The result that others are compared with.")] = None,
    task: Annotated[str | None, typer.Option(help="Only results of this task.")] = None,
    split: Annotated[str | None, typer.Option(help="Only results of this split.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Compare in these metrics; by default the ranking ones.")
    ] = None,
    correction: Annotated[str, typer.Option(help="Of p-values over all comparisons: holm, bh or none.")] = "holm",
    margin: Annotated[
        float | None, typer.Option(min=0, help="Test equivalence: differences below this count as none.")
    ] = None,
    interval: IntervalOption = "percentile",
    results: ResultsOption = DEFAULT_RESULTS,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Test whether methods differ: paired on the same questions, users as the unit.

    Intervals resample users; p-values come from a sign-flip test over users and are corrected for the number of
    comparisons. Seeds of one method are taken together, unless `+seed=0` names one: the difference is the mean over
    the seeds, and its standard deviation between seeds has a column of its own.
    """
    from ..errors import UnknownNameError
    from ..report._compare import CORRECTIONS, choose_results, compare_stored
    from ..results._store import load_results

    if correction not in CORRECTIONS:
        raise UnknownNameError("correction", correction, CORRECTIONS)
    host = host_for(plugin)
    stored = [
        result
        for result in load_results(results)[0]
        if task in (None, result.manifest.task) and split in (None, result.manifest.split)
    ]
    chosen, base = choose_results(stored, methods or [], baseline)
    kind = checked_interval(interval)
    found = compare_stored(host, chosen, base, metric or [], correction=correction, margin=margin, interval=kind)
    if json:
        print_json([asdict(comparison) for comparison in found])
    else:
        _print(found, correction)


def _print(found: list[Comparison], correction: str) -> None:
    several = any(c.seed_sd is not None for c in found)
    margin = any(c.equivalent is not None for c in found)
    titles = ["method", "metric", "value", "baseline", "difference", *(["seed sd"] if several else [])]
    titles += ["p", f"p ({correction})", "detectable", "users +/=/-", *(["equivalent"] if margin else [])]
    rows = []
    for c in found:
        d = c.difference
        figures = [f"{d.first:.4f}", f"{d.second:.4f}", f"{d.difference:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"]
        if several:
            figures.append("-" if c.seed_sd is None else f"{c.seed_sd:.4f}")
        figures += [f"{d.p:.4f}", f"{c.p_corrected:.4f}", f"{c.detectable:.4f}", f"{d.higher}/{d.equal}/{d.lower}"]
        if margin:
            figures.append("yes" if c.equivalent else "not shown")
        rows.append([c.method, c.metric, *figures])
    first = found[0]
    # A method that lacks a seed is compared with fewer of the baseline's.
    against = first.baseline if len({c.baseline for c in found}) == 1 else first.baseline.partition(", seeds")[0]
    title = f"{first.task} {first.split}, against {against}: {first.n} questions, {first.n_users} users"
    print_table(title, titles, rows)
    kind = "BCa interval" if first.interval == "bca" else "interval"
    print(
        f"[ ] 95 % {kind}, users resampled. p: sign-flip test over users. "
        "detectable: the difference that so many users show with probability 0.8."
    )
    if several:
        print(
            "Several seeds: the mean of their differences. seed sd: standard deviation of the difference between seeds."
        )
