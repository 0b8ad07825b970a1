"""Orders profile items by score. Ties keep profile order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..records import Document, Ranking


def by_score(
    profile: Sequence[Document], scores: Sequence[float] | NDArray[np.float64], k: int | None = None
) -> Ranking:
    """The profile's best items: score descending, equal scores in profile order.

    Args:
        profile: n items.
        scores: n numbers, larger is better.
        k: how many to keep; None keeps all.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (len(profile),):
        raise ValueError(f"{values.shape} scores for {len(profile)} items")
    order = np.argsort(-values, kind="stable")[:k]
    return Ranking(tuple([profile[i] for i in order.tolist()]), tuple(values[order].tolist()))
