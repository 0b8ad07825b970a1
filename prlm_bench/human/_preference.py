"""Preferences between methods: win rates and Bradley-Terry strengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..results import Estimate, as_mean, mean_value
from ..stats import Floats, bootstrap_totals, percentile_interval, user_totals
from ._estimates import UNKNOWN, clustered


@dataclass(frozen=True, slots=True)
class Comparison:
    """One judgement of a pair of methods."""

    user: str
    first: int
    second: int
    #: 1 if the first is preferred, 0 if the second is, 0.5 for a tie.
    score: float


@dataclass(frozen=True)
class WinRate:
    """How often one method is preferred to another; a tie counts half."""

    first: int
    #: None for all other methods together.
    second: int | None
    wins: int
    ties: int
    losses: int
    users: int
    rate: Estimate


def win_rates(comparisons: Sequence[Comparison], methods: int) -> list[WinRate]:
    """Win rates of each method against all others, then of each compared pair; users are resampled."""
    rates = [_rate(first, None, _seen_from(comparisons, first, None)) for first in range(methods)]
    for first, second in combinations(range(methods), 2):
        rates.append(_rate(first, second, _seen_from(comparisons, first, second)))
    return [rate for rate in rates if rate.wins + rate.ties + rate.losses]


def _seen_from(comparisons: Sequence[Comparison], first: int, second: int | None) -> list[tuple[str, float]]:
    found = []
    for c in comparisons:
        if c.first == first and second in (None, c.second):
            found.append((c.user, c.score))
        elif c.second == first and second in (None, c.first):
            found.append((c.user, 1 - c.score))
    return found


def _rate(first: int, second: int | None, scores: Sequence[tuple[str, float]]) -> WinRate:
    values = [score for _, score in scores]
    users = [user for user, _ in scores]
    counts = {name: values.count(score) for name, score in (("wins", 1.0), ("ties", 0.5), ("losses", 0.0))}
    return WinRate(first, second, **counts, users=len(set(users)), rate=clustered(as_mean(values), users, mean_value))


def strengths(comparisons: Sequence[Comparison], methods: int) -> list[Estimate]:
    """Bradley-Terry log strengths (natural logarithm, mean 0); users are resampled for the intervals.

    A method that is stronger by d is preferred with probability 1 / (1 + exp(-d)). A tie counts as half a win for
    each. One tie is added to each compared pair of methods, so that strengths exist even if a method won or lost all
    comparisons; this shrinks them slightly towards 0.
    """
    if not comparisons:
        return [UNKNOWN] * methods
    wins = np.zeros((len(comparisons), methods, methods))
    for row, c in zip(wins, comparisons, strict=True):
        row[c.first, c.second] += c.score
        row[c.second, c.first] += 1 - c.score
    totals = user_totals(wins.reshape(len(comparisons), -1), [c.user for c in comparisons])
    whole = totals.sum(axis=0).reshape(methods, methods)
    prior = 0.5 * ((whole + whole.T) > 0)
    if not _connected(prior > 0):
        return [UNKNOWN] * methods
    point = bradley_terry(whole[None] + prior)[0]
    if len(totals) < 2:
        return [Estimate(value=float(value), low=None, high=None) for value in point]
    resampled = bradley_terry(bootstrap_totals(totals).reshape(-1, methods, methods) + prior)
    ends = [percentile_interval(resampled[:, method]) for method in range(methods)]
    return [Estimate(value=float(value), low=low, high=high) for value, (low, high) in zip(point, ends, strict=True)]


def bradley_terry(wins: Floats, tolerance: float = 1e-8, rounds: int = 10_000) -> Floats:
    """Maximum-likelihood log strengths by the MM algorithm (Hunter 2004, The Annals of Statistics 32, eq. 3).

    Args:
        wins: shape (tables, methods, methods): wins of the row's method over the column's. All methods must be
            connected with each other by wins in both directions.
        tolerance: the largest change of a log strength in the last round.
        rounds: maximum number of rounds.

    Returns:
        Shape (tables, methods), each row with mean 0.
    """
    games = wins + wins.transpose(0, 2, 1)
    won = wins.sum(axis=2)
    logs = np.zeros(won.shape)
    for _ in range(rounds):
        strength = np.exp(logs)
        shared = np.sum(games / (strength[:, :, None] + strength[:, None, :]), axis=2)
        new = np.log(won / shared)
        new -= new.mean(axis=1, keepdims=True)
        change = float(np.max(np.abs(new - logs)))
        logs = new
        if change < tolerance:
            break
    return np.asarray(logs)


def _connected(compared: np.typing.NDArray[np.bool_]) -> bool:
    reached = np.zeros(len(compared), dtype=bool)
    reached[0] = True
    for _ in range(len(compared)):
        reached |= compared[reached].any(axis=0)
    return bool(reached.all())
