"""`prlm-bench run`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import RunError
from ._output import note, print_json, print_lines, print_table, say
from .options import DEFAULT_RESULTS, DataOption, JsonOption, PluginOption, TableOptions, host_for, takes

if TYPE_CHECKING:
    from ..host import PluginHost
    from ..running import Outcome, RunConfig, Skipped

#: The config used without arguments: mini-LaMP with the tiny model and methods that need no model.
DEFAULT_CONFIG = Path(__file__).resolve().parent.parent / "running" / "default_run.yaml"


def _many(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help + " Repeatable.")


@takes(TableOptions, "table")
def run(
    table: TableOptions,
    config: Annotated[Path | None, typer.Argument(help="A run file (YAML); flags override it.")] = None,
    task: Annotated[list[str] | None, _many("--task", help="Task name or task file.")] = None,
    data: DataOption = None,
    split: Annotated[str | None, typer.Option(help="Split to run on.  [default: dev]")] = None,
    retriever: Annotated[list[str] | None, _many("--retriever", help="Retriever, as NAME:option=value.")] = None,
    k: Annotated[list[int] | None, _many("-k", help="Number of items to show.")] = None,
    reasoner: Annotated[list[str] | None, _many("--reasoner", help="Reasoner.  [default: direct]")] = None,
    generator: Annotated[list[str] | None, _many("--generator", help="Generator.")] = None,
    method: Annotated[list[str] | None, _many("--method", help="Method by name.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="What tables call the row of this one method.")] = None,
    reward: Annotated[list[str] | None, _many("--reward", help="Reward to report.")] = None,
    seed: Annotated[list[int] | None, _many("--seed", help="Random seed.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first questions, up to this number.")] = None,
    view: Annotated[str | None, typer.Option(help="Texts that retrieval reads: lamp or prlm.  [default: lamp]")] = None,
    dates: Annotated[
        bool | None, typer.Option("--dates", help="Append dates to the texts that retrieval reads.")
    ] = None,
    controls: Annotated[bool | None, typer.Option(help="Add the control rows.  [default: controls]")] = None,
    skip_invalid: Annotated[bool | None, typer.Option("--skip-invalid", help="Skip malformed questions.")] = None,
    any_task: Annotated[
        bool | None, typer.Option("--any-task", help="Take data of another benchmark than the task's; the rows say so.")
    ] = None,
    max_answer: Annotated[
        int | None,
        typer.Option("--max-answer", min=1, help="Characters of an answer at most.  [default: 200000]"),
    ] = None,
    strict: Annotated[
        bool | None, typer.Option("--strict", help="Refuse what cannot run on these tasks instead of leaving it out.")
    ] = None,
    synth_users: Annotated[int | None, typer.Option(min=2, help="Users per split of generated tasks.")] = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", envvar="PRLM_BENCH_RESULTS", help="Results folder.  [default: prlm-results]"),
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Worker processes.  [default: 1]")] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="Registered engine that computes the batches elsewhere.")
    ] = None,
    log: Annotated[list[str] | None, _many("--log", help="Registered logger that receives the rows.")] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="FILE",
            help="Write where the time went to this .json file, and print a summary; FILE may be left out.  "
            "[default: profile.json in the results folder]",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run and what is done already.")] = False,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Run a grid of methods and print a leaderboard. Without arguments: generated mini-LaMP, offline.

    Interrupted runs resume when you repeat the command.
    """
    from ..running import read_run_config, run_file_plugins

    names = ("split", "limit", "view", "dates", "controls", "skip_invalid", "any_task", "synth_users", "data")
    values = (split, limit, view, dates, controls, skip_invalid, any_task, synth_users, data)
    fields = dict(zip(names, values, strict=True)) | {
        "max_answer": max_answer,
        "name": name,
        "strict": strict,
        "results": results,
        "jobs": jobs,
        "plugins": plugin,
        "tasks": task,
        "retrievers": retriever,
        "k": k,
        "reasoners": reasoner,
        "generators": generator,
        "methods": method,
        "rewards": reward,
        "seeds": seed,
    }
    composed = any(fields[name] for name in ("retrievers", "generators", "methods"))
    path = config or (None if composed else DEFAULT_CONFIG)
    plan = read_run_config(path, fields)
    host = host_for([*run_file_plugins(path), *(plugin or [])])
    folder = plan.results or DEFAULT_RESULTS
    if dry_run:
        _show_plan(plan, host, folder, json)
    else:
        _execute(plan, host, folder, plan.jobs, engine, log or [], json, _profile_file(profile, folder), table)


