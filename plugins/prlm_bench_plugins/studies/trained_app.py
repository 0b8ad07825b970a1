"""The studies of trained methods: `prlm-bench study ablation`, `cross-domain`, `strength` and `reward`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlm_bench.cli.plugin_api import (
    DEFAULT_RESULTS,
    DataOption,
    JsonOption,
    LimitOption,
    PluginOption,
    ResultsOption,
    SplitOption,
    host_for,
    make_progress,
)

if TYPE_CHECKING:
    from .report import Report
    from .training import Training

Show = Callable[["Report", "Path | None", bool], None]


def add(
    app: typer.Typer, show: Show, name: str, module: str, summary: str, own_trainer: str, own_task: list[str]
) -> None:
    """One command; the study, a function named like its module, is imported when it runs."""

    def command(
        task: Annotated[list[str] | None, typer.Option(help="Task of mini-LaMP or of --data.")] = None,
        data: DataOption = None,
        split: SplitOption = "dev",
        trainer: Annotated[str, typer.Option(help="Trainer, as NAME or NAME:option=value.")] = own_trainer,
        recipe: Annotated[str | None, typer.Option(help="Recipe, by name or as a YAML file.")] = None,
        change: Annotated[list[str] | None, typer.Option(help="A setting of the recipe; repeatable.")] = None,
        seed: Annotated[list[int] | None, typer.Option(help="Seed; repeatable. By default 0, 1 and 2.")] = None,
        runs: Annotated[Path, typer.Option(help="Where trainings are kept, and gone on with.")] = Path("prlm-runs"),
        limit: LimitOption = None,
        synth_users: Annotated[int | None, typer.Option(min=2, help="Users a split of generated tasks.")] = None,
        results: ResultsOption = DEFAULT_RESULTS,
        output: Annotated[Path | None, typer.Option("--output", "-o", help="Write table and figure here.")] = None,
        plugin: PluginOption = None,
        json: JsonOption = False,
    ) -> None:
        from .training import Training

        host = host_for(plugin)
        given = {"recipe": recipe, "changes": change}
        spec: dict[str, Any] = {
            "name": trainer.partition(":")[0],
            **host.registry.choose("trainer", trainer).options,
            **{option: value for option, value in given.items() if value},
        }
        host.registry.choose("trainer", spec)  # a mistake is told before anything begins
        study: Callable[[Training], Report] = getattr(import_module(f".{module}", __package__), module)
        with make_progress() as progress:
            where = (task or own_task, data, split, spec, seed or [0, 1, 2], runs, limit, synth_users, results)
            report = study(Training(host, *where, progress))
        show(report, output, json)

    command.__doc__ = summary
    app.command(name)(command)


def add_reward(app: typer.Typer, show: Show) -> None:
    """`prlm-bench study reward`."""

    @app.command("reward")
    def command(
        policy: Annotated[Path, typer.Argument(help="Folder of a policy's training, such as RUN/policy.")],
        task: Annotated[str, typer.Option(help="The task that it was trained on.")],
        data: DataOption = None,
        reward: Annotated[str, typer.Option(help="Reward to judge.")] = "personalization",
        synth_users: Annotated[int | None, typer.Option(min=2, help="Users a split of generated tasks.")] = None,
        output: Annotated[Path | None, typer.Option("--output", "-o", help="Write table and figure here.")] = None,
        plugin: PluginOption = None,
        json: JsonOption = False,
    ) -> None:
        """Does a trained reward agree with metrics and truth, and is it hacked while a policy trains on it?"""
        from .reward import RewardAsked, reward as study

        show(study(RewardAsked(host_for(plugin), task, data, policy, reward, synth_users)), output, json)


def add_strength(app: typer.Typer, show: Show) -> None:
    """`prlm-bench study strength`."""

    @app.command("strength")
    def command(
        method: Annotated[list[str], typer.Option(help="Method, as NAME or NAME:option=value; the first is compared.")],
        task: Annotated[str, typer.Option(help="Task of mini-LaMP.")] = "mini_lamp_4",
        split: SplitOption = "dev",
        strength: Annotated[
            list[float] | None,
            typer.Option(help="Share of items that show the user's side; repeatable. By default six, 0.55 to 1."),
        ] = None,
        seed: Annotated[list[int] | None, typer.Option(help="Seed; repeatable. By default 0.")] = None,
        limit: LimitOption = None,
        synth_users: Annotated[int, typer.Option(min=2, help="Users a split.")] = 40,
        results: ResultsOption = DEFAULT_RESULTS,
        output: Annotated[Path | None, typer.Option("--output", "-o", help="Write table and figure here.")] = None,
        plugin: PluginOption = None,
        json: JsonOption = False,
    ) -> None:
        """Methods over the strength of the trait that only several items together show; trainings as they are."""
        from .strength import STRENGTHS, StrengthAsked, strength as study

        with make_progress() as progress:
            levels = strength or list(STRENGTHS)
            where = (task, split, method, levels, seed or [0], limit, synth_users, results)
            report = study(StrengthAsked(host_for(plugin), *where, progress))
        show(report, output, json)
