"""Paired tests over users: exact where they can be, of the right level where answers of a user hang together."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats as scipy_stats

from prlm_bench.results import as_mean, mean_value
from prlm_bench.stats import (
    Floats,
    bca_interval,
    benjamini_hochberg,
    bootstrap_totals,
    holm,
    paired_difference,
    percentile_interval,
    sign_flip_test,
    smallest_detectable,
    user_totals,
)


def by_user(scores: Floats) -> Floats:
    """Totals of a users × questions array."""
    users = [str(u) for u in range(scores.shape[0]) for _ in range(scores.shape[1])]
    return user_totals(as_mean(scores.ravel().tolist()), users)


def clustered(generator: np.random.Generator, users: int, questions: int, shift: float = 0.0) -> tuple[Floats, Floats]:
    """Two methods whose difference is mostly the user's own: answers of one user hang together."""
    difference = shift + generator.normal(0, 1, size=(users, 1)) + generator.normal(0, 0.2, size=(users, questions))
    base = generator.normal(0, 1, size=(users, questions))
    return by_user(base + difference), by_user(base)


def test_few_users_are_tried_in_every_way() -> None:
    first, second = by_user(np.array([[3.0], [2.0], [5.0], [1.0]])), by_user(np.array([[1.0], [2.5], [1.0], [0.0]]))
    gaps = [2.0, -0.5, 4.0, 1.0]
    observed = abs(sum(gaps))
    reached = [abs(sum(s * g for s, g in zip(signs, gaps, strict=True))) for signs in product((1, -1), repeat=4)]
    expected = sum(value >= observed - 1e-9 for value in reached) / len(reached)
    assert sign_flip_test(first, second, mean_value) == pytest.approx(expected)


def test_many_users_agree_with_scipy() -> None:
    generator = np.random.default_rng(4)
    gaps = generator.normal(0.3, 1, size=40)
    ours = sign_flip_test(by_user(gaps[:, None]), by_user(np.zeros((40, 1))), mean_value, flips=20_000)
    theirs = scipy_stats.permutation_test(
        (gaps,), lambda x: abs(x.mean()), permutation_type="samples", n_resamples=20_000, rng=1, alternative="greater"
    ).pvalue
    assert ours == pytest.approx(theirs, abs=0.015)


def test_p_is_never_zero_and_one_for_equal_methods() -> None:
    scores = by_user(np.random.default_rng(0).random((30, 3)))
    assert sign_flip_test(scores, scores, mean_value) == 1.0
    assert 0 < sign_flip_test(scores + np.array([10.0, 0.0]), scores, mean_value, flips=500) <= 2 / 501


def test_level_holds_over_users_where_a_test_over_questions_fails() -> None:
    generator = np.random.default_rng(7)
    ours = questions = 0
    rounds = 200
    for _ in range(rounds):
        difference = generator.normal(0, 1, size=(20, 1)) + generator.normal(0, 0.2, size=(20, 8))
        base = np.zeros((20, 8))
        ours += sign_flip_test(by_user(difference), by_user(base), mean_value, flips=300) < 0.05
        questions += scipy_stats.ttest_1samp(difference.ravel(), 0).pvalue < 0.05
    assert ours / rounds < 0.10
    assert questions / rounds > 0.30


@pytest.mark.slow
def test_the_interval_of_a_difference_covers_it() -> None:
    generator = np.random.default_rng(11)
    covered = 0
    rounds = 300
    for _ in range(rounds):
        first, second = clustered(generator, users=40, questions=5, shift=0.5)
        found = paired_difference(first, second, mean_value, resamples=500)
        covered += found.low <= 0.5 <= found.high
    assert 0.90 <= covered / rounds <= 0.98


def test_a_difference_in_numbers() -> None:
    first, second = (
        by_user(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])),
        by_user(np.array([[0.0, 0], [1, 1], [1, 0]])),
    )
    found = paired_difference(first, second, mean_value)
    assert (found.first, found.second) == (0.5, 0.5)
    assert found.difference == 0
    assert (found.higher, found.equal, found.lower) == (1, 1, 1)
    assert found.low <= 0 <= found.high


def test_one_user_gives_no_interval() -> None:
    found = paired_difference(by_user(np.array([[1.0, 2.0]])), by_user(np.array([[0.0, 1.0]])), mean_value)
    assert np.isnan(found.low)
    assert np.isnan(found.error)
    assert found.p == 1.0


def test_equivalence_needs_a_narrow_interval() -> None:
    generator = np.random.default_rng(3)
    base = generator.random((400, 2))
    near = paired_difference(by_user(base + generator.normal(0, 0.01, base.shape)), by_user(base), mean_value)
    assert near.is_within(0.01)
    assert not near.is_within(0.00001)


def test_the_smallest_detectable_difference_is_found_with_its_power() -> None:
    assert smallest_detectable(1.0) == pytest.approx(scipy_stats.norm.ppf(0.975) + scipy_stats.norm.ppf(0.8), abs=1e-9)
    generator = np.random.default_rng(5)
    error = 1 / np.sqrt(50)
    shift = smallest_detectable(error)
    found = 0
    for _ in range(200):
        gaps = generator.normal(shift, 1, size=(50, 1))
        found += sign_flip_test(by_user(gaps), by_user(np.zeros((50, 1))), mean_value, flips=300) < 0.05
    assert 0.70 <= found / 200 <= 0.90


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]), ([0.5], [0.5]), ([0.9, 0.8], [1.0, 1.0]), ([], [])],
)
def test_holm(p_values: list[float], expected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(expected)


def test_benjamini_hochberg_agrees_with_scipy() -> None:
    p_values = np.random.default_rng(8).random(30) ** 2
    expected = scipy_stats.false_discovery_control(p_values, method="bh")
    assert benjamini_hochberg(p_values.tolist()) == pytest.approx(expected.tolist())


def test_bca_agrees_with_scipy_on_skewed_data() -> None:
    values = np.random.default_rng(6).lognormal(0, 1, size=60)
    totals = by_user(values[:, None])
    resampled = bootstrap_totals(totals, 20_000)
    low, high = bca_interval(totals, mean_value, resampled)
    theirs = scipy_stats.bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, rng=2).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), rel=0.03)
    # The data lean to the right, and so does the corrected interval.
    plain = percentile_interval(mean_value(resampled))
    assert low > plain[0]
    assert high > plain[1]


def test_bca_of_constant_scores_is_that_constant() -> None:
    totals = by_user(np.full((10, 2), 0.25))
    assert bca_interval(totals, mean_value, bootstrap_totals(totals, 100)) == (0.25, 0.25)
