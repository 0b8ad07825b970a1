"""Studies: is a method personal, and where does its score come from? Each study is one file, a table and a figure."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

from .app import app
from .only import Only


@hookimpl
def prlm_bench_register_commands(register: Any) -> None:
    """study."""
    register("study", app)


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """only."""
    register("only", Only)
