"""BM25 by Lucene: not the `bm25` of published figures, but Lucene's analyzers and formula, as Anserini sets them up."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

from .retriever import Lucene


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """lucene."""
    register("lucene", Lucene, requires={"jnius": "prlm-bench[lucene]"})
