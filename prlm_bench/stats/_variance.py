"""Variance components of users and seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._users import Floats


@dataclass(frozen=True, slots=True)
class Components:
    """Standard deviations of three sources, in the unit of the metric."""

    #: Between users, common to all seeds.
    users: float
    #: Between seeds, common to all users.
    seeds: float
    #: Residual: interaction of users and seeds, and random variation within users.
    rest: float


def variance_components(values: Floats) -> Components:
    """Estimate variance components of users and seeds by the method of moments.

    The model is two-way crossed with random effects and one value per cell, value = mean + user + seed + rest; mean
    squares are equated with their expectations (Searle, Casella and McCulloch 1992, chapter 4). Negative estimates are
    set to 0.

    Args:
        values: the value of each user with each seed, shape (seeds, users); users with a nan are left out.

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
