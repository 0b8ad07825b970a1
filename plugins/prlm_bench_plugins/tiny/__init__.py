"""The tiny offline language model: a generator that needs no download, and the trainers of such models.

`_recipe` has all hyperparameters. Training data: `_training_examples`, and for the reasoner `_trait_statements` and the
`_curriculum` made of them; then `_tokenizer`, `_model`, `_evaluation`, and `_trainers`, which put them together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prlm_bench import hookimpl
from prlm_bench.interfaces import Context, Generator

__all__ = ["MODEL", "tiny"]

#: Folder of the shipped model; `manifest.json` in it says how it was made.
MODEL = Path(__file__).parent / "model"
_REQUIRES = {"torch": "prlm-bench[lm]", "transformers": "prlm-bench[lm]"}


def tiny(
    context: Context, max_new_tokens: int = 48, temperature: float = 0.0, top_p: float = 1.0, batch_tokens: int = 16384
) -> Generator:
    """A language model of about a million parameters, made from mini-LaMP; it runs offline on any CPU.

    Args:
        max_new_tokens: maximum number of tokens in an answer.
        temperature: 0 decodes greedily.
        top_p: for sampling: draw from the most likely tokens that have this share of the probability together.
        batch_tokens: token budget of a batch.

    Raises:
        PrlmBenchError: the `transformers` generator is missing, or an option has no effect.
    """
    options = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p}
    fixed = {"model": str(MODEL), "dtype": "float32", "device": "cpu", "overflow": "cut-items", "chat": "by-protocol"}
    made: Generator = context.build(
        "generator", {"name": "prlm-bench/transformers", **fixed, **options, "batch_tokens": batch_tokens}
    )
    return made


@hookimpl
def prlm_bench_register_generators(register: Any) -> None:
    """tiny."""
    register("tiny", tiny, requires=_REQUIRES, cached=True)


@hookimpl
def prlm_bench_register_trainers(register: Any) -> None:
    """tiny and tiny-reasoner."""
    register("tiny", "._trainers:TinyTrainer", requires=_REQUIRES)
    register("tiny-reasoner", "._trainers:TinyReasoner", requires=_REQUIRES)
