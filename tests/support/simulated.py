"""Simulated answers of users with known true figures, for checks of intervals and tests.

A question has a latent normal value z, of which the share `icc` of the variance is its user's own; every metric is a
function of z, so that its true value depends neither on `icc` nor on how many questions each user has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from scipy.special import ndtr, ndtri

from prlm_bench.host import PluginHost
from prlm_bench.metrics import KnowsRareValues, Metric
from prlm_bench.results import mean_value
from prlm_bench.stats import Floats, Scale, Value

Ints = NDArray[np.int64]
Random = np.random.Generator

#: Mean number of questions of a user, and the standard deviation of its logarithm: the coefficients of variation are
#: 0, about 1, and about 4.6.
SIZES: dict[str, tuple[float, float]] = {"equal": (5, 0.0), "heavy": (5, 0.83), "extreme": (15, 1.76)}
#: The latent correlation of two methods.
ALIKE = 0.6


def user_sizes(rng: Random, users: int, kind: str, mean: float | None = None) -> Ints:
    """Numbers of questions, shape (users,): equal, or lognormal, rounded and at least 1."""
    default, sigma = SIZES[kind]
    drawn = (mean or default) * np.exp(sigma * rng.normal(size=users) - sigma**2 / 2)
    return np.maximum(1, np.rint(drawn)).astype(np.int64)


def latent(rng: Random, owner: Ints, icc: float, methods: int = 1) -> Floats:
    """Values z of the questions of users `owner`, shape (methods, n), each standard normal."""
    users = int(owner.max()) + 1
    own = _correlated(rng, methods, users)[:, owner]
    return np.asarray(np.sqrt(icc) * own + np.sqrt(1 - icc) * _correlated(rng, methods, len(owner)))


def _correlated(rng: Random, methods: int, count: int) -> Floats:
    shared = rng.normal(size=count)
    if methods == 1:
        return shared[None]
    return np.asarray(np.sqrt(ALIKE) * shared + np.sqrt(1 - ALIKE) * rng.normal(size=(methods, count)))


@dataclass(frozen=True)
class Recipe:
    """A figure, how its statistics are drawn, and its true value.

    `draw` maps values z of any shape, users `owner` and a generator to statistics per question, shape (n, s).
    """

    name: str
    scale: Scale
    draw: Callable[[Floats, Ints, float, Random], Floats]
    value: Value = mean_value
    #: The metric that decides whether something is too rare for an interval.
    metric: Metric | None = None

    @property
    def truth(self) -> float:
        """The true value."""
        return self.true_value()

    def true_value(self, shift: float = 0.0) -> float:
        """The true value with latent values moved by `shift`."""
        return _truth(self.name, shift)

    def totals(self, rng: Random, sizes: Ints, icc: float, methods: int = 1, shift: float = 0.0) -> list[Floats]:
        """Statistics by user of each method, shape (users, s); the latent values of the first are moved by `shift`."""
        owner = np.repeat(np.arange(len(sizes)), sizes)
        z = latent(rng, owner, icc, methods)
        z[0] += shift
        return [_by_user(self.draw(each, owner, icc, rng), owner, len(sizes)) for each in z]

    def too_rare(self, totals: Floats) -> str:
        """What occurs too rarely for an interval; empty if nothing does."""
        return self.metric.too_rare(totals.sum(axis=0)) if isinstance(self.metric, KnowsRareValues) else ""


def _by_user(statistics: Floats, owner: Ints, users: int) -> Floats:
    columns = [np.bincount(owner, column, users) for column in statistics.T]
    return np.stack(columns, axis=1)


@cache
def _truth(name: str, shift: float = 0.0) -> float:
    """The value of latent values at equal steps of probability; what else is random is drawn."""
    recipe, rng = RECIPES[name], np.random.default_rng(1)
    count = 100_000
    z = ndtri((np.arange(count) + 0.5) / count) + shift
    parts = [recipe.draw(z, np.arange(count), 0.0, rng).sum(axis=0) for _ in range(4)]
    return float(recipe.value(np.sum(parts, axis=0)))


# The recipes


def _mean(values: Floats) -> Floats:
    return np.stack([values, np.ones_like(values)], axis=1)


#: Quantiles of a ROUGE-like score: 35 % are 0, the rest Beta(1.5, 3).
_RANKS = np.linspace(0, 1, 4001)
_SCORES = scipy_stats.beta.ppf(np.clip((_RANKS - 0.35) / 0.65, 0, 1), 1.5, 3)


def _rouge(z: Floats, owner: Ints, icc: float, rng: Random) -> Floats:
    return _mean(np.interp(ndtr(z), _RANKS, _SCORES))


def _accuracy(share: float) -> Callable[[Floats, Ints, float, Random], Floats]:
    return lambda z, owner, icc, rng: _mean((ndtr(z) > 1 - share).astype(np.float64))


def _mae(z: Floats, owner: Ints, icc: float, rng: Random) -> Floats:
    """Ratings that are 0 to 4 off."""
    return _mean(np.minimum(np.floor(np.abs(z) * 1.3), 4))


def _normal_squares(z: Floats, owner: Ints, icc: float, rng: Random) -> Floats:
    return _mean(z**2)


def _laplace_squares(z: Floats, owner: Ints, icc: float, rng: Random) -> Floats:
    """Squares of Laplace errors, whose kurtosis is 6."""
    tail = np.minimum(ndtr(z), ndtr(-z))
    return _mean(np.log(2 * tail) ** 2)


def _bleu(z: Floats, owner: Ints, icc: float, rng: Random) -> Floats:
    """Lengths, matches and n-grams of headlines; a better answer has more matching words."""
    gold = rng.poisson(8, len(z)) + 4
    answer = np.maximum(4, gold + rng.integers(-3, 4, len(z)))
    grams = np.maximum(answer[:, None] - np.arange(4), 0)
    right = ndtr(-0.7 + 0.8 * z)
    matches = np.zeros((len(z), 4), np.int64)
    matches[:, 0] = rng.binomial(grams[:, 0], right)
    for order in range(1, 4):
        matches[:, order] = rng.binomial(np.minimum(grams[:, order], matches[:, order - 1]), 0.8 * right)
    return np.concatenate([answer[:, None], gold[:, None], matches, grams], axis=1).astype(np.float64)


def _labels(count: int, zipf: float) -> Callable[[Floats, Ints, float, Random], Floats]:
    """Counts of macro-F1: users prefer a label of their own, 58 % of the answers are right, the rest at random."""
    share = 1 / np.arange(1, count + 1) ** zipf
    share /= share.sum()

    def draw(z: Floats, owner: Ints, icc: float, rng: Random) -> Floats:
        own = rng.choice(count, int(owner.max()) + 1, p=share)[owner]
        gold = np.where(rng.random(len(z)) < icc, own, rng.choice(count, len(z), p=share))
        answer = np.where(z < 0.2, gold, rng.choice(count, len(z), p=share))
        hit = (answer == gold).astype(np.float64)
        counts = np.zeros((len(z), count, 3))
        at = np.arange(len(z))
        counts[at, gold, 0] = hit
        counts[at, answer, 1] = 1 - hit
        counts[at, gold, 2] = 1 - hit
        return counts.reshape(len(z), 3 * count)

    return draw


def _recipes() -> dict[str, Recipe]:
    bleu, f1, rmse = PluginHost().metrics(["bleu@lamp", "f1@lamp", "rmse@lamp"])
    found = [
        Recipe("ROUGE-like", "mean", _rouge),
        *(Recipe(f"accuracy {share}", "share", _accuracy(share)) for share in (0.7, 0.9, 0.98)),
        Recipe("MAE", "errors", _mae),
        Recipe("RMSE, normal", "errors", _normal_squares, rmse.value),
        Recipe("RMSE, Laplace", "errors", _laplace_squares, rmse.value),
        Recipe("BLEU", "corpus", _bleu, bleu.value),
    ]
    for count, zipf in ((2, 0.0), (5, 1.0), (15, 0.0), (15, 1.0)):
        name = f"macro-F1, {count} labels{', Zipf' if zipf else ''}"
        found.append(Recipe(name, "corpus", _labels(count, zipf), f1.value, f1))
    return {recipe.name: recipe for recipe in found}


RECIPES = _recipes()
