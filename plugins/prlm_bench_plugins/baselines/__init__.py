"""What needs no model: simple retrievers and generators, two rewards, and the controls.

A control is a row that every table carries: a method that does not beat it is shown not to.
"""

from __future__ import annotations

from typing import Any

import lazy_loader

from prlm_bench import hookimpl

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "_dates": ["date_parts", "day_number", "read_dates"],
        "_generators": ["Constant", "Copy", "Echo", "Nearest", "Vote"],
        "_retrievers": ["NoItems", "Oracle", "OtherUser", "RandomItems", "Recency"],
        "_rewards": ["Format", "Overlap"],
    },
)


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """none, random, recency, oracle and other-user."""
    register("none", "._retrievers:NoItems", ignores={"items"}, control=True)
    register("random", "._retrievers:RandomItems", aliases=["random-own"], control=True)
    register("other-user", "._retrievers:OtherUser", needs={"users"}, control=True)
    register("recency", "._retrievers:Recency", needs={"date"})
    register("oracle", "._retrievers:Oracle", needs={"relevance"})


@hookimpl
def prlm_bench_register_generators(register: Any) -> None:
    """echo, constant, copy, nearest and vote."""
    register("echo", "._generators:Echo", ignores={"items", "reasoner"}, control=True)
    labels = {"train", "labels"}
    register("constant", "._generators:Constant", ignores={"items", "reasoner"}, needs=labels, control=True)
    register("copy", "._generators:Copy", needs={"items", "answer-field"}, ignores={"reasoner"}, control=True)
    register("nearest", "._generators:Nearest", needs={"items", "candidates"}, ignores={"reasoner"})
    register("vote", "._generators:Vote", needs={"items", "answer-field", "labels"}, ignores={"reasoner"})


@hookimpl
def prlm_bench_register_rewards(register: Any) -> None:
    """overlap and format."""
    register("overlap", "._rewards:Overlap")
    register("format", "._rewards:Format")


@hookimpl
def prlm_bench_register_methods(register: Any) -> None:
    """The controls by name."""
    register("echo", generator="echo")
    register("constant", generator="constant")
    register("random-copy", retriever="random", generator="copy", k=1)
    register("other-user-copy", retriever="other-user", generator="copy", k=1)
    register("stranger-copy", retriever="other-user", generator="copy", k=1)  # the earlier name of other-user-copy
