"""Contract tests for plugin authors: subclass the contract of a kind and set `spec`."""

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