def _show_plan(config: RunConfig, host: PluginHost, results: Path, json: bool) -> None:
    from ..running import prepare_tasks, preview

    tasks = prepare_tasks(config, host)
    rows = [row for task in tasks for row in preview(task, results)]
    skipped = [s for task in tasks for s in task.plan.skipped]
    broken = [(broken.cell.name, broken.fault.message) for task in tasks for broken in task.plan.broken]
    if json:
        left_out = [{"task": s.task, "what": s.what, "why": s.why, "hint": s.hint} for s in skipped]
        print_json({"cells": rows, "skipped": left_out, "broken": [{"cell": c, "why": why} for c, why in broken]})
        return
    columns = ["task", "split", "retriever", "k", "reasoner", "generator", "seed", "samples", "done"]
    print_table("would run", columns, [[str(row[name]) for name in columns] for row in rows])
    for line in [*_skipped_lines(skipped), *(f"broken: {cell}: {why}" for cell, why in broken)]:
        say(line)
    samples, done = sum(int(row["samples"]) for row in rows), sum(int(row["done"]) for row in rows)
    print(f"{len(rows)} methods, {samples} samples, {done} done, {samples - done} to run; results in {results}")


def with_profile_value(words: list[str]) -> list[str]:
    """The words of a command line; in one of `run`, `--profile` gets an empty value where none follows.

    What follows is its value if it ends in `.json`, so that a run file is not taken for one.
    """
    if words[:1] != ["run"]:
        return words
    given: list[str] = []
    for word, after in zip(words, [*words[1:], ""], strict=True):
        alone = word == "--profile" and not after.endswith(".json")
        given.append("--profile=" if alone else word)
    return given


def _profile_file(given: str | None, results: Path) -> Path | None:
    if given is None:
        return None
    if given and not given.endswith(".json"):
        raise RunError(f"--profile={given}: the profile is a JSON file", "give it a name that ends in .json")
    return Path(given) if given else results / "profile.json"


def _execute(
    config: RunConfig,
    host: PluginHost,
    results: Path,
    jobs: int,
    engine: str | None,
    loggers: list[str],
    json: bool,
    profile: Path | None,
    table: TableOptions,
) -> None:
    from .._util.interrupts import interrupts
    from .._util.progress_bars import make_progress
    from ..api import run_config
    from ..report import render, to_json
    from ..report.findings import to_json as findings_json, to_lines

    try:
        with make_progress() as progress:
            found = run_config(
                config, host, results, jobs=jobs, engine=engine, loggers=loggers, progress=progress, profile=profile
            )
    except KeyboardInterrupt:
        again = shlex.join(["prlm-bench", *sys.argv[1:]])
        line = f"prlm-bench: interrupted; finished samples are kept. Resume with: {again}"
        raise typer.Exit(interrupts.say(line)) from None
    tables, findings = found.tables(), found.findings()
    if json:
        print_json({**to_json(tables), "findings": findings_json(findings)})
    else:
        print(render(tables, "terminal", table.view()))
        print_lines(to_lines(findings))
    assert found.outcome is not None
    _print_outcome(found.outcome, results)
    if found.outcome.profile is not None:
        print(f"{found.outcome.profile!r}\nby row: {profile}", file=sys.stderr)
    if not found.outcome.whole:
        raise typer.Exit(1)


def _skipped_lines(skipped: Sequence[Skipped]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for s in skipped:
        reasons.setdefault(f"{s.what} {s.why}", []).append(s.task + (f"; {s.hint}" if s.hint else ""))
    return [f"skipped: {reason} (on {', '.join(tasks)})" for reason, tasks in reasons.items()]


def _print_outcome(outcome: Outcome, results: Path) -> None:
    lines = _skipped_lines(outcome.skipped)
    lines += [f"FAILED {folder}: {reason}" for folder, reason in outcome.failed]
    for kind, lost in (("reward", outcome.failed_rewards), ("metric", outcome.failed_metrics)):
        for (task, name, why), folders in lost.items():
            told = outcome.told.get((kind, name), f"{kind} {name}")
            rows = "1 row has" if len(folders) == 1 else f"{len(folders)} rows have"
            lines.append(f"FAILED {told} on {task}: {why}; {rows} no value of it")
    lines += [f"FAILED {logger}: {why}" for logger, why in outcome.failed_loggers]
    if lines:
        say(*lines, err=True)
    note(
        f"{len(outcome.finished)} rows run, {len(outcome.already)} were there already, "
        f"{len(outcome.failed)} failed; results in {results}"
    )
