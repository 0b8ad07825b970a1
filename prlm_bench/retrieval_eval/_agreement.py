"""Agreement of two rankings of the same items, for data without relevance labels."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

from ..records import Example, Ranking

#: Depths of the overlap.
OVERLAPS = (1, 5, 10)
#: Persistence of RBO: the first ten items carry 86 % of its weight (Webber et al., section 5.1).
PERSISTENCE = 0.9
#: The names of all figures.
FIGURES = (*(f"overlap@{k}" for k in OVERLAPS), "tau-b", "rbo")


def agreement(example: Example, first: Ranking, second: Ranking) -> dict[str, float]:
    """Compare two rankings of one question.

    overlap@k: the share of common items among the first k; nan if the profile has at most k items.
    tau-b: Kendall's rank correlation of the scores, ties counted (M. Kendall, Biometrika 1945), over the
    common items; nan if there are fewer than two or all are tied.
    rbo: extrapolated rank-biased overlap (W. Webber, A. Moffat and J. Zobel, TOIS 2010, equation 32).
    """
    places = {id(item): place for place, item in enumerate(example.profile)}
    one, other = _scores(first, places), _scores(second, places)
    ids, others = list(one), list(other)
    found = {
        f"overlap@{k}": len(set(ids[:k]) & set(others[:k])) / k if len(example.profile) > k else math.nan
        for k in OVERLAPS
    }
    common = [key for key in ids if key in other]
    found["tau-b"] = tau_b([one[key] for key in common], [other[key] for key in common])
    found["rbo"] = rank_biased_overlap(ids, others)
    return found


def _scores(ranking: Ranking, places: dict[int, int]) -> dict[Hashable, float]:
    """Scores by item, best first; items outside the profile are identified by id."""
    found: dict[Hashable, float] = {}
    for item, score in zip(ranking.items, ranking.scores, strict=True):
        found.setdefault(places.get(id(item), item.id), score)
    return found


def tau_b(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-b of two lists of n scores; nan if undefined."""
    from scipy.stats import kendalltau

    if len(set(first)) < 2 or len(set(second)) < 2:
        return math.nan
    return float(kendalltau(first, second).statistic)


def rank_biased_overlap(first: Sequence[Hashable], second: Sequence[Hashable], p: float = PERSISTENCE) -> float:
    """Extrapolated RBO of two lists without repetitions, of any lengths; nan if one of them is empty.

    Args:
        p: persistence, between 0 and 1; larger values give more weight to lower ranks.
    """
    short, long = sorted((first, second), key=len)
    s, n = len(short), len(long)
    if s == 0:
        return math.nan
    in_long = {item: place for place, item in enumerate(long, 1)}
    # An item counts for the overlap from the depth at which both lists contain it.
    seen = [max(place, in_long[item]) for place, item in enumerate(short, 1) if item in in_long]
    shared = np.cumsum(np.bincount(seen, minlength=n + 1)[1:]).astype(np.float64)
    depths = np.arange(1, n + 1, dtype=np.float64)
    weights = p**depths
    at_short = shared[s - 1]
    beyond = depths[s:]
    total = (shared / depths * weights).sum() + (at_short * (beyond - s) / (s * beyond) * weights[s:]).sum()
    end = ((shared[-1] - at_short) / n + at_short / s) * weights[-1]
    return float((1 - p) / p * total + end)
