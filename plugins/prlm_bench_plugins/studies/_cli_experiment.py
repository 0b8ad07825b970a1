"""`prlm-bench study experiment`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlm_bench.cli.plugin_api import (
    DEFAULT_RESULTS,
    AnyTaskOption,
    DataOption,
    JsonOption,
    PluginOption,
    ResultsOption,
    host_for,
    make_progress,
    print_json,
    print_table,
)

from ._cli_shared import ChangeOption, OutputOption, UsersOption, run_study

if TYPE_CHECKING:
    from prlm_bench.host import PluginHost

    from ._units import Units


def experiment(
    plan: Annotated[str, typer.Option(help="Plan: `tiny`, `real`, or a YAML file.")],
    budget: Annotated[str | None, typer.Option(help="Sizes of the plan, where it has several.")] = None,
    task: Annotated[str | None, typer.Option(help="Task instead of the plan's.")] = None,
    data: DataOption = None,
    split: Annotated[str | None, typer.Option(help="Split to test on, instead of the plan's.")] = None,
    change: ChangeOption = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Begin no unit later, or that will take longer; 0 reports what is finished."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the units, and which are finished.")] = False,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of trainings.  [default: prlm-runs/PLAN-BUDGET/TASK]")
    ] = None,
    any_task: AnyTaskOption = False,
    synth_users: UsersOption = None,
    results: ResultsOption = DEFAULT_RESULTS,
    output: OutputOption = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Train the arms of a plan over several seeds, in units that resume, and report comparisons fixed beforehand.

    Interrupted experiments resume when you repeat the command. Reports are made from the finished units, and say what
    is missing. The exit status is 1 if a unit failed; the others are made all the same.
    """
    from ._plan import read_plan

    chosen = read_plan(plan, budget, change or ())
    name = "-".join(filter(None, (Path(plan).stem, budget)))
    named = task or chosen.task
    fields: dict[str, Any] = {
        "tasks": (named,),
        "data": data,
        "split": split or chosen.split,
        "limit": chosen.limit,
        "seeds": tuple(chosen.seeds),
        "any_task": any_task,
        "synth_users": synth_users,
        "results": results,
    }
    options = {"plan": chosen, "runs": runs or Path("prlm-runs") / name / named}
    host = host_for(plugin)
    if dry_run:
        _show_units(host, fields, options, json)
    else:
        run_study("_experiment", "experiment", host, output, json, fields, {**options, "minutes": minutes})


def _show_units(host: PluginHost, fields: dict[str, Any], options: dict[str, Any], json: bool) -> None:
    from ._base import StudyConfig
    from ._units import Units

    with make_progress() as progress:
        units = Units(StudyConfig(host=host, progress=progress, **fields), **options)
    rows = list(_listed(units))
    if json:
        print_json(rows)
        return
    shown = [[str(value) if value is not None else "-" for value in row.values()] for row in rows]
    print_table(f"{len(units.done)} of {len(units.all)} units are finished", list(rows[0]), shown)


def _listed(units: Units) -> Iterator[dict[str, Any]]:
    """Each unit, whether it is finished, and the minutes that it took."""
    for unit in units.all:
        seconds = units.seconds(unit)
        state = "finished" if units.is_done(unit) else "begun" if units.is_begun(unit) else None
        yield {
            "arm": unit.arm,
            "seed": unit.seed,
            "items": unit.items or ("own" if unit.tested else None),
            "state": state,
            "minutes": None if seconds is None else round(seconds / 60, 1),
        }
