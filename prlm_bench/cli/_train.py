"""`prlm-bench train`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from .._util.progress_bars import make_progress
from ._output import note, print_json, print_table, say
from .options import AnyTaskOption, DataOption, JsonOption, PluginOption, host_for

if TYPE_CHECKING:
    from ..host import ComponentChoice, PluginHost
    from ..progress import Progress


def train(
    trainer: Annotated[str, typer.Argument(help="Trainer, as NAME or NAME:option=value.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")],
    task: Annotated[str | None, typer.Option(help="Task whose training split is used, if one is needed.")] = None,
    data: DataOption = None,
    seed: Annotated[int | None, typer.Option(help="Random seed.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Training recipe, by name or as a YAML file.")] = None,
    base: Annotated[str | None, typer.Option(help="Base model: a hub name, a folder or a GGUF file.")] = None,
    retriever: Annotated[str | None, typer.Option(help="Retriever of the items that prompts show.")] = None,
    k: Annotated[int | None, typer.Option("-k", min=0, help="Number of items to show.")] = None,
    change: Annotated[
        list[str] | None, typer.Option(help="Recipe setting to change, such as policy.learning_rate=1e-5. Repeatable.")
    ] = None,
    any_task: AnyTaskOption = False,
    synth_users: Annotated[int | None, typer.Option(min=2, help="Users per split of generated tasks.")] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Train a model or another artefact and print its manifest.

    --recipe, --base, --retriever, -k and --change set the trainer's options of the same names.
    Interrupted runs resume when you repeat the command. The exit status is 1 if a policy had nothing to learn from.
    """
    from ..running._calls import train as train_with

    host = host_for(plugin)
    flags = {"recipe": recipe, "base": base, "retriever": retriever, "k": k, "changes": change}
    given = _Data(task, data, any_task or None, synth_users)
    with make_progress() as progress:
        spec = _with_flags(host, trainer, flags)
        made = _make(host, spec, given, seed, progress)
        manifest = train_with(made, output, progress)
    if json:
        print_json(manifest)
    else:
        print_table("", ["", ""], [[name, value] for name, value in _lines(manifest) if name != "findings"])
        note(f"wrote {output}")
        for method in list(manifest.get("methods", {}).values())[:1]:
            note(f"run it: {_command(given, method)}")
    for finding in manifest.get("findings", ()):
        say(f"finding: {finding}", err=True)
    if manifest.get("learned") is False:
        raise typer.Exit(1)


def _with_flags(host: PluginHost, trainer: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The trainer's spec with the options that flags set."""
    from ..errors import RunError
    from ..host._specs import options_of

    choice = host.registry.choose("trainer", trainer)
    known = options_of(choice.component.factory)
    given = {name: value for name, value in flags.items() if value not in (None, [])}
    for name in given:
        if name not in known:
            raise RunError(f"trainer {choice} has no option {name}", f"known: {', '.join(known) or 'none'}")
        if name in choice.options:
            raise RunError(f"{name} is set twice, in {trainer!r} and by its flag", "leave one of them out")
    return {"name": choice.label, **choice.options, **given}


class _Data(NamedTuple):
    """The data options of the command line."""

    task: str | None
    data: Path | None
    #: None where it is not given.
    any_task: bool | None
    synth_users: int | None


def _make(host: PluginHost, spec: Mapping[str, Any], given: _Data, seed: int | None, progress: Progress) -> Any:
    from .._util.cache_folder import cache_root
    from ..data import open_split
    from ..errors import RunError
    from ..host._specs import takes_context
    from ..running import Components

    choice = host.registry.choose("trainer", spec)
    if not takes_context(choice.component.factory):
        return _make_alone(host, choice, given, seed)
    if given.task is None:
        raise RunError(f"trainer {choice} learns from a task's training split", "give --task NAME and --data FOLDER")
    task = host.tasks.get(given.task)
    dataset = open_split(
        task,
        "train",
        given.data,
        any_task=bool(given.any_task),
        synth_users=given.synth_users,
        progress=progress,
    )
    return Components(host, dataset, cache_root()).ready("trainer", spec, seed or 0)


def _make_alone(host: PluginHost, choice: ComponentChoice, given: _Data, seed: int | None) -> Any:
    """Make a trainer that has its own data; `--seed` sets its option of that name."""
    from ..errors import RunError
    from ..host._specs import options_of

    for field, value in given._asdict().items():
        flag = f"--{field.replace('_', '-')}"
        if value is not None:
            raise RunError(f"trainer {choice} brings its own data, so {flag} does not apply", f"leave {flag} out")
    why = choice.component.missing()
    if why is not None:
        raise RunError(f"trainer {choice} cannot run here: it {why}")
    if seed is None:
        return choice.make()
    if "seed" not in options_of(choice.component.factory) or "seed" in choice.options:
        raise RunError(f"trainer {choice} does not take --seed", "leave it out")
    return host.registry.choose("trainer", {"name": choice.label, **choice.options, "seed": seed}).make()


def _command(given: _Data, method: Mapping[str, Any]) -> str:
    """The command that runs a trained method with its intended settings."""
    parts = {**given._asdict(), **method}
    words = ["prlm-bench", "run"]
    for name, value in parts.items():
        if value is not None:
            words += ["-k" if name == "k" else f"--{name}".replace("_", "-"), *([] if value is True else [str(value)])]
    return shlex.join(words)


def _lines(manifest: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in manifest.items():
        if isinstance(value, Mapping):
            yield from _lines(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)
