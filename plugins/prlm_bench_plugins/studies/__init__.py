"""Studies: is a method personal, and where does its score come from? Each gives a table, a figure and findings."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

from ._cli import app
from ._kept_items import KeptItems

__all__ = ["KeptItems", "app"]


@hookimpl
def prlm_bench_register_commands(register: Any) -> None:
    """study."""
    register("study", app)


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """only."""
    register("only", KeptItems)
