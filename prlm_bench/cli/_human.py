"""`prlm-bench human`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._output import print_json, print_lines, print_table, say
from .options import DEFAULT_RESULTS, JsonOption, PluginOption, ResultsOption, host_for

if TYPE_CHECKING:
    from ..host import PluginHost
    from ..human import Report
    from ..results import Estimate, Stored

app = typer.Typer(
    help="Human evaluation: blind pairwise judgements of answers.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("export")
def export(
    methods: Annotated[
        list[str],
        typer.Argument(
            help="Two or more results: folders, starts of fingerprints, or parts of a method such as bm25+copy."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write for the annotators.")],
    results: ResultsOption = DEFAULT_RESULTS,
    form: Annotated[
        str | None, typer.Option("--format", help="csv or label-studio.  [default: by the suffix of --output]")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="File that maps answers to methods; next to --output by default.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only results of this task.")] = None,
    split: Annotated[str | None, typer.Option(help="Only results of this split.")] = None,
    profile_from: Annotated[
        list[str] | None,
        typer.Option(help="Result whose items are the profile excerpt; by default the methods' own. Repeatable."),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Number of pairs.")] = 100,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    checks: Annotated[int, typer.Option("--attention-checks", min=0, help="Pairs with an obviously wrong answer.")] = 5,
    plugin: PluginOption = None,
) -> None:
    """Sample blind pairs of answers to the same questions, balanced over users, and write them for annotators."""
    from .._util.files import STDOUT
    from ..errors import DataError, UnknownNameError
    from ..human import FORMATS, make_export, write_export, write_key
    from ..results import find_results, select

    if output == STDOUT:
        raise DataError("an export is several files, which standard output cannot hold", "give --output a file")
    form = form or ("label-studio" if output.suffix == ".json" else "csv")
    if form not in FORMATS:
        raise UnknownNameError("format", form, FORMATS)
    stored = [
        result
        for result in find_results(results)[0]
        if task in (None, result.manifest.task) and split in (None, result.manifest.split)
    ]
    host = host_for(plugin)
    selected = [select(stored, words) for words in methods]
    shown = [select(stored, words) for words in profile_from or []] or [r for r in selected if _has_own_items(r, host)]
    name = selected[0].manifest.task
    known = host.tasks.named(name) if name in host.tasks.names else None
    title, labels = (known.title, known.labels) if known else (name, ())
    made = make_export(selected, shown, title, n=n, seed=seed, checks=checks, labels=labels)
    key = key or output.with_suffix(".key.json")
    write_key(made.key, key)
    for path in write_export(made.shown, output, form):
        say(path)
    for note in made.notes:
        say(note, err=True)
    left_out = f"{made.key.identical} pairs of equal answers were left out; " if made.key.identical else ""
    say(f"{left_out}the key is in {key}: do not give it to the annotators", err=True)


def _has_own_items(result: Stored, host: PluginHost) -> bool:
    """Whether the items are the user's own; a retriever that needs several users shows another user's."""
    known = {component.qualified: component for component in host.registry.all("retriever")}
    component = known.get(result.manifest.method.retriever.plugin)
    return component is None or "users" not in component.needs


@app.command("page")
def page(
    pairs: Annotated[Path, typer.Argument(metavar="EXPORT", help="File written by `human export`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")],
) -> None:
    """Turn an export into a form: one HTML file that works offline and saves the judgements to a file."""
    from .._util.files import STDOUT, write_whole
    from ..human import form_page, read_export

    write_whole(output, form_page(read_export(pairs)).encode())
    if output != STDOUT:
        say(output)


@app.command("import")
def import_judgements(
    judgements: Annotated[
        list[Path], typer.Argument(help="Files saved by the form, filled-in CSV files, or Label Studio JSON.")
    ],
    key: Annotated[Path, typer.Option(help="Key written by `human export`.")],
    results: Annotated[
        Path | None, typer.Option(help="Results folder, to compare every metric with the annotators.")
    ] = None,
    drop_failed: Annotated[
        bool, typer.Option("--drop-failed", help="Exclude annotators who failed an attention check.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Analyse judgements: agreement, win rates, strengths, and how far metrics agree with the annotators."""
    from ..human import make_report, read_judgements, read_key
    from ..results import find_results

    read = read_key(key)
    stored = None if results is None else find_results(results)[0]
    report = make_report(read_judgements(judgements, read), read, stored, drop_failed=drop_failed)
    if json:
        print_json(report.to_json())
    else:
        _print(report)


def _print(report: Report) -> None:
    from ..human._estimates import NEEDED

    total = report.identical + report.different
    judged = f"{report.judgements} judgements of {report.pairs} of {report.pairs_total} pairs"
    equal = f"{report.identical} of {total} pairs of answers were equal and not shown"
    print(f"{report.task} {report.split}: {judged}; {equal}")
    rows = []
    for a in report.annotators:
        failed = f"{a.failed} of {a.checks}" + (", dropped" if a.dropped else "")
        rows.append([a.name, str(a.judgements), f"{a.first}/{a.neither}/{a.second}", failed])
    print_table("annotators", ["annotator", "judgements", "1/0/2", "checks failed"], rows)
    agreed = report.agreement
    measures = [
        ("equal choices", agreed.observed),
        ("Krippendorff's alpha", agreed.alpha),
        ("Fleiss' kappa", agreed.fleiss),
        ("Cohen's kappa", agreed.cohen),
    ]
    rows = [[name, str(agreed.pairs), _interval(found)] for name, found in measures]
    print_table("agreement of annotators", ["measure", "pairs", "agreement"], rows)
    names = report.methods
    rows = []
    for w in report.win_rates:
        against = "all" if w.second is None else names[w.second]
        counts = [f"{w.wins}/{w.ties}/{w.losses}", str(w.users), str(w.annotators)]
        rows.append([names[w.first], against, _interval(w.rate), *counts])
    columns = ["method", "against", "win rate", "win/tie/loss", "users", "annotators"]
    print_table("win rates (tie: half a win)", columns, rows)
    strengths = [[name, _interval(s)] for name, s in zip(names, report.strengths, strict=True)]
    print_table("Bradley-Terry strengths (log odds, mean 0)", ["method", "strength"], strengths)
    if report.metrics is not None:
        print_table(
            "agreement of metrics with annotators",
            ["metric", "judgements", "tied", "accuracy", "Kendall's tau-b"],
            [[m.metric, str(m.n), str(m.tied), _interval(m.accuracy), _interval(m.tau)] for m in report.metrics],
        )
    print_lines(f"{note[0].upper()}{note[1:]}." for note in report.notes)
    print_lines(
        [
            f"Prior of strengths: {report.prior}.",
            "[ ] 95 % interval over users and annotators; that of agreement over users.",
            f"( ) Why there is none: {NEEDED}.",
        ]
    )


def _interval(found: Estimate) -> str:
    from ..report import estimate

    if found.value is None and found.why:
        return f"- ({found.why})"
    return estimate(found)
