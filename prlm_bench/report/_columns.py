"""The samples of a result as columns, for tables and findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..results import Stored


@dataclass
class SampleColumns:
    """The n samples of a result, in the order of the data."""

    ids: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    golds: list[str | None] = field(default_factory=list)
    #: Whether the answer was parsed, and whether an item was cut or dropped.
    parsed: list[bool] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)
    #: Why each completion ended, where known; the first completion without an answer, and the first that was cut off.
    finish: list[str | None] = field(default_factory=list)
    unreadable: str | None = None
    cut_off: str | None = None
    metrics: list[dict[str, float | None]] = field(default_factory=list)
    rewards: list[dict[str, float | None]] = field(default_factory=list)
    retrieval: list[dict[str, float | None]] = field(default_factory=list)

    @classmethod
    def of(cls, result: Stored) -> SampleColumns:
        """Read a finished result.

        Raises:
            DataError: a line violates the schema.
        """
        columns = cls()
        for sample in result.samples():
            columns.ids.append(sample.id)
            columns.users.append(sample.user)
            columns.answers.append(sample.answer)
            columns.golds.append(sample.gold)
            columns.parsed.append(sample.parsed is not None)
            columns.cut.append(sample.cut + sample.dropped > 0)
            columns.finish.append(sample.finish)
            if sample.parsed is None and columns.unreadable is None:
                columns.unreadable = sample.completion
            if sample.finish == "length" and columns.cut_off is None:
                columns.cut_off = sample.completion
            columns.metrics.append(sample.metrics)
            columns.rewards.append(sample.rewards)
            columns.retrieval.append(sample.retrieval)
        return columns


def names_in(records: Iterable[dict[str, float | None]]) -> list[str]:
    """All names with a value in some sample, in order of first appearance."""
    return list(dict.fromkeys(name for record in records for name in record))


def numbers(records: Sequence[dict[str, float | None]], name: str) -> NDArray[np.float64]:
    """A named value of each sample, shape (n,); nan if a sample has none."""
    values = [record.get(name) for record in records]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
