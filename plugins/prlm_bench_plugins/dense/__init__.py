"""Dense retrieval with any encoder of transformers, each text encoded once and kept."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """dense, minilm, contriever, contriever-msmarco, bge-base, bge-base-prlm, e5-base and gte."""
    register("dense", "._presets:dense")
    register("minilm", "._presets:minilm")
    register("contriever", "._presets:contriever")
    register("contriever-msmarco", "._presets:contriever_msmarco")
    register("bge-base", "._presets:bge_base")
    register("bge-base-prlm", "._presets:bge_base_prlm")
    register("e5-base", "._presets:e5_base")
    register("gte", "._presets:gte")
