"""Some rows of mapped matrices, remembered without being copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .digests import Places
from .segment import Floats


class Rows(Protocol):
    """n vectors, read when they are needed."""

    def read(self) -> Floats:
        """The vectors, shape (n, dims); not to be written to."""
        ...


@dataclass(frozen=True, slots=True)
class _Together:
    """Rows that follow each other in one matrix."""

    view: Floats

    def read(self) -> Floats:
        return self.view


@dataclass(frozen=True, slots=True)
class _Scattered:
    """Rows of one matrix in any order."""

    matrix: Floats
    rows: Places

    def read(self) -> Floats:
        return self.matrix[self.rows]


@dataclass(frozen=True, slots=True)
class _Mixed:
    """Rows of several matrices: of each its rows, and where they belong."""

    size: int
    parts: Sequence[tuple[Places, Floats, Places]]

    def read(self) -> Floats:
        vectors = np.empty((self.size, self.parts[0][1].shape[1]), np.float32)
        for positions, matrix, rows in self.parts:
            vectors[positions] = matrix[rows]
        return vectors


def rows_of(matrices: Sequence[Floats], numbers: Places, rows: Places) -> Rows:
    """Rows of several matrices.

    Args:
        matrices: each of shape (rows, dims), with the same dims.
        numbers: which matrix, for each of n rows, n at least 1; shape (n,).
        rows: which row of it, shape (n,).
    """
    number, first = int(numbers[0]), int(rows[0])
    if (numbers != number).any():
        used = np.unique(numbers).tolist()
        parts = [(at, matrices[one], rows[at]) for one in used for at in [np.flatnonzero(numbers == one)]]
        return _Mixed(len(rows), parts)
    matrix = matrices[number]
    if (rows == np.arange(first, first + len(rows))).all():
        return _Together(matrix[first : first + len(rows)])
    return _Scattered(matrix, rows)
