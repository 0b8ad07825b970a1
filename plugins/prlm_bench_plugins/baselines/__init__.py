"""What needs no model: simple retrievers and generators, two rewards, and the controls.

A control is a row that every table carries: a method that does not beat it is shown not to.
"""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

from ._dates import date_parts, day_number, read_dates
from ._generators import Constant, Copy, Echo, Nearest, Vote
from ._retrievers import NoItems, Oracle, OtherUser, RandomItems, Recency
from ._rewards import Format, Overlap

__all__ = [
    "Constant",
    "Copy",
    "Echo",
    "Format",
    "Nearest",
    "NoItems",
    "Oracle",
    "OtherUser",
    "Overlap",
    "RandomItems",
    "Recency",
    "Vote",
    "date_parts",
    "day_number",
    "read_dates",
]


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """none, random, recency, oracle and other-user."""
    register("none", NoItems, ignores={"items"}, control=True)
    register("random", RandomItems, aliases=["random-own"], control=True)
    register("other-user", OtherUser, needs={"users"}, control=True)
    register("recency", Recency, needs={"date"})
    register("oracle", Oracle, needs={"relevance"})


@hookimpl
def prlm_bench_register_generators(register: Any) -> None:
    """echo, constant, copy, nearest and vote."""
    register("echo", Echo, ignores={"items", "reasoner"}, control=True)
    register("constant", Constant, ignores={"items", "reasoner"}, needs={"train", "labels"}, control=True)
    register("copy", Copy, needs={"items", "answer-field"}, ignores={"reasoner"}, control=True)
    register("nearest", Nearest, needs={"items", "candidates"}, ignores={"reasoner"})
    register("vote", Vote, needs={"items", "answer-field", "labels"}, ignores={"reasoner"})


@hookimpl
def prlm_bench_register_rewards(register: Any) -> None:
    """overlap and format."""
    register("overlap", Overlap)
    register("format", Format)


@hookimpl
def prlm_bench_register_methods(register: Any) -> None:
    """The controls by name."""
    register("echo", generator="echo")
    register("constant", generator="constant")
    register("random-copy", retriever="random", generator="copy", k=1)
    register("other-user-copy", retriever="other-user", generator="copy", k=1)
    register("stranger-copy", retriever="other-user", generator="copy", k=1)  # the earlier name of other-user-copy
