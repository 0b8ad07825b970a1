"""`prlm-bench prlm`: what a training did, to be read on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prlm_bench.cli.plugin_api import JsonOption, print_json, print_table
from prlm_bench.errors import DataError

from .recipe import recipe_names, recipe_text
from .records import HELD_BACK, TRAIN, read_completions, read_log

app = typer.Typer(help="Recipes of PrLM, and what a training did.", no_args_is_help=True, rich_markup_mode=None)

#: Columns of the curve, by trl's names.
_CURVE = {
    "loss": "loss",
    "reward": "reward",
    "spread": "reward_std",
    "entropy": "entropy",
    "kl": "kl",
    "length": "completions/mean_length",
    "clipped": "completions/clipped_ratio",
    "flat groups": "frac_reward_zero_std",
}
_MOST = 200


@app.command("recipes")
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this one, to be changed and given as --recipe.")] = None,
) -> None:
    """The recipes that ship, or the text of one."""
    print(recipe_text(name) if name else "\n".join(recipe_names()), end="" if name else "\n")


@app.command("curve")
def curve(
    folder: Annotated[Path, typer.Argument(help="Folder of a stage, such as RUN/policy.")],
    every: Annotated[int, typer.Option(min=1, help="Steps between two rows.")] = 10,
    json: JsonOption = False,
) -> None:
    """How a training went, step by step: its figures, and those of the held-back users."""
    log = read_log(folder)
    if not log:
        raise DataError(f"{folder} has no log", "give the folder of a stage, such as RUN/policy")
    judged = {row["step"]: row.get("eval_reward", row.get("eval_loss")) for row in log if "eval_loss" in row}
    steps = [row for row in log if "loss" in row and (row["step"] % every == 0 or row["step"] in judged)]
    if json:
        print_json(log)
        return
    names = {title: name for title, name in _CURVE.items() if any(row.get(name) is not None for row in steps)}
    rewards = sorted({name for row in steps for name in row if name.startswith("rewards/") and name.endswith("/mean")})
    names |= {name.split("/")[1]: name for name in rewards}
    rows = [[row["step"], *(row.get(name) for name in names.values()), judged.get(row["step"])] for row in steps]
    print_table(str(folder), ["step", *names, "held-back"], [[_text(cell) for cell in row] for row in rows])


@app.command("completions")
def completions(
    folder: Annotated[Path, typer.Argument(help="Folder of a policy, such as RUN/policy.")],
    step: Annotated[int | None, typer.Option(help="Step; by default the last one.")] = None,
    held_back: Annotated[bool, typer.Option("--held-back", help="Those of the held-back users.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 8,
    json: JsonOption = False,
) -> None:
    """What a policy wrote while it was trained, with each of its rewards."""
    rows = [row for row in read_completions(folder) if row["part"] == (HELD_BACK if held_back else TRAIN)]
    wanted = step if step is not None else max((row["step"] for row in rows), default=None)
    chosen = [row for row in rows if row["step"] == wanted][:limit]
    if not chosen:
        raise DataError(f"{folder} has no completions of that step", "give a policy's folder, and a step that was kept")
    if json:
        print_json(chosen)
        return
    names = list(chosen[0]["rewards"])
    table = [
        [row["id"], row["completion"][:_MOST], row["answer"][:_MOST], *(_text(row["rewards"][name]) for name in names)]
        for row in chosen
    ]
    print_table(f"{folder}, step {wanted}", ["question", "completion", "answer", *names], table)


def _text(cell: float | int | None) -> str:
    if cell is None:
        return "-"
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)
