"""Studies: is a method personal, and where does its score come from? Each gives a table, a figure and findings."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl


@hookimpl
def prlm_bench_register_commands(register: Any) -> None:
    """study."""
    register("study", "._cli:app")


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """only."""
    register("only", "._kept_items:KeptItems")
