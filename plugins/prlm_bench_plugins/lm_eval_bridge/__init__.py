"""lm_eval in both directions: its model backends as generators here, and our tasks and methods inside it."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl


@hookimpl
def prlm_bench_register_generators(register: Any) -> None:
    """lm-eval."""
    register("lm-eval", "._generator:LmEvalGenerator", requires={"lm_eval": "prlm-bench[lm-eval]"}, cached=True)


@hookimpl
def prlm_bench_register_commands(register: Any) -> None:
    """lm-eval and paths."""
    register("lm-eval", "._cli:app")
    register("paths", "._cli:paths")
