"""Contract tests for plugin authors: subclass the contract of a kind and set `spec`."""

import pytest

# Before they are imported, so that a failed check shows the values that it compared.
pytest.register_assert_rewrite(
    *(f"{__name__}.{name}" for name in ("_contracts", "_scoring_contracts", "_work_contracts"))
)

from ._contracts import (  # noqa: E402
    ODD_TEXTS,
    Contract,
    GeneratorContract,
    ReasonerContract,
    RetrieverContract,
    installed,
    odd_example,
)
from ._scoring_contracts import JudgeContract, MetricContract, RewardContract  # noqa: E402
from ._work_contracts import ImporterContract, TrainerContract  # noqa: E402

__all__ = [
    "ODD_TEXTS",
    "Contract",
    "GeneratorContract",
    "ImporterContract",
    "JudgeContract",
    "MetricContract",
    "ReasonerContract",
    "RetrieverContract",
    "RewardContract",
    "TrainerContract",
    "installed",
    "odd_example",
]
