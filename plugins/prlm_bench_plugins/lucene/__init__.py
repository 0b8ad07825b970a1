"""BM25 by Lucene, with Anserini's analyzers and settings; it is not the `bm25` of published LaMP figures."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """lucene."""
    register("lucene", "._retriever:Lucene", requires={"jnius": "prlm-bench[lucene]"})
