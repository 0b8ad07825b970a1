"""`prlm-bench retrieval`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from .._util.progress_bars import make_progress
from ._output import note, print_json, print_or_write_pieces, print_table
from .options import (
    AnyTaskOption,
    DataOption,
    JsonOption,
    LimitOption,
    OutputOption,
    PluginOption,
    RetrieverOption,
    SkipOption,
    SplitOption,
    SplitOptions,
    TaskOption,
    host_for,
    takes,
)

if TYPE_CHECKING:
    from ..results import Estimate
    from ..retrieval_eval import Evaluation
    from ..retrieval_eval._trec import Scores

app = typer.Typer(
    help="Evaluate retrieval on its own; read and write TREC files.", no_args_is_help=True, rich_markup_mode=None
)
EscapeOption = Annotated[bool, typer.Option("--escape", help="Percent-encode blanks in ids (%20).")]


@app.command("eval")
@takes(SplitOptions)
def evaluate_retrieval(
    options: SplitOptions,
    retriever: Annotated[
        list[str] | None, typer.Option("--retriever", help="Retriever, as NAME:option=value. Repeatable.")
    ] = None,
    run: Annotated[list[Path] | None, typer.Option("--run", help="TREC run file of another tool. Repeatable.")] = None,
    escape: Annotated[bool, typer.Option("--escape", help="The run files were written with --escape.")] = False,
    measures: Annotated[str, typer.Option(help="ir_measures names, separated by commas.")] = "nDCG@5,R@5,RR",
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", help="Write evaluation.json, recall.png and recall.svg here.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Evaluate retrievers and run files, against relevance labels where they exist and against each other.

    Rankings cover the whole profile. Differences are relative to the first one named.
    """
    from .._util.files import pretty, write_whole
    from ..retrieval_eval import RetrieverSource, RunSource, check_measures, evaluate
    from ..retrieval_eval._plots import check_drawable, draw_recall

    wanted = [name.strip() for name in measures.split(",")]
    check_measures(wanted)
    if output_dir is not None:
        check_drawable()
    with make_progress() as progress, options.open(progress) as session:
        dataset = session.dataset
        choices = [session.host.registry.choose("retriever", spec) for spec in retriever or ()]
        first = dataset.example(0) if choices and len(dataset) else None
        sources: list[Any] = [
            RetrieverSource(session.components, choice, options.seed, first) for choice in choices if first is not None
        ]
        sources += [RunSource(path, dataset, escape) for path in run or ()]
        found = evaluate(dataset, sources, wanted, limit=options.limit, progress=progress)
    if output_dir is not None:
        write_whole(output_dir / "evaluation.json", pretty(found.to_dict()))
        for path in [output_dir / "evaluation.json", *draw_recall(found, output_dir)]:
            note(f"wrote {path}")
        if not found.recall:
            print("skipping the recall plot: no relevance labels", file=sys.stderr)
    if json:
        print_json(found.to_dict())
    else:
        _show(found)


def _show(found: Evaluation) -> None:
    size = f"{found.task} {found.split}: {found.n} questions, {found.n_users} users"
    judged = f", {found.n_judged} with relevance labels" if found.n_judged else ", no relevance labels"
    measures = found.measures if found.n_judged else []
    rows = []
    for name, about in found.sources.items():
        times = [_number(about.get("setup_s"), "{:.2f}"), _number(about.get("ms_per_question"), "{:.2f}")]
        size_mb = _number(about.get("cache_bytes"), "{:.1f}", 1e-6)
        rows.append([name, *_cells(found.figures.get(name, {})), *times, size_mb])
    print(size + judged)
    print_table("", ["retriever", *measures, "set-up s", "ms/question", "cache MB"], rows)
    if found.differences:
        rows = [[name, *_cells(figures)] for name, figures in found.differences.items()]
        print(f"difference from {next(iter(found.figures))}")
        print_table("", ["retriever", *measures], rows)
    if found.agreement:
        rows = [[*pair, *_cells(figures)] for pair, figures in found.agreement.items()]
        columns = list(next(iter(found.agreement.values())))
        print("agreement")
        print_table("", ["of", "and", *columns], rows)
    print("[ ] 95 % interval over users. overlap@k: questions with more than k items only.")


def _cells(figures: Mapping[str, Estimate]) -> list[str]:
    from ..report import estimate

    return [estimate(figure) for figure in figures.values()]


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    return "-" if value is None else form.format(value * scale)


@app.command("export-run")
@takes(SplitOptions)
def export_run(
    options: SplitOptions,
    retriever: RetrieverOption,
    output: OutputOption = None,
    tag: Annotated[str | None, typer.Option(help="Name of the run; the retriever by default.")] = None,
    depth: Annotated[int | None, typer.Option(min=1, help="Maximum number of items per ranking.")] = None,
    scores: Annotated[str, typer.Option(help="places: descending, keeps the order; own: the retriever's.")] = "places",
    escape: EscapeOption = False,
) -> None:
    """Write rankings as a TREC run: question Q0 item rank score tag."""
    from ..errors import UnknownNameError
    from ..retrieval_eval._trec import run_lines

    if scores not in ("places", "own"):
        raise UnknownNameError("kind of scores", scores, ("places", "own"))
    kind = cast("Scores", scores)
    with make_progress() as progress, options.open(progress) as session:
        ranker = session.component("retriever", retriever)
        label = tag or str(session.host.registry.choose("retriever", retriever))
        lines = run_lines(
            session.dataset, ranker, label, progress, limit=options.limit, depth=depth, scores=kind, escape=escape
        )
        print_or_write_pieces(lines, output)


@app.command("export-qrels")
def export_qrels(
    task: TaskOption,
    data: DataOption = None,
    split: SplitOption = "dev",
    output: OutputOption = None,
    escape: EscapeOption = False,
    limit: LimitOption = None,
    skip_invalid: SkipOption = False,
    any_task: AnyTaskOption = False,
    plugin: PluginOption = None,
) -> None:
    """Write the recorded relevant items as TREC relevance judgements: question 0 item 1."""
    from ..data import open_split
    from ..retrieval_eval._trec import qrels_lines

    with make_progress() as progress:
        found = host_for(plugin).tasks.get(task)
        dataset = open_split(found, split, data, skip_invalid=skip_invalid, any_task=any_task, progress=progress)
        print_or_write_pieces(qrels_lines(dataset, limit=limit, escape=escape), output)
