"""Retrievers composed of any other retrievers, named by spec strings: hybrid, mmr, decay, rerank and shuffled."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

from ._hybrid import Hybrid
from ._reorder import MMR, Decay, Shuffled
from ._rerank import Rerank


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """hybrid, mmr, decay (also known as recency-bm25), rerank and shuffled."""
    register("hybrid", Hybrid)
    register("mmr", MMR)
    register("decay", Decay, aliases=["recency-bm25"], needs={"date"})
    register("shuffled", Shuffled)
    extra = "prlm-bench[dense]"
    register("rerank", Rerank, requires={"torch": extra, "transformers": extra})
