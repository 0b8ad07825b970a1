"""What needs no model: the simple retrievers and generators, the `direct` reasoner, and the controls.

A control is a row that every table carries: a method that does not beat it is shown not to.
"""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

from .constant import Constant
from .copying import Copy
from .direct import Direct
from .echo import Echo
from .nearest import Nearest
from .no_items import NoItems
from .oracle import Oracle
from .other_user import OtherUser
from .random_items import RandomItems
from .recency import Recency
from .rewards import Format, Overlap
from .vote import Vote


@hookimpl
def prlm_bench_register_retrievers(register: Any) -> None:
    """none, random, recency, oracle and other-user."""
    register("none", NoItems, ignores={"items"}, control=True)
    register("random", RandomItems, aliases=["random-own"], control=True)
    register("other-user", OtherUser, needs={"users"}, control=True)
    register("recency", Recency, needs={"date"})
    register("oracle", Oracle, needs={"relevance"})


@hookimpl
def prlm_bench_register_reasoners(register: Any) -> None:
    """direct."""
    register("direct", Direct)


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
    register("stranger-copy", retriever="other-user", generator="copy", k=1)
