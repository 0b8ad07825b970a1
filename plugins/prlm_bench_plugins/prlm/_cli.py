"""`prlm-bench prlm`: recipes, and the curves and completions of trainings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from prlm_bench.cli.plugin_api import JsonOption, print_json, print_table
from prlm_bench.errors import DataError

from .._training import TRAIN, VALIDATION, read_completions, read_log
from ._recipe import recipe_names, recipe_text

app = typer.Typer(
    help="Recipes of PrLM, and the curves and completions of trainings.", no_args_is_help=True, rich_markup_mode=None
)

#: Columns of the curve, and trl's names for them.
_CURVE = {
    "loss": "loss",
    "reward": "reward",
    "spread": "reward_std",
    "entropy": "entropy",
    "kl": "kl",
    "length": "completions/mean_length",
    "clipped": "completions/clipped_ratio",
    "flat groups": "groups/without_spread",
}
#: Characters of a text in a table.
_WIDTH = 200


@app.command("recipes")
def recipes(
    name: Annotated[
        str | None, typer.Argument(help="Print this recipe, for instance to edit it and pass it to --recipe.")
    ] = None,
) -> None:
    """List the recipes that ship, or print one."""
    print(recipe_text(name) if name else "\n".join(recipe_names()), end="" if name else "\n")


@app.command("curve")
def curve(
    folder: Annotated[Path, typer.Argument(help="Folder of a stage, such as RUN/policy.")],
    every: Annotated[int, typer.Option(min=1, help="Number of steps between two rows.")] = 10,
    json: JsonOption = False,
) -> None:
    """Show the figures of a training by step, with those of the validation users."""
    log = read_log(folder)
    if not log:
        raise DataError(f"{folder} has no log", "give the folder of a stage, such as RUN/policy")
    evaluated = {row["step"]: _validation(row) for row in log if "eval_loss" in row}
    steps = [row for row in log if "loss" in row and (row["step"] % every == 0 or row["step"] in evaluated)]
    if json:
        print_json(log)
        return
    names = {title: name for title, name in _CURVE.items() if any(row.get(name) is not None for row in steps)}
    rewards = sorted({name for row in steps for name in row if name.startswith("rewards/") and name.endswith("/mean")})
    names |= {name.split("/")[1]: name for name in rewards}
    shares = sorted({name for row in steps for name in row if name.startswith("rewards/") and name.endswith("/share")})
    names |= {f"{name.split('/')[1]} share": name for name in shares}
    rows = [[row["step"], *(row.get(name) for name in names.values()), evaluated.get(row["step"])] for row in steps]
    print_table(str(folder), ["step", *names, "validation"], [[_text(cell) for cell in row] for row in rows])


def _validation(row: Mapping[str, Any]) -> float | None:
    """The figure by which a checkpoint is chosen."""
    figures = ("eval_readable_accuracy", "eval_accuracy", "eval_reward", "eval_loss")
    known = (row[name] for name in figures if name in row)
    found: float | None = next(known, None)
    return found


@app.command("completions")
def completions(
    folder: Annotated[Path, typer.Argument(help="Folder of a policy, such as RUN/policy.")],
    step: Annotated[int | None, typer.Option(help="Number of the step; by default the last one stored.")] = None,
    validation: Annotated[
        bool, typer.Option("--validation", "--held-back", help="Show the completions of the validation users.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of completions to show.")] = 8,
    json: JsonOption = False,
) -> None:
    """Show completions that a policy wrote while it was trained, with each reward."""
    rows = [row for row in read_completions(folder) if row["part"] == (VALIDATION if validation else TRAIN)]
    wanted = step if step is not None else max((row["step"] for row in rows), default=None)
    shown = [row for row in rows if row["step"] == wanted][:limit]
    if not shown:
        raise DataError(
            f"{folder} has no completions of that step", "give the folder of a policy, and a step that was stored"
        )
    if json:
        print_json(shown)
        return
    names = list(shown[0]["rewards"])
    table = [
        [
            row["id"],
            row["completion"][:_WIDTH],
            row["answer"][:_WIDTH],
            *(_text(row["rewards"][name]) for name in names),
        ]
        for row in shown
    ]
    print_table(f"{folder}, step {wanted}", ["question", "completion", "answer", *names], table)


def _text(cell: float | int | None) -> str:
    if cell is None:
        return "-"
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)
