"""`prlm-bench export`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from prlm_bench.cli.plugin_api import DEFAULT_RESULTS, PluginOption, ResultsOption, host_for, say

app = typer.Typer(help="Export results for other programs.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Export results for other programs."""


@app.command("huggingface")
def huggingface(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the dataset; new, or empty.")],
    results: ResultsOption = DEFAULT_RESULTS,
    task: Annotated[list[str] | None, typer.Option("--task", help="Only these tasks. Repeatable.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Only this split.")] = None,
    name: Annotated[str, typer.Option("--name", help="Title of the card.")] = "prlm-bench results",
    texts: Annotated[
        bool,
        typer.Option("--texts", help="With the texts of the data: questions, items, prompts, references, completions."),
    ] = False,
    plugin: PluginOption = None,
) -> None:
    """Write a dataset folder for the Hugging Face hub: figures, samples, the rows' own files, and a card.

    The texts of the data are left out unless --texts asks for them: their licence decides whether they may be
    published. Nothing is uploaded.
    """
    from prlm_bench import load_results

    from ._dataset import write_dataset

    found = load_results(results, host=host_for(plugin)).filter(task=task or (), split=split)
    written = write_dataset(found, output, name=name, texts=texts)
    say(f"{len(found)} rows and {written} samples in {output}; read {output / 'README.md'}, then upload it with:")
    say(f"hf upload USER/NAME {shlex.quote(str(output))} --repo-type dataset")
