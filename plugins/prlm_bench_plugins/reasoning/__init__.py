"""Reasoners: a direct answer, explicit reasoning, PrLM's format, citations, and profile summaries."""

from __future__ import annotations

from typing import Any

import lazy_loader

from prlm_bench import hookimpl

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "_chat": ["ChatReasoner", "Cite", "Prlm", "Think", "TokenBudget"],
        "_direct": ["Direct"],
        "_summary": ["Summary"],
    },
)


@hookimpl
def prlm_bench_register_reasoners(register: Any) -> None:
    """direct, think, prlm, cite and summary."""
    register("direct", "._direct:Direct")
    register("think", "._chat:Think")
    register("prlm", "._chat:Prlm")
    register("summary", "._summary:Summary", needs={"generator"})
    register("cite", "._chat:Cite")
