"""`prlm-bench train`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from .._util.progress_bars import make_progress
from ._output import print_json, print_table
from .options import DataOption, JsonOption, PluginOption, host_for

if TYPE_CHECKING:
    from ..host import ComponentChoice, PluginHost
    from ..progress import Progress


def train(
    trainer: Annotated[str, typer.Argument(help="Trainer, as NAME or NAME:option=value.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of what is made.")],
    task: Annotated[str | None, typer.Option(help="Task whose training split is used, where one is needed.")] = None,
    data: DataOption = None,
    seed: Annotated[int | None, typer.Option(help="Seed.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe, by name or as a YAML file.")] = None,
    base: Annotated[str | None, typer.Option(help="Model to start from: a hub name or a folder.")] = None,
    retriever: Annotated[str | None, typer.Option(help="Finds the items that prompts show.")] = None,
    k: Annotated[int | None, typer.Option("-k", min=0, help="Items to show.")] = None,
    change: Annotated[
        list[str] | None, typer.Option(help="A setting of the recipe, such as policy.learning_rate=1e-5; repeatable.")
    ] = None,
    synth_users: Annotated[int | None, typer.Option(min=2, help="Users a split of generated tasks.")] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Make an artefact, such as a model, and print its manifest.

    --recipe, --base, --retriever, -k and --change set the trainer's options of these names, where it has them.
    A training that was stopped goes on when the same command is given again.
    """
    host = host_for(plugin)
    flags = {"recipe": recipe, "base": base, "retriever": retriever, "k": k, "changes": change}
    given = _Data(task, data, synth_users)
    with make_progress() as progress:
        spec = _with_flags(host, trainer, flags)
        made = _make(host, spec, given, seed, progress)
        manifest = made.train(output, progress)
    if json:
        print_json(manifest)
        return
    print_table("", ["", ""], [[name, value] for name, value in _lines(manifest)])
    print(f"wrote {output}", file=sys.stderr)
    for method in list(manifest.get("methods", {}).values())[:1]:
        print(f"run it: {_command(given, method)}", file=sys.stderr)


def _with_flags(host: PluginHost, trainer: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The trainer's spec with the options that flags set."""
    from ..errors import RunError
    from ..host._specs import options_of

    chosen = host.registry.choose("trainer", trainer)
    known = options_of(chosen.component.factory)
    given = {name: value for name, value in flags.items() if value not in (None, [])}
    for name in given:
        if name not in known:
            raise RunError(f"trainer {chosen} has no option {name}", f"known: {', '.join(known) or 'none'}")
        if name in chosen.options:
            raise RunError(f"{name} is given twice, in {trainer!r} and by its flag", "leave one of them out")
    return {"name": chosen.label, **chosen.options, **given}


class _Data(NamedTuple):
    """What is learnt from, as the flags say."""

    task: str | None
    data: Path | None
    synth_users: int | None


def _make(host: PluginHost, spec: Mapping[str, Any], given: _Data, seed: int | None, progress: Progress) -> Any:
    from .._util.cache_folder import cache_root
    from ..data import open_split
    from ..errors import RunError
    from ..host._specs import takes_context
    from ..running import Components

    chosen = host.registry.choose("trainer", spec)
    if not takes_context(chosen.component.factory):
        return _make_alone(host, chosen, given, seed)
    if given.task is None:
        raise RunError(f"trainer {chosen} learns from a task's training split", "--task NAME, and --data FOLDER")
    task = host.tasks.get(given.task)
    dataset = open_split(task, "train", given.data, synth_users=given.synth_users, progress=progress)
    return Components(host, dataset, cache_root()).ready("trainer", spec, seed or 0)


def _make_alone(host: PluginHost, chosen: ComponentChoice, given: _Data, seed: int | None) -> Any:
    """A trainer that has its own data; `--seed` sets its option of that name."""
    from ..errors import RunError
    from ..host._specs import options_of

    for field, value in given._asdict().items():
        flag = f"--{field.replace('_', '-')}"
        if value is not None:
            raise RunError(f"trainer {chosen} brings its own data, so {flag} has no use", f"leave {flag} out")
    why = chosen.component.missing()
    if why is not None:
        raise RunError(f"trainer {chosen} cannot run here: it {why}")
    if seed is None:
        return chosen.make()
    if "seed" not in options_of(chosen.component.factory) or "seed" in chosen.options:
        raise RunError(f"trainer {chosen} takes no --seed", "leave it out")
    return host.registry.choose("trainer", {"name": chosen.label, **chosen.options, "seed": seed}).make()


def _command(given: _Data, method: Mapping[str, Any]) -> str:
    """The command that runs what was made as it was made to be run."""
    parts = {**given._asdict(), **method}
    flags = [
        ("-k" if name == "k" else f"--{name}".replace("_", "-"), str(v)) for name, v in parts.items() if v is not None
    ]
    return shlex.join(["prlm-bench", "run", *(word for flag in flags for word in flag)])


def _lines(manifest: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in manifest.items():
        if isinstance(value, Mapping):
            yield from _lines(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)
