"""Tests that every component of a kind must pass, for plugin authors: subclass a contract and set `spec`."""

from ._contracts import (
    ODD_TEXTS,
    Contract,
    GeneratorContract,
    ReasonerContract,
    RetrieverContract,
    RewardContract,
    installed,
    odd_example,
)

__all__ = [
    "ODD_TEXTS",
    "Contract",
    "GeneratorContract",
    "ReasonerContract",
    "RetrieverContract",
    "RewardContract",
    "installed",
    "odd_example",
]
