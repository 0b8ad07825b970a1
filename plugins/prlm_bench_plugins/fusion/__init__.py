"""Retrievers composed of any other retrievers, named by spec strings: hybrid, mmr, decay, rerank and shuffled."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """hybrid, mmr, decay (also known as recency-bm25), rerank and shuffled."""
    register("hybrid", "._hybrid:Hybrid")
    register("mmr", "._reorder:MMR")
    register("decay", "._reorder:Decay", aliases=["recency-bm25"], needs={"date"})
    register("shuffled", "._reorder:Shuffled")
    extra = "prlm-bench[dense]"
    register("rerank", "._rerank:Rerank", requires={"torch": extra, "transformers": extra})
