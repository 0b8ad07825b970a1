"""`prlm-bench study NAME`. A study's module is imported when its command runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlm_bench.cli.plugin_api import (
    DEFAULT_RESULTS,
    AnyTaskOption,
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
)
from prlm_bench.errors import RunError

from ._cli_experiment import experiment
from ._cli_shared import ChangeOption, OutputOption, UsersOption, run_study

if TYPE_CHECKING:
    from prlm_bench.host import PluginHost

app = typer.Typer(
    help="Test whether a method is personal and where its score comes from.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _add_study_of_a_method(name: str, module: str, summary: str, default_reasoner: str = "direct") -> None:
    def command(
        task: TaskOption,
        data: DataOption = None,
        split: SplitOption = "dev",
        retriever: RetrieverOption = "bm25",
        k: Annotated[int, typer.Option("-k", min=0, help="Items to show.")] = 4,
        reasoner: Annotated[str, typer.Option("--reasoner", help="Reasoner.")] = default_reasoner,
        generator: Annotated[str, typer.Option("--generator", help="Generator.")] = "copy",
        seed: SeedOption = 0,
        limit: LimitOption = None,
        any_task: AnyTaskOption = False,
        synth_users: UsersOption = None,
        results: ResultsOption = DEFAULT_RESULTS,
        output: OutputOption = None,
        plugin: PluginOption = None,
        json: JsonOption = False,
    ) -> None:
        questions = {"tasks": (task,), "data": data, "split": split, "limit": limit}
        made = {"any_task": any_task, "synth_users": synth_users}
        method = {"retriever": retriever, "k": k, "reasoner": reasoner, "generator": generator}
        fields = {**questions, **made, **method, "seeds": (seed,), "results": results}
        run_study(module, name, host_for(plugin), output, json, fields)

    command.__doc__ = summary
    app.command(name)(command)


def _add_study_of_a_trainer(
    name: str, module: str, summary: str, default_trainer: str, default_tasks: tuple[str, ...]
) -> None:
    def command(
        task: Annotated[
            list[str] | None, typer.Option(help="Task of mini-LaMP, or of the files in --data. Repeatable.")
        ] = None,
        data: DataOption = None,
        split: SplitOption = "dev",
        trainer: Annotated[str, typer.Option(help="Trainer, as NAME or NAME:option=value.")] = default_trainer,
        recipe: Annotated[str | None, typer.Option(help="Recipe: a name or a YAML file.")] = None,
        change: ChangeOption = None,
        seed: Annotated[list[int] | None, typer.Option(help="Seed. Repeatable.  [default: 0, 1, 2]")] = None,
        runs: Annotated[Path, typer.Option(help="Folder of trainings; existing ones are resumed.")] = Path("prlm-runs"),
        limit: LimitOption = None,
        any_task: AnyTaskOption = False,
        synth_users: UsersOption = None,
        results: ResultsOption = DEFAULT_RESULTS,
        output: OutputOption = None,
        plugin: PluginOption = None,
        json: JsonOption = False,
    ) -> None:
        tasks = tuple(task or default_tasks)
        questions = {"tasks": tasks, "data": data, "split": split, "limit": limit}
        made = {"any_task": any_task, "synth_users": synth_users}
        host = host_for(plugin)
        options = {"trainer": _trainer_spec(host, trainer, recipe, change), "runs": runs}
        fields = {**questions, **made, "seeds": tuple(seed or (0, 1, 2)), "results": results}
        run_study(module, name, host, output, json, fields, options)

    command.__doc__ = summary
    app.command(name)(command)


def _trainer_spec(host: PluginHost, trainer: str, recipe: str | None, changes: list[str] | None) -> dict[str, Any]:
    """The trainer's spec as a mapping, checked before the work begins."""
    given = {"recipe": recipe, "changes": changes}
    spec: dict[str, Any] = {
        "name": trainer.partition(":")[0],
        **host.registry.choose("trainer", trainer).options,
        **{option: value for option, value in given.items() if value},
    }
    host.registry.choose("trainer", spec)
    return spec


_add_study_of_a_method(
    "controls", "_items", "Is it personal? Own items against random, another user's, shuffled, no and true items."
)
_add_study_of_a_method(
    "k", "_items", "Score by number of items shown, with the share of prompts that the token budget cut."
)
_add_study_of_a_method("retrievers", "_items", "The same reasoner and generator behind every retriever.")
_add_study_of_a_method("cold-start", "_items", "Score, and gain over no items, by size of the profile.")
_add_study_of_a_method(
    "attribution", "_audits", "Shares of the variance between stored results owed to the parts of their methods."
)
_add_study_of_a_method("leakage", "_audits", "Golds inside profiles, near-duplicates, and users shared with train.")
_add_study_of_a_method(
    "faithfulness", "_faithfulness", "Does the answer rest on the items that the reasoning cites?", "cite"
)
_add_study_of_a_trainer(
    "ablation",
    "_trained",
    "A trained method, variants without one of its parts, and baselines trained on the same data.",
    "prlm.ablation",
    ("mini_lamp_4",),
)
_add_study_of_a_trainer(
    "cross-domain",
    "_trained",
    "A method trained on each task, run on all of them.",
    "prlm",
    ("mini_lamp_4", "mini_lamp_5", "mini_lamp_7"),
)


