"""Dense retrieval with any encoder of transformers, each text encoded once and kept."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

from . import presets


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """dense, minilm, contriever, contriever-msmarco, bge-base, bge-base-prlm, e5-base and gte."""
    register("dense", presets.dense)
    register("minilm", presets.minilm)
    register("contriever", presets.contriever)
    register("contriever-msmarco", presets.contriever_msmarco)
    register("bge-base", presets.bge_base)
    register("bge-base-prlm", presets.bge_base_prlm)
    register("e5-base", presets.e5_base)
    register("gte", presets.gte)
