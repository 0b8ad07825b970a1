"""`prlm-bench lm-eval` and `prlm-bench paths`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlm_bench.cli.plugin_api import (
    AnyTaskOption,
    DataOption,
    DatesOption,
    JsonOption,
    LimitOption,
    PluginOption,
    SeedOption,
    SkipOption,
    SplitOption,
    ViewOption,
    host_for,
    make_progress,
    pretty,
    print_json,
    print_table,
    takes,
    write_whole,
)
from prlm_bench.errors import MissingDependencyError, RunError

if TYPE_CHECKING:
    from ._score_docs import PlannedMethod

#: Task files for lm_eval.
TASKS = Path(__file__).resolve().parent / "tasks"

app = typer.Typer(
    help="Export prompts to lm_eval, and run methods inside it.", no_args_is_help=True, rich_markup_mode=None
)
paths = typer.Typer(help="Print folders that other programs need.", no_args_is_help=True, rich_markup_mode=None)


@dataclass(frozen=True, kw_only=True)
class _MethodOptions:
    """Options that name a method and its questions, as those of `prlm-bench run` do."""

    task: Annotated[list[str], typer.Option("--task", help="Task name or task file. Repeatable.")]
    retriever: Annotated[str | None, typer.Option("--retriever", help="Retriever.  [default: none]")] = None
    k: Annotated[int | None, typer.Option("-k", min=0, help="Items to show.  [default: 4]")] = None
    reasoner: Annotated[str | None, typer.Option("--reasoner", help="Reasoner.  [default: direct]")] = None
    method: Annotated[
        str | None, typer.Option("--method", help="Named method, in place of retriever, reasoner and generator.")
    ] = None
    data: DataOption = None
    split: SplitOption = "dev"
    seed: SeedOption = 0
    limit: LimitOption = None
    view: ViewOption = "lamp"
    dates: DatesOption = False
    skip_invalid: SkipOption = False
    any_task: AnyTaskOption = False
    synth_users: Annotated[
        int | None, typer.Option("--synth-users", min=2, help="Users per split of generated tasks.")
    ] = None
    plugin: PluginOption = None
    json: JsonOption = False

    def config(self, generator: str | None) -> dict[str, Any]:
        """The fields of a run config.

        Raises:
            RunError: no generator is given, or a method and its parts are.
        """
        where = {"tasks": self.task, "data": self.data, "split": self.split, "seeds": [self.seed]}
        how = {"limit": self.limit, "synth_users": self.synth_users, "view": self.view, "dates": self.dates}
        return self._parts(generator) | where | how | {"skip_invalid": self.skip_invalid, "any_task": self.any_task}

    def _parts(self, generator: str | None) -> dict[str, Any]:
        named = {"retrievers": self.retriever, "reasoners": self.reasoner, "generators": generator}
        given = {field: [spec] for field, spec in named.items() if spec is not None}
        if self.method is None and generator is None:
            raise RunError("no generator is given", "give --generator or --method")
        if self.method is not None and given:
            raise RunError(
                "--method brings its own retriever, reasoner and generator", "give either --method or these options"
            )
        parts = {"retrievers": ["none"], **given} if self.method is None else {"methods": [self.method]}
        return {**parts, **({} if self.k is None else {"k": [self.k]})}


@paths.callback()
def _paths() -> None:
    """Print folders that other programs need."""


@paths.command("lm-eval")
def lm_eval_path() -> None:
    """Print the folder for lm_eval's --include_path, with a task prlm_TASK for each task that ships."""
    print(TASKS)


@app.command("export")
@takes(_MethodOptions)
def export(
    options: _MethodOptions,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the prompts.")],
    generator: Annotated[
        str | None,
        typer.Option(
            "--generator",
            help="Generator; its tokenizer counts prompt lengths. It is run only for reasoners that need it.",
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Token limit of an answer.  [default: the generator's, else 128]")
    ] = None,
) -> None:
    """Write the prompts of a method to files, for any model of lm_eval.

    They are the prompts of `prlm-bench run` with the same options. Pass them to lm_eval with
    --include_path FOLDER, or with --include_path "$(prlm-bench paths lm-eval)" --metadata prompts=FOLDER.
    """
    from ._frozen_prompts import freeze

    config = options.config(generator)
    with make_progress() as progress:
        planned = _plan(config, options.plugin, progress)
        rows = []
        for name, bench in planned.benches.items():
            file = freeze(bench, output, planned.host, max_new_tokens, progress)
            fingerprint = bench.manifests[0].fingerprint
            rows.append(
                {"task": f"prlm_{name}", "prompts": len(bench.ids), "fingerprint": fingerprint, "file": str(file)}
            )
    if options.json:
        print_json(rows)
        return
    columns = ["task", "prompts", "file"]
    print_table("", columns, [[str(row[column]) for column in columns] for row in rows])


@app.command("run")
@takes(_MethodOptions)
def run(
    options: _MethodOptions,
    generator: Annotated[str | None, typer.Option("--generator", help="Generator.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write lm_eval's report to this file.")] = None,
) -> None:
    """Run a whole method inside lm_eval, as its model prlm-bench, on the tasks of prlm-bench."""
    if find_spec("lm_eval") is None:
        raise MissingDependencyError("prlm-bench lm-eval run", "lm_eval", "lm-eval")
    from ._score_docs import question_docs

    config = options.config(generator)
    with make_progress() as progress:
        planned = _plan(config, options.plugin, progress)
        from .adapter import evaluate

        report = evaluate(planned, [question_docs(bench, planned.host) for bench in planned.benches.values()])
    if output is not None:
        write_whole(output, pretty(report))
        if str(output) == "-":  # which is standard output
            return
        typer.echo(f"wrote {output}", err=True)
    if options.json:
        print_json(report)
        return
    rows = []
    for name, figures in report["results"].items():
        values = {key.partition(",")[0]: value for key, value in figures.items() if "_stderr" not in key}
        count = report["n-samples"][name]["effective"]
        rows += [[name, metric, f"{value:.4f}", str(count)] for metric, value in values.items() if "@" in metric]
    print_table("", ["task", "metric", "value", "n"], rows)


def _plan(config: dict[str, Any], plugin: list[str] | None, progress: Any) -> PlannedMethod:
    from ._score_docs import PlannedMethod

    return PlannedMethod(config, host_for(plugin), progress)
