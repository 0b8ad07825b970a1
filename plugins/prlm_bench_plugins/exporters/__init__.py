"""Results elsewhere: rows in Weights & Biases and trackio, a results folder as a dataset for the Hugging Face hub."""

from __future__ import annotations

from typing import Any

import lazy_loader

from prlm_bench import hookimpl

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"_dataset": ["write_dataset"], "_trackers": ["TrackedRow", "Trackio", "Wandb", "tracked"]},
)


@hookimpl
def prlm_bench_register_loggers(register: Any) -> None:
    """wandb and trackio."""
    register("wandb", "._trackers:Wandb", requires={"wandb": "prlm-bench[wandb]"})
    register("trackio", "._trackers:Trackio", requires={"trackio": "prlm-bench[trackio]"})


@hookimpl
def prlm_bench_register_commands(register: Any) -> None:
    """export."""
    register("export", "._cli:app")
