"""Answers that are chosen: the most likely option, a vote over samples, the best sample; and rewards by likelihood."""

from __future__ import annotations

from typing import Any

import lazy_loader

from prlm_bench import hookimpl

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"_samples": ["most_agreeing", "most_common"]}
)


@hookimpl
def prlm_bench_register_generators(register: Any) -> None:
    """rank-options, majority and best-of."""
    register("rank-options", "._options:RankOptions", needs={"labels"})
    register("majority", "._samples:Majority")
    register("best-of", "._samples:BestOf")


@hookimpl
def prlm_bench_register_rewards(register: Any) -> None:
    """likelihood and prefers-own."""
    register("likelihood", "._likelihood:Likelihood")
    register("prefers-own", "._likelihood:PrefersOwn", needs={"users"})