app.command("experiment")(experiment)


@app.command("repeats")
def repeats(
    task: TaskOption,
    generator: Annotated[str, typer.Option("--generator", help="Generator that draws samples.")],
    data: DataOption = None,
    split: SplitOption = "dev",
    retriever: RetrieverOption = "bm25",
    k: Annotated[int, typer.Option("-k", min=0, help="Items to show.")] = 4,
    reasoner: Annotated[str, typer.Option("--reasoner", help="Reasoner.")] = "direct",
    samples: Annotated[int, typer.Option("--samples", "-n", min=1, help="Samples of each question.")] = 8,
    at: Annotated[
        list[int] | None,
        typer.Option("--at", min=1, help="Samples to take the best of. Repeatable.  [default: 2, 4, ... samples]"),
    ] = None,
    seed: SeedOption = 0,
    limit: LimitOption = None,
    any_task: AnyTaskOption = False,
    synth_users: UsersOption = None,
    output: OutputOption = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Several samples of each question: their mean, the best of k (pass@k), and their majority."""
    questions = {"tasks": (task,), "data": data, "split": split, "limit": limit, "any_task": any_task}
    method = {"retriever": retriever, "k": k, "reasoner": reasoner, "generator": generator}
    fields = {**questions, **method, "synth_users": synth_users, "seeds": (seed,), "results": DEFAULT_RESULTS}
    run_study("_repeats", "repeats", host_for(plugin), output, json, fields, {"samples": samples, "at": at})


@app.command("traces")
def traces(
    task: TaskOption,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="Folder of a training; {seed} in it stands for the seed. Its retriever, k and reasoner are taken."
        ),
    ] = None,
    stage: Annotated[str, typer.Option(help="Stage of the training.")] = "policy",
    generator: Annotated[str | None, typer.Option(help="Generator, instead of a checkpoint.")] = None,
    data: DataOption = None,
    split: SplitOption = "dev",
    retriever: Annotated[str | None, typer.Option(help="Retriever.  [default: that of the training, or bm25]")] = None,
    k: Annotated[
        int | None, typer.Option("-k", min=0, help="Items to show.  [default: as in the training, or 4]")
    ] = None,
    reasoner: Annotated[str | None, typer.Option(help="Reasoner.  [default: that of the training, or prlm]")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seed. Repeatable.  [default: 0]")] = None,
    limit: LimitOption = None,
    any_task: AnyTaskOption = False,
    synth_users: UsersOption = None,
    output: OutputOption = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Does the answer rest on the reasoning before it? Erased, or another user's; and is what it says true?"""
    if (checkpoint is None) == (generator is None):
        raise RunError("this study takes a checkpoint or a generator", "give one of --checkpoint and --generator")
    given = {"retriever": retriever, "k": k, "reasoner": reasoner}
    method = {name: value for name, value in given.items() if value is not None}
    questions = {"tasks": (task,), "data": data, "split": split, "limit": limit, "any_task": any_task}
    fields = {**questions, "synth_users": synth_users, "seeds": tuple(seed or (0,)), "results": DEFAULT_RESULTS}
    fields |= {"reasoner": "prlm", **method, **({"generator": generator} if generator else {})}
    options = {"checkpoint": checkpoint, "stage": stage, "keep": tuple(method)}
    run_study("_traces", "traces", host_for(plugin), output, json, fields, options)


@app.command("reward")
def reward(
    policy: Annotated[Path, typer.Argument(help="Folder of a policy's training, such as RUN/policy.")],
    task: Annotated[str, typer.Option(help="The task that it was trained on.")],
    data: DataOption = None,
    reward: Annotated[str, typer.Option(help="Reward to examine.")] = "personalization",
    any_task: AnyTaskOption = False,
    synth_users: UsersOption = None,
    output: OutputOption = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Does a trained reward agree with metrics and truth, and is it hacked while a policy trains on it?"""
    questions = {"tasks": (task,), "data": data, "any_task": any_task, "synth_users": synth_users}
    fields = {**questions, "results": DEFAULT_RESULTS}
    run_study("_reward", "reward", host_for(plugin), output, json, fields, {"policy": policy, "name": reward})


@app.command("strength")
def strength(
    method: Annotated[
        list[str],
        typer.Option(help="Method, as NAME or NAME:option=value. Repeatable; the first is the baseline."),
    ],
    task: Annotated[str, typer.Option(help="Task of mini-LaMP.")] = "mini_lamp_4",
    split: SplitOption = "dev",
    strength: Annotated[
        list[float] | None,
        typer.Option(help="Share of items that show the user's side. Repeatable.  [default: six, from 0.55 to 1]"),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seed. Repeatable.  [default: 0]")] = None,
    limit: LimitOption = None,
    synth_users: Annotated[int, typer.Option(min=2, help="Users per split.")] = 40,
    results: ResultsOption = DEFAULT_RESULTS,
    output: OutputOption = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Methods over the strength of the trait that only several items together show; nothing is trained."""
    fields = {"tasks": (task,), "split": split, "limit": limit, "seeds": tuple(seed or (0,)), "results": results}
    options = {"methods": method, "users": synth_users, **({"strengths": strength} if strength else {})}
    run_study("_trained", "strength", host_for(plugin), output, json, fields, options)
