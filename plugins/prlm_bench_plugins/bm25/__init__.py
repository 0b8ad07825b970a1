"""Okapi BM25 over each question's own profile, bit-equal to the code behind published numbers."""

from __future__ import annotations

from typing import Any

import lazy_loader

from prlm_bench import hookimpl

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "_okapi": ["OkapiIndex"],
        "_retriever": ["BM25", "Backend", "IndexBuilder", "IndexCache", "compiled_index"],
    },
)


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """bm25."""
    register("bm25", "._retriever:BM25")
