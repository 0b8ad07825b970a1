"""Paired tests over users: exact where they can be, of the right level where answers of a user hang together."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats as scipy_stats

from prlm_bench.results import mean_value
from prlm_bench.stats import (
    Difference,
    Floats,
    bca_interval,
    benjamini_hochberg,
    bootstrap_totals,
    holm,
    paired_difference,
    percentile_interval,
    smallest_detectable,
    smallest_p,
    users_needed,
)


def by_user(scores: Floats) -> Floats:
    """Totals of a users × questions array."""
    return np.stack([scores.sum(axis=1), np.full(len(scores), float(scores.shape[1]))], axis=1)


def compared(first: Floats, second: Floats, flips: int = 2000) -> Difference:
    """Two methods with one training each."""
    return paired_difference([first], [second], mean_value, first[:, 1], flips=flips)


def of_gaps(gaps: Floats, flips: int = 2000) -> Difference:
    """Two methods that differ by `gaps`, shape (users,) or (users, questions)."""
    scores = gaps.reshape(len(gaps), -1)
    return compared(by_user(scores), by_user(np.zeros_like(scores)), flips)


def test_few_users_are_tried_in_every_way() -> None:
    gaps = [2.0, -0.5, 4.0, 1.0]
    observed = abs(sum(gaps))
    reached = [abs(sum(s * g for s, g in zip(signs, gaps, strict=True))) for signs in product((1, -1), repeat=4)]
    expected = sum(value >= observed - 1e-9 for value in reached) / len(reached)
    assert of_gaps(np.array(gaps)).p == pytest.approx(expected)


@pytest.mark.parametrize("users", [5, 8, 12])
def test_the_exact_test_is_scipys(users: int) -> None:
    gaps = np.random.default_rng(users).normal(0.5, 1, size=users)
    theirs = scipy_stats.permutation_test(
        (gaps,), lambda x: abs(x.mean()), permutation_type="samples", n_resamples=np.inf, alternative="greater"
    ).pvalue
    assert of_gaps(gaps).p == pytest.approx(theirs, abs=1e-12)


def test_many_users_agree_with_scipy() -> None:
    gaps = np.random.default_rng(4).normal(0.3, 1, size=40)
    theirs = scipy_stats.permutation_test(
        (gaps,), lambda x: abs(x.mean()), permutation_type="samples", n_resamples=20_000, rng=1, alternative="greater"
    ).pvalue
    assert of_gaps(gaps, flips=20_000).p == pytest.approx(theirs, abs=0.015)


def test_p_is_never_zero_and_one_for_equal_methods() -> None:
    scores = by_user(np.random.default_rng(0).random((30, 3)))
    assert compared(scores, scores).p == 1.0
    assert 0 < compared(scores + np.array([10.0, 0.0]), scores, flips=500).p <= 2 / 501


def test_a_value_that_is_not_finite_is_never_significant() -> None:
    scores = np.random.default_rng(0).random((30, 1))
    for wrong in (np.inf, -np.inf, np.nan):
        broken = scores.copy()
        broken[3] = wrong
        found = compared(by_user(broken), by_user(scores))
        assert (found.p, found.why) == (1.0, "a value is not finite")
        assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize("users", [6, 9, 12, 13, 40])
@pytest.mark.parametrize("seed", range(5))
def test_test_and_interval_agree(users: int, seed: int) -> None:
    """The interval holds just the values that the test does not reject, for any shift of the data."""
    generator = np.random.default_rng(seed)
    gaps = generator.normal(0, 1, size=(users, 3)) + generator.normal(0, 1, size=(users, 1))
    found = of_gaps(gaps)
    for end, inside in ((found.low, 1), (found.high, -1)):
        width = found.high - found.low
        assert of_gaps(gaps - (end + inside * 1e-6 * width)).p > 0.05
        assert of_gaps(gaps - (end - inside * 1e-6 * width)).p <= 0.05


def test_users_count_by_their_questions() -> None:
    """A user with many questions weighs more, in the difference and in its splits."""
    first = np.array([[9.0, 10], [1, 1], [1, 1], [0, 1], [1, 1], [1, 1], [0, 1]])
    second = np.array([[1.0, 10], [0, 1], [1, 1], [0, 1], [1, 1], [0, 1], [1, 1]])
    found = compared(first, second)
    assert found.difference == pytest.approx((13 - 4) / 16)
    gaps = (first - second)[:, 0]
    reached = [abs(np.dot(signs, gaps)) >= abs(gaps.sum()) - 1e-9 for signs in product((1, -1), repeat=7)]
    assert found.p == pytest.approx(np.mean(reached))


def test_so_few_users_cannot_differ() -> None:
    found = of_gaps(np.full(5, 1.0) + np.arange(5) * 0.01)
    assert (found.p, found.why) == (smallest_p(5), "5 users")
    assert np.isnan([found.low, found.high, found.inner_low, found.inner_high]).all()
    assert smallest_detectable(found) == np.inf
    assert not found.is_within(100.0)


def test_the_tail_beyond_the_splits_is_that_of_t() -> None:
    """With 2000 splits no p-value is below .0005, which Holm's correction of 500 comparisons would need."""
    gaps = np.random.default_rng(1).normal(1, 1, size=100)
    found = of_gaps(gaps)
    theirs = scipy_stats.ttest_1samp(gaps, 0).pvalue
    assert found.p < 1e-12
    assert np.log(found.p) == pytest.approx(np.log(theirs), rel=0.05)
    few = of_gaps(np.full(13, 1.0) + np.random.default_rng(2).normal(0, 0.01, 13))
    assert few.p >= smallest_p(13)


