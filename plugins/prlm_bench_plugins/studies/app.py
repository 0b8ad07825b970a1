"""`prlm-bench study NAME`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prlm_bench.cli.plugin_api import (
    DEFAULT_RESULTS,
    DataOption,
    JsonOption,
    LimitOption,
    PluginOption,
    ResultsOption,
    RetrieverOption,
    SeedOption,
    SplitOption,
    TaskOption,
    host_for,
    make_progress,
    print_json,
    print_table,
)

from . import trained_app

if TYPE_CHECKING:
    from .asking import Asked
    from .report import Report

app = typer.Typer(
    help="Ask whether a method is personal and where its score comes from.", no_args_is_help=True, rich_markup_mode=None
)


def _add(name: str, module: str, summary: str, own_reasoner: str = "direct") -> None:
    """One command; the study, a function named like its module, is imported when it runs."""

    def command(
        task: TaskOption,
        data: DataOption = None,
        split: SplitOption = "dev",
        retriever: RetrieverOption = "bm25",
        k: Annotated[int, typer.Option("-k", min=0, help="Items to show.")] = 4,
        reasoner: Annotated[str, typer.Option("--reasoner", help="Reasoner.")] = own_reasoner,
        generator: Annotated[str, typer.Option("--generator", help="Generator.")] = "copy",
        seed: SeedOption = 0,
        limit: LimitOption = None,
        synth_users: Annotated[int | None, typer.Option(min=2, help="Users a split of generated tasks.")] = None,
        results: ResultsOption = DEFAULT_RESULTS,
        output: Annotated[Path | None, typer.Option("--output", "-o", help="Write table and figure here.")] = None,
        plugin: PluginOption = None,
        json: JsonOption = False,
    ) -> None:
        from .asking import Asked

        study: Callable[[Asked], Report] = getattr(import_module(f".{module}", __package__), module)
        with make_progress() as progress:
            method = (retriever, k, reasoner, generator)
            report = study(
                Asked(host_for(plugin), task, data, split, *method, seed, limit, synth_users, results, progress)
            )
        _show(report, output, json)

    command.__doc__ = summary
    app.command(name)(command)


def _show(report: Report, output: Path | None, json: bool) -> None:
    if json:
        print_json(report.to_json())
    else:
        if report.rows:
            print_table(report.title, list(report.columns), report.texts())
        for finding in report.findings:
            print(finding)
    for path in report.write(output) if output else []:
        typer.echo(f"wrote {path}", err=True)


_add("controls", "controls", "Is it personal? Own items against random, another user's, shuffled, no and true items.")
_add("k", "over_k", "The score over the number of items, beside how often the budget cut one.")
_add("retrievers", "retrievers", "The same reasoner and generator behind every retriever.")
_add("cold-start", "cold_start", "The score and the gain over no items by size of the profile.")
_add("attribution", "attribution", "Shares of the variance between stored rows owed to the parts of their methods.")
_add("leakage", "leakage", "Golds inside profiles, near-duplicates, users shared with train.")
_add("faithfulness", "faithfulness", "Does the answer rest on the items that the reasoning cites?", "cite")
trained_app.add(
    app,
    _show,
    "ablation",
    "ablation",
    "A trained method, its parts taken away one by one, and baselines trained on the same data.",
    "prlm.ablation",
    ["mini_lamp_4"],
)
trained_app.add(
    app,
    _show,
    "cross-domain",
    "cross_domain",
    "A method trained on each task, run on all of them.",
    "prlm",
    ["mini_lamp_4", "mini_lamp_5", "mini_lamp_7"],
)
trained_app.add_reward(app, _show)
trained_app.add_strength(app, _show)
