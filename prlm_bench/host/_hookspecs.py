"""The hooks that plugins implement. Each receives `register`, to be called once for each thing the plugin brings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pluggy

hookspec = pluggy.HookspecMarker("prlm_bench")
hookimpl = pluggy.HookimplMarker("prlm_bench")


class Register(Protocol):
    """Adds a component."""

    def __call__(
        self,
        name: str,
        factory: Callable[..., Any] | str,
        *,
        aliases: Iterable[str] = (),
        needs: Collection[str] = (),
        requires: Mapping[str, str] | None = None,
        ignores: Collection[str] = (),
        control: bool = False,
        cached: bool = False,
    ) -> None:
        """Add a component.

        Args:
            name: what users write; no blanks and none of `: , = / +` or quotes.
            factory: makes the component; its parameters are the component's options. It must be light: models are
                loaded when they are first used. Or where to find it, `package.module:attribute` (`.module:attribute`
                in the plugin's own package): it is imported on first use, so that other commands start faster.
            aliases: other names.
            needs: what the data must have (see `prlm_bench.host.NEEDS`).
            requires: optional modules that it imports, each with the pip requirement that brings it.
            ignores: `items` or `reasoner`, where it does not depend on them, so that a grid does not repeat it.
            control: rows with it are control rows.
            cached: for generators that read nothing of a prompt but `text` and `chat`: their completions are kept
                between runs, keyed by the generator's identity and the prompt.
        """
        ...


class RegisterMethod(Protocol):
    """Adds a named preset."""

    def __call__(
        self, name: str, *, generator: str, retriever: str = "none", reasoner: str = "direct", k: int | None = None
    ) -> None:
        """Add a method. `{option}` in a spec is filled from the options of `--method NAME:option=value`."""
        ...


class RegisterTask(Protocol):
    """Adds a task."""

    def __call__(self, path: str | Path) -> None:
        """Add the task of a YAML file; a relative path starts at the plugin's own file."""
        ...


class RegisterCommand(Protocol):
    """Adds a command."""

    def __call__(self, name: str, app: Any) -> None:
        """Add a `typer.Typer`, which becomes `prlm-bench NAME`; or where to find it, such as `._cli:app`."""
        ...


@hookspec
def prlm_bench_register_retrievers(register: Register) -> None:
    """Add retrievers: `register(name, factory)`, the factory giving a `Retriever`."""


@hookspec
def prlm_bench_register_reasoners(register: Register) -> None:
    """Add reasoners: `register(name, factory)`, the factory giving a `Reasoner`."""


@hookspec
def prlm_bench_register_generators(register: Register) -> None:
    """Add generators: `register(name, factory)`, the factory giving a `Generator`."""


@hookspec
def prlm_bench_register_judges(register: Register) -> None:
    """Add judges: `register(name, factory)`, the factory giving a `Judge`."""


@hookspec
def prlm_bench_register_rewards(register: Register) -> None:
    """Add rewards: `register(name, factory)`, the factory giving a `Reward`."""


@hookspec
def prlm_bench_register_metrics(register: Register) -> None:
    """Add metrics: `register(name, factory)`, the factory giving a `Metric`; names are like `rouge1@lamp`."""


@hookspec
def prlm_bench_register_tasks(register: RegisterTask) -> None:
    """Add tasks: `register(path)`, a task's YAML file."""


@hookspec
def prlm_bench_register_importers(register: Register) -> None:
    """Add importers: `register(name, factory)`, the factory giving an `Importer`."""


@hookspec
def prlm_bench_register_methods(register: RegisterMethod) -> None:
    """Add named presets: `register(name, generator=..., retriever="none", reasoner="direct", k=None)`, as specs."""


@hookspec
def prlm_bench_register_trainers(register: Register) -> None:
    """Add trainers: `register(name, factory)`, the factory giving a `Trainer`."""


@hookspec
def prlm_bench_register_engines(register: Register) -> None:
    """Add engines: `register(name, factory)`, the factory giving an `Engine`."""


@hookspec
def prlm_bench_register_loggers(register: Register) -> None:
    """Add loggers: `register(name, factory)`, the factory giving a `Logger`."""


@hookspec
def prlm_bench_register_commands(register: RegisterCommand) -> None:
    """Add commands: `register(name, app)`, a `typer.Typer` that becomes `prlm-bench NAME`."""
