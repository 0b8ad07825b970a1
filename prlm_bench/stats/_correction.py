"""Corrections of p-values for the number of comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the family-wise error rate (Holm 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    count = len(order)
    scaled = np.asarray(p_values, dtype=np.float64)[order] * (count - np.arange(count))
    return _restore(np.minimum(np.maximum.accumulate(scaled), 1.0), order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the false discovery rate (Benjamini and Hochberg 1995), in the given order."""
    order = np.argsort(p_values, kind="stable")
    count = len(order)
    scaled = np.asarray(p_values, dtype=np.float64)[order] * count / np.arange(1, count + 1)
    return _restore(np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0), order)


def _restore(adjusted: np.typing.NDArray[np.float64], order: np.typing.NDArray[np.intp]) -> list[float]:
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return [float(p) for p in result]
