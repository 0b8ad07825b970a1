"""The tiny offline language model: a generator that needs no download, and the trainer that made it."""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

from .generator import tiny
from .reasoner import TinyReasoner
from .trainer import TinyTrainer

_REQUIRES = {"torch": "prlm-bench[lm]", "transformers": "prlm-bench[lm]"}


@hookimpl
def prlm_bench_register_generators(register: Any) -> None:
    """tiny."""
    register("tiny", tiny, requires=_REQUIRES, cached=True)


@hookimpl
def prlm_bench_register_trainers(register: Any) -> None:
    """tiny and tiny-reasoner."""
    register("tiny", TinyTrainer, requires=_REQUIRES)
    register("tiny-reasoner", TinyReasoner, requires=_REQUIRES)
