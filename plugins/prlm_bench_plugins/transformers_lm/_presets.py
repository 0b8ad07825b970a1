"""Presets of the generator: models as published baselines run them."""

from __future__ import annotations

from typing import Any, Literal

from prlm_bench.interfaces import Context, Generator


def flan_t5(
    context: Context,
    size: Literal["small", "base", "large", "xl", "xxl"] = "base",
    model: str | None = None,
    max_input: int = 256,
    device: str | None = None,
    batch_tokens: int = 16384,
) -> Generator:
    """FlanT5, or a model that was fine-tuned from it, decoded as LaMP's own evaluation does.

    Four beams, and 128 positions of the decoder: the first is its start, so that 127 tokens are new. Prompts are cut
    behind `max_input` tokens; give `direct` the same `max_length`, as LaMP's script does.

    Source: LaMP (arXiv 2304.11406), `evaluate_llm.py` and the defaults of its options.

    Args:
        size: of the model on the hub.
        model: a folder or a name on the hub instead.
        max_input: tokens of a prompt that are read.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; by default a GPU if there is one.
        batch_tokens: token budget of a batch.

    Raises:
        PrlmBenchError: there is no such model, or it cannot be used.
    """
    fixed: dict[str, Any] = {"num_beams": 4, "max_new_tokens": 127, "chat": "never"}
    options = {"model": model or f"google/flan-t5-{size}", "max_input": max_input, "batch_tokens": batch_tokens}
    made: Generator = context.build(
        "generator", {"name": "prlm-bench/transformers", **fixed, **options, "device": device}
    )
    return made
