"""Any causal or encoder-decoder language model that transformers can load, from the hub or a folder."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

_EXTRA = "prlm-bench[lm]"


@hookimpl
def prlm_bench_register_generators(register: Any) -> None:
    """transformers and flan-t5."""
    requires = {"torch": _EXTRA, "transformers": _EXTRA}
    register("transformers", "._generator:TransformersGenerator", requires=requires, cached=True, aliases=["hf"])
    register("flan-t5", "._presets:flan_t5", requires=requires, cached=True)
