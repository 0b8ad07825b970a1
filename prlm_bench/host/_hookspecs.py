"""The hooks that plugins implement; `register` is called once for each thing a plugin brings.

For components it is `register(name, factory, *, aliases=(), needs=(), requires=None, ignores=(), control=False,
cached=False)`; `docs/plugins.md` says what each of these means. `cached=True` is for generators that read
nothing of a prompt but `text` and `chat`: their completions are kept, by their full identity, between runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pluggy

hookspec = pluggy.HookspecMarker("prlm_bench")
hookimpl = pluggy.HookimplMarker("prlm_bench")

Register = Callable[..., Any]


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
def prlm_bench_register_rewards(register: Register) -> None:
    """Add rewards: `register(name, factory)`, the factory giving a `Reward`."""


@hookspec
def prlm_bench_register_metrics(register: Register) -> None:
    """Add metrics: `register(name, factory)`, the factory giving a `Metric`; names are like `rouge1@lamp`."""


@hookspec
def prlm_bench_register_tasks(register: Register) -> None:
    """Add tasks: `register(path)`, a task's YAML file."""


@hookspec
def prlm_bench_register_methods(register: Register) -> None:
    """Add named presets: `register(name, generator=..., retriever="none", reasoner="direct", k=None)`, as specs.

    `{option}` in a spec is filled from the options given with the name: `--method NAME:option=value`.
    """


@hookspec
def prlm_bench_register_trainers(register: Register) -> None:
    """Add trainers: `register(name, factory)`, the factory giving a `Trainer`."""


@hookspec
def prlm_bench_register_commands(register: Register) -> None:
    """Add commands: `register(name, app)`, a `typer.Typer` that becomes `prlm-bench NAME`."""
