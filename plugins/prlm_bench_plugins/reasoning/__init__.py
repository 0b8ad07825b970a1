"""Reasoners for chat models: explicit reasoning, PrLM's format, profile summaries, and citations."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

from .cite import Cite
from .prlm import Prlm
from .summary import Summary
from .think import Think


@hookimpl
def prlm_bench_register_reasoners(register: Any) -> None:
    """think, prlm, summary and cite."""
    register("think", Think)
    register("prlm", Prlm)
    register("summary", Summary, needs={"generator"})
    register("cite", Cite)