def test_level_holds_over_users_where_a_test_over_questions_fails() -> None:
    generator = np.random.default_rng(7)
    ours = questions = 0
    rounds = 200
    for _ in range(rounds):
        difference = generator.normal(0, 1, size=(20, 1)) + generator.normal(0, 0.2, size=(20, 8))
        ours += of_gaps(difference, flips=300).p < 0.05
        questions += scipy_stats.ttest_1samp(difference.ravel(), 0).pvalue < 0.05
    assert ours / rounds < 0.10
    assert questions / rounds > 0.30


def test_a_difference_in_numbers() -> None:
    first, second = (
        by_user(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])),
        by_user(np.array([[0.0, 0], [1, 1], [1, 0]])),
    )
    found = compared(first, second)
    assert (found.first, found.second) == (0.5, 0.5)
    assert found.difference == 0
    assert (found.higher, found.equal, found.lower, found.users) == (1, 1, 1, 3)
    assert (found.p, found.why) == (1.0, "3 users")


def test_one_user_gives_no_interval() -> None:
    found = compared(by_user(np.array([[1.0, 2.0]])), by_user(np.array([[0.0, 1.0]])))
    assert np.isnan([found.low, found.error]).all()
    assert (found.p, found.why) == (1.0, "1 user")


def test_equivalence_needs_a_narrow_interval() -> None:
    generator = np.random.default_rng(3)
    base = generator.random((400, 2))
    near = compared(by_user(base + generator.normal(0, 0.01, base.shape)), by_user(base))
    assert near.is_within(0.01)
    assert not near.is_within(0.00001)


@pytest.mark.parametrize(("users", "comparisons"), [(8, 1), (20, 1), (50, 1), (20, 10)])
def test_the_smallest_detectable_difference_is_found_with_its_power(users: int, comparisons: int) -> None:
    """With the test itself, at the level of Holm's first step."""
    generator = np.random.default_rng(users)
    found = []
    for _ in range(300):
        gaps = generator.normal(0, 1, size=users)
        shift = smallest_detectable(of_gaps(gaps, flips=999), comparisons)
        found.append((shift, gaps))
    shift = float(np.median([shift for shift, _ in found]))
    hits = np.mean([of_gaps(gaps + shift, flips=999).p <= 0.05 / comparisons for _, gaps in found])
    assert 0.72 <= hits <= 0.9


def test_the_users_that_are_needed_find_the_effect() -> None:
    generator = np.random.default_rng(9)
    needed = users_needed(of_gaps(generator.normal(0, 1, size=2000)), effect=0.4)
    assert needed is not None and 48 <= needed <= 56
    hits = np.mean([of_gaps(generator.normal(0.4, 1, size=needed), flips=999).p <= 0.05 for _ in range(300)])
    assert 0.72 <= hits <= 0.88


def trainings(generator: np.random.Generator, users: int, sd: float, count: int) -> list[Floats]:
    """One recipe, trained `count` times, on the same users."""
    base = np.random.default_rng(0).normal(0.5, 0.2, size=(users, 1))
    return [by_user(base + generator.normal(0, sd) + generator.normal(0, 0.1, size=(users, 1))) for _ in range(count)]


@pytest.mark.parametrize("users", [40, 200])
def test_the_same_recipe_twice_is_no_different(users: int) -> None:
    """Over users alone, it is "different" in every second comparison with 200 users."""
    generator = np.random.default_rng(users)
    rounds, ours, over_users = 200, 0, 0
    for _ in range(rounds):
        first, second = (trainings(generator, users, 0.03, 3) for _ in range(2))
        found = paired_difference(first, second, mean_value, first[0][:, 1], flips=200)
        assert found.basis == "users and trainings"
        ours += found.p < 0.05
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
        over_users += compared(np.mean(first, axis=0), np.mean(second, axis=0), flips=200).p < 0.05
    assert ours / rounds <= 0.09
    assert over_users / rounds >= 0.2


@pytest.mark.parametrize("counts", [(3, 1), (1, 5), (3, 3), (5, 5), (8, 8)])
def test_intervals_over_users_and_trainings_hold(counts: tuple[int, int]) -> None:
    """Users and trainings are random effects; so are what the two share."""
    generator = np.random.default_rng(sum(counts))
    rounds, holds = 400, 0
    for _ in range(rounds):
        first, second = (trainings(generator, 40, 0.05, count) for count in counts)
        found = paired_difference(first, second, mean_value, first[0][:, 1], flips=16)
        holds += found.low <= 0 <= found.high
    assert 0.93 <= holds / rounds <= 0.99


def test_all_trainings_of_both_sides_count() -> None:
    """Seeds 0, 1, 2 (.842, .467, .442) against seed 0 (.575): the difference of the means, not of the first seeds."""
    users = np.random.default_rng(3).normal(0, 0.01, size=(40, 1))
    users -= users.mean()
    first = [by_user(users + mean) for mean in (0.842, 0.467, 0.442)]
    found = paired_difference(first, [by_user(users + 0.575)], mean_value, np.ones(40), flips=200)
    assert found.difference == pytest.approx(0.0087, abs=1e-4)
    assert found.p > 0.5 and found.low < 0 < found.high


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
