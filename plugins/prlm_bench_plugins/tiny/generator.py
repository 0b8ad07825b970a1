"""The `tiny` generator: the `transformers` generator on the model that this plugin brings."""

from __future__ import annotations

from pathlib import Path

from prlm_bench.interfaces import Context, Generator

#: The shipped model; `manifest.json` in it says how it was made.
MODEL = Path(__file__).parent / "model"


def tiny(
    context: Context, max_new_tokens: int = 48, temperature: float = 0.0, top_p: float = 1.0, batch_tokens: int = 16384
) -> Generator:
    """A language model of about a million parameters, made from mini-LaMP; it runs offline on any CPU.

    Args:
        max_new_tokens: an answer's tokens at most.
        temperature: 0 writes the most likely token each time.
        top_p: for sampling: draw from the most likely tokens that have this share of the probability together.
        batch_tokens: tokens of a batch at most.

    Raises:
        PrlmBenchError: the `transformers` generator is not there, or an option has no use.
    """
    options = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p}
    fixed = {"model": str(MODEL), "dtype": "float32", "device": "cpu", "overflow": "cut-items"}
    made: Generator = context.build(
        "generator", {"name": "prlm-bench/transformers", **fixed, **options, "batch_tokens": batch_tokens}
    )
    return made
