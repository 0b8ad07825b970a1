"""Preferences between methods: win rates and Bradley-Terry strengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from ..results import Estimate
from ..stats import Floats
from ._estimates import ALIKE, Crossed, plain, share, unknown, without

#: Wins and losses that every method is given against one of strength 0.
PRIOR = 0.5
#: The prior in words, for readers of strengths.
PRIOR_TEXT = "one tie of each method with an average one"
#: Why a strength has no interval where wins and losses do not bound it.
ONE_WAY = "rests on the prior"
#: The largest change of a log strength in one step of Newton's method.
_STEP = 2.0
Groups = list[list[int]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One judgement of a pair of methods."""

    user: str
    annotator: str
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
    annotators: int
    rate: Estimate


@dataclass(frozen=True)
class Strengths:
    """The Bradley-Terry strengths of all methods, and what their comparisons do not tell."""

    values: list[Estimate]
    #: Methods that comparisons connect, directly or through others; strengths compare only within a group.
    groups: Groups
    #: Within a group, methods in an order in which none was ever preferred to one before it; only if there are several.
    one_way: list[Groups] = field(default_factory=list)


def win_rates(comparisons: Sequence[Comparison], methods: int) -> list[WinRate]:
    """Win rates of each method against all others, then of each compared pair."""
    rates = [_rate(comparisons, first, None) for first in range(methods)]
    rates += [_rate(comparisons, first, second) for first, second in combinations(range(methods), 2)]
    return [rate for rate in rates if rate.wins + rate.ties + rate.losses]


def _rate(comparisons: Sequence[Comparison], first: int, second: int | None) -> WinRate:
    found = [c for c in comparisons if first in (c.first, c.second) and second in (None, c.first, c.second)]
    scores = [c.score if c.first == first else 1 - c.score for c in found]
    users, annotators = [c.user for c in found], [c.annotator for c in found]
    return WinRate(
        first,
        second,
        wins=scores.count(1.0),
        ties=scores.count(0.5),
        losses=scores.count(0.0),
        users=len(set(users)),
        annotators=len(set(annotators)),
        rate=share(scores, users, annotators),
    )


def strengths(comparisons: Sequence[Comparison], methods: int) -> Strengths:
    """Bradley-Terry log strengths (natural logarithm; mean 0 within each group of connected methods).

    A method that is stronger by d is preferred with probability 1 / (1 + exp(-d)). A tie counts as half a win for
    each. The prior is one tie of each method with a method of strength 0, which keeps strengths finite and shrinks
    them slightly: the type III generalized logistic distribution (J. T. Whelan, "Prior Distributions for the
    Bradley-Terry Model of Paired Comparisons", arXiv 1712.05311, 2017). Intervals are t intervals over users and
    annotators; where a method never won or never lost, directly or through others (Ford 1957), there is none.
    """
    wins = np.zeros((len(comparisons), methods, methods))
    for row, c in zip(wins, comparisons, strict=True):
        row[c.first, c.second] += c.score
        row[c.second, c.first] += 1 - c.score
    beaten = wins.sum(axis=0) > 0
    groups = _groups(beaten | beaten.T)
    ladders = {place: ladder for place, group in enumerate(groups) if len(ladder := _ladder(beaten, group)) > 1}
    why = {method: ONE_WAY for place in ladders for method in groups[place]}
    why |= {group[0]: "not judged" for group in groups if len(group) == 1}
    values = _estimates(comparisons, wins, groups, why) if comparisons else [unknown("not judged")] * methods
    return Strengths(values, [group for group in groups if len(group) > 1], list(ladders.values()))


def _estimates(comparisons: Sequence[Comparison], wins: Floats, groups: Groups, why: dict[int, str]) -> list[Estimate]:
    methods = wins.shape[1]
    start = bradley_terry(wins.sum(axis=0)[None])

    def value(totals: Floats) -> Floats:
        logs = bradley_terry(totals.reshape(-1, methods, methods), start=start)
        for group in groups:
            logs[:, group] -= logs[:, group].mean(axis=1, keepdims=True)
        return logs.reshape(*totals.shape[:-1], methods)

    statistics = wins.reshape(len(wins), -1)
    point = value(statistics.sum(axis=0))
    crossed = Crossed([c.user for c in comparisons], [c.annotator for c in comparisons])
    spreads = [] if crossed.why else crossed.spread(statistics, value)
    found = []
    for method, log in enumerate(np.round(point, 12) + 0.0):  # no -0.0
        log = float(log)
        reason = why.get(method, crossed.why)
        if reason == "not judged":
            found.append(unknown(reason))
        elif reason or spreads[method].variance == 0:
            found.append(without(log, reason or ALIKE))
        else:
            half = float(student.ppf(0.975, spreads[method].freedom) * np.sqrt(spreads[method].variance))
            found.append(plain(log, log - half, log + half))
    return found


def bradley_terry(
    wins: Floats, *, start: Floats | None = None, prior: float = PRIOR, tolerance: float = 1e-9
) -> Floats:
    """The log strengths of highest posterior density, by Newton's method.

    Args:
        wins: shape (tables, methods, methods): wins of the row's method over the column's.
        start: shape (1 or tables, methods): where to begin.
        prior: wins, and losses, of each method against one of strength 0.
        tolerance: the largest change of a log strength in the last step.

    Returns:
        Shape (tables, methods).
    """
    games, won = wins + wins.transpose(0, 2, 1), wins.sum(axis=2)
    logs = np.zeros(won.shape) + (0.0 if start is None else start)
    eye = np.eye(won.shape[1])
    for _ in range(200):
        chance = 1 / (1 + np.exp(logs[:, None, :] - logs[:, :, None]))
        alone = 1 / (1 + np.exp(-logs))
        slope = won + prior - (games * chance).sum(axis=2) - 2 * prior * alone
        curves = games * chance * (1 - chance)
        bend = eye * (curves.sum(axis=2) + 2 * prior * alone * (1 - alone))[:, :, None] - curves
        step = np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
        largest = np.abs(step).max(axis=1, keepdims=True)
        logs = logs + step * np.minimum(1.0, _STEP / np.maximum(largest, 1e-300))
        if largest.max() < tolerance:
            break
    return np.asarray(logs)


def _reached(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which methods each method reaches along edges; itself too."""
    reached = edges | np.eye(len(edges), dtype=bool)
    for _ in range(len(edges).bit_length()):
        reached = reached @ reached
    return reached


def _groups(edges: NDArray[np.bool_]) -> Groups:
    """Methods that reach each other, those that reach most methods first."""
    reached = _reached(edges)
    mutual = reached & reached.T
    found = {int(row.argmax()): [int(method) for method in np.flatnonzero(row)] for row in mutual}
    return sorted(found.values(), key=lambda group: (-int(reached[group[0]].sum()), group))


def _ladder(beaten: NDArray[np.bool_], group: list[int]) -> Groups:
    """The parts of a group that wins do not connect in both directions, in an order without wins of later parts."""
    return [[group[place] for place in part] for part in _groups(beaten[np.ix_(group, group)])]
