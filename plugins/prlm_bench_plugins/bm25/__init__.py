"""Okapi BM25 over each question's own profile, bit-equal to the code behind published numbers."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

from .retriever import BM25


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """bm25."""
    register("bm25", BM25)
