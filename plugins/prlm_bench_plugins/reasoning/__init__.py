"""Reasoners: a direct answer, explicit reasoning, PrLM's format, citations, and profile summaries."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

from ._chat import ChatReasoner, Cite, Prlm, Think, TokenBudget
from ._direct import Direct
from ._summary import Summary

__all__ = ["ChatReasoner", "Cite", "Direct", "Prlm", "Summary", "Think", "TokenBudget"]


@hookimpl
def prlm_bench_register_reasoners(register: Any) -> None:
    """direct, think, prlm, cite and summary."""
    register("direct", Direct)
    register("think", Think)
    register("prlm", Prlm)
    register("summary", Summary, needs={"generator"})
    register("cite", Cite)
