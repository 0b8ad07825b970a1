"""Intervals to compare with: those of S. Bowyer, L. Aitchison and D. R. Ivanova, "Position: Don't Use the CLT in LLM
Evals With Fewer Than a Few Hundred Datapoints", ICML 2025 (arXiv 2503.01747), for right and wrong answers.

Theirs are for independent questions (Clopper-Pearson, Wilson, a beta posterior), for clustered questions (a
beta-binomial model) and for two models on the same questions (a bivariate probit model), all with their priors. Where
they sample from the prior and weight, a fixed grid or a fixed sample is used here.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import betaln, ndtri, owens_t
from scipy.stats import beta, binomtest

from prlm_bench.stats import Floats

Ends = tuple[float, float]
_TAILS = (0.025, 0.975)


def clopper_pearson(right: int, n: int) -> Ends:
    found = binomtest(right, n).proportion_ci(method="exact")
    return float(found.low), float(found.high)


def wilson(right: int, n: int) -> Ends:
    found = binomtest(right, n).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def beta_posterior(right: int, n: int) -> Ends:
    """With a uniform prior."""
    low, high = beta(1 + right, 1 + n - right).ppf(_TAILS)
    return float(low), float(high)


def beta_binomial(totals: Floats) -> Ends:
    """A user's own share is Beta(d s, d (1 - s)), with s uniform and d Gamma(1, 1); the interval is that of s.

    Args:
        totals: right answers and questions by user, shape (users, 2).
    """
    shares = (np.arange(400) + 0.5) / 400
    sizes = np.geomspace(0.05, 50, 24)
    first, second = np.outer(sizes, shares)[..., None], np.outer(sizes, 1 - shares)[..., None]
    pairs, counts = np.unique(totals, axis=0, return_counts=True)
    right, wrong = pairs[:, 0], pairs[:, 1] - pairs[:, 0]
    likelihoods = ((betaln(first + right, second + wrong) - betaln(first, second)) * counts).sum(axis=-1)
    logs = likelihoods + (np.log(sizes) - sizes)[:, None]  # the density of d on a logarithmic grid
    weights = np.exp(logs - logs.max()).sum(axis=0)
    low, high = _weighted(shares, weights)
    return low - 0.00125, high + 0.00125  # half a step of the grid


def paired_probit(first: Floats, second: Floats) -> Ends:
    """The difference of two shares; right answers of both models come from correlated normal values.

    Args:
        first, second: 1 for a right answer, shape (n,).
    """
    differences, logs = _prior()
    both = np.array([first @ second, first @ (1 - second), (1 - first) @ second, (1 - first) @ (1 - second)])
    likelihoods = logs @ both
    return _weighted(differences, np.exp(likelihoods - likelihoods.max()))


@cache
def _prior(draws: int = 20_000) -> tuple[Floats, Floats]:
    """Differences under the prior, sorted, and logarithms of the probabilities of the four outcomes."""
    rng = np.random.default_rng(0)
    one, two = rng.beta(1, 1, draws), rng.beta(1, 1, draws)
    rho = 2 * rng.beta(4, 2, draws) - 1
    h, k = ndtri(one), ndtri(two)
    root = np.sqrt(1 - rho**2)
    both = (one + two - (h * k < 0)) / 2 - owens_t(h, (k / h - rho) / root) - owens_t(k, (h / k - rho) / root)
    outcomes = np.stack([both, one - both, two - both, 1 - one - two + both], axis=1)
    order = np.argsort(one - two)
    return (one - two)[order], np.log(np.clip(outcomes, 1e-12, 1))[order]


def _weighted(values: Floats, weights: Floats) -> Ends:
    """Quantiles of sorted values with weights."""
    shares = np.cumsum(weights) / weights.sum()
    low, high = values[np.searchsorted(shares, _TAILS)]
    return float(low), float(high)
