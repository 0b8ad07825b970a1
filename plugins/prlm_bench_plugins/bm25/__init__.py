"""Okapi BM25 over each question's own profile, bit-equal to the code behind published numbers."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

from ._okapi import OkapiIndex
from ._retriever import BM25, Backend, IndexBuilder, IndexCache, compiled_index

__all__ = ["BM25", "Backend", "IndexBuilder", "IndexCache", "OkapiIndex", "compiled_index"]


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """bm25."""
    register("bm25", BM25)
