"""How much of the variance is between users, and how much between seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._bootstrap import Floats


@dataclass(frozen=True, slots=True)
class Components:
    """Standard deviations of three sources, in the metric's own unit."""

    #: Between users, whichever the seed.
    users: float
    #: Between seeds, alike for all users.
    seeds: float
    #: What is left: users whom a seed suits more than others, and chance within users.
    rest: float


def variance_components(values: Floats) -> Components:
    """Take users and seeds apart by the method of moments.

    The model is the two-way crossed one with random effects and one value a cell, value = mean + user + seed + rest;
    the estimates equate mean squares with what they are expected to be (Searle, Casella and McCulloch 1992,
    chapter 4). A negative estimate is given as 0.

    Args:
        values: each user's own value with each seed, shape (seeds, users); users with a nan are left out.

    Returns:
        Three standard deviations; nan with fewer than two seeds or two users.
    """
    values = values[:, np.isfinite(values).all(axis=0)]
    seeds, users = values.shape
    if seeds < 2 or users < 2:
        return Components(float("nan"), float("nan"), float("nan"))
    by_seed, by_user = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    mean = values.mean()
    square_users = seeds * float(((by_user - mean) ** 2).sum()) / (users - 1)
    square_seeds = users * float(((by_seed - mean) ** 2).sum()) / (seeds - 1)
    rest = float(((values - by_seed - by_user + mean) ** 2).sum()) / ((users - 1) * (seeds - 1))
    variances = ((square_users - rest) / seeds, (square_seeds - rest) / users, rest)
    return Components(*(float(np.sqrt(max(variance, 0.0))) for variance in variances))
