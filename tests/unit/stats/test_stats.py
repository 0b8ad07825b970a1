"""Users, not questions, are resampled: exact where it can be, and of the right coverage where it is random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from prlm_bench.metrics import MeanMetric, Metric, Pairs
from prlm_bench.metrics._f1 import F1
from prlm_bench.results import ClusterEstimates, as_mean, mean_value, score_answers
from prlm_bench.results._summarize import describe_samples
from prlm_bench.stats import (
    RESAMPLES,
    SEED,
    Floats,
    bootstrap_totals,
    percentile_interval,
    user_totals,
    user_values,
)


def draws(users: int, resamples: int, seed: int) -> list[list[int]]:
    """Which users each resample holds, as `bootstrap_totals` draws them: 64 resamples at a time."""
    generator = np.random.default_rng(seed)
    found: list[list[int]] = []
    while len(found) < resamples:
        found += generator.integers(users, size=(min(64, resamples - len(found)), users)).tolist()
    return found


def mean_metric(name: str = "length@mine", scale: float = 1.0) -> MeanMetric:
    return MeanMetric(name, lambda pairs: [scale * len(answer) for answer in pairs.answers])


def test_totals_are_by_user_in_an_order_that_a_file_does_not_change() -> None:
    statistics = np.array([[1.0, 1], [2, 1], [3, 1], [4, 1], [5, 1]])
    users = ["b", "a", "b", "c", "b"]
    totals = user_totals(statistics, users)
    assert sorted(totals.tolist()) == [[2, 1], [4, 1], [9, 3]]
    assert user_totals(statistics[::-1], users[::-1]).tolist() == totals.tolist()


@pytest.mark.parametrize("resamples", [1, 63, 64, 65, 200])
def test_bootstrap_totals_equal_a_plain_loop(resamples: int) -> None:
    totals = np.random.default_rng(1).integers(0, 1000, size=(17, 3)).astype(float)
    found = bootstrap_totals(totals, resamples, seed=5)
    expected = [[sum(int(totals[user, s]) for user in drawn) for s in range(3)] for drawn in draws(17, resamples, 5)]
    assert found.tolist() == expected


def test_bootstrap_means_of_fractions_equal_a_plain_loop_to_rounding() -> None:
    totals = user_totals(as_mean(np.random.default_rng(2).random(60).tolist()), [str(i % 13) for i in range(60)])
    found = mean_value(bootstrap_totals(totals, 100, seed=3))
    loop = []
    for drawn in draws(13, 100, 3):
        total = count = 0.0
        for user in drawn:
            total += totals[user, 0]
            count += totals[user, 1]
        loop.append(total / count)
    np.testing.assert_allclose(found, loop, rtol=1e-14, atol=0)


def test_an_interval_is_part_of_the_result() -> None:
    totals = np.arange(20.0).reshape(10, 2)
    assert (RESAMPLES, bootstrap_totals(totals).shape) == (2000, (2000, 2))
    assert np.array_equal(bootstrap_totals(totals), bootstrap_totals(totals, RESAMPLES, SEED))
    assert not np.array_equal(bootstrap_totals(totals), bootstrap_totals(totals, seed=SEED + 1))


def test_percentile_interval() -> None:
    values = np.arange(1001.0)
    assert percentile_interval(values) == pytest.approx((25.0, 975.0))
    assert percentile_interval(values, level=0.8) == pytest.approx((100.0, 900.0))
    assert percentile_interval(np.array([np.nan, 1.0, np.inf, 3.0])) == pytest.approx((1.05, 2.95))
    assert np.isnan(percentile_interval(np.array([np.nan]))).all()


def test_user_macro_is_the_mean_of_the_users_means() -> None:
    users = ["often"] * 4 + ["once"]
    values = [1.0, 1.0, 1.0, 1.0, 6.0]
    figures = ClusterEstimates(users)
    figures.add("mean", as_mean(values))
    figures.add_user_macro("macro", as_mean(values), mean_value)
    found = figures.estimates()
    assert found["mean"].value == pytest.approx(2.0)
    assert found["macro"].value == pytest.approx(3.5)
    pairs = user_values(user_totals(as_mean(values), users), mean_value)
    assert pairs.tolist() == [[1.0, 1.0], [6.0, 1.0]]


def test_user_macro_has_the_interval_of_the_users_means() -> None:
    users = [str(i // 5) for i in range(100)]
    values = np.random.default_rng(4).random(100)
    figures = ClusterEstimates(users)
    figures.add_user_macro("macro", as_mean(values.tolist()), mean_value)
    means = mean_value(user_totals(as_mean(values.tolist()), users))
    resampled = [means[drawn].mean() for drawn in draws(20, RESAMPLES, SEED)]
    found = figures.estimates("percentile")["macro"]
    assert (found.low, found.high) == pytest.approx(percentile_interval(np.array(resampled)), rel=1e-12)


def test_figures_do_not_depend_on_their_company() -> None:
    users = [str(i % 7) for i in range(30)]
    values = np.random.default_rng(6).integers(0, 9, 30).astype(float).tolist()
    alone, among = ClusterEstimates(users), ClusterEstimates(users)
    alone.add("x", as_mean(values))
    among.add("other", as_mean([1.0] * 30))
    among.add("x", as_mean(values))
    assert among.estimates()["x"] == alone.estimates()["x"]


def test_one_user_has_no_interval() -> None:
    scored = score_answers(["a", "abc"], ["", ""], ["me", "me"], (), [mean_metric()])
    found = scored.summaries["length@mine"]
    assert (found.value, found.low, found.high) == (2.0, None, None)
    assert found.user_macro is not None
    assert (found.user_macro.value, found.user_macro.low, found.user_macro.high) == (2.0, None, None)


def test_users_that_are_all_alike_have_no_interval() -> None:
    found = score_answers(["ab"] * 8, [""] * 8, list("stuvwxyz"), (), [mean_metric()]).summaries["length@mine"]
    assert (found.value, found.low, found.high, found.why) == (2.0, None, None, "all users alike")


@pytest.mark.parametrize("users", [1, 2, 5])
def test_too_few_users_have_no_interval_and_the_reason(users: int) -> None:
    figures = ClusterEstimates([str(user) for user in range(users) for _ in range(3)])
    figures.add("mean", as_mean(np.random.default_rng(0).random(3 * users).tolist()))
    figures.add("share", as_mean([1.0] * (3 * users)))
    for found in figures.estimates().values():
        assert (found.low, found.high, found.why) == (None, None, f"{users} user{'s' * (users > 1)}")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_without_exception_has_an_interval_with_width(share: float) -> None:
    """Bootstrap intervals of 60 right answers of 60 are [1, 1]."""
    users = [str(at // 5) for at in range(60)]
    figures = ClusterEstimates(users)
    figures.add("share", as_mean([share] * 60))
    found = figures.estimates()["share"]
    plain = figures.estimates("percentile")["share"]
    assert (plain.low, plain.high) == (share, share)
    assert found.low is not None and found.high is not None
    assert 0.2 < found.high - found.low < 0.35
    assert share in (found.low, found.high)


class Ratio:
    """A metric that is no mean, and undefined where nothing is counted."""

    name, higher_is_better, is_mean = "ratio@mine", True, False

    def statistics(self, pairs: Pairs) -> Floats:
        return np.array(
            [[float(len(answer)), float(len(gold))] for answer, gold in zip(pairs.answers, pairs.golds, strict=True)]
        )

    def value(self, totals: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(totals[..., 0] / totals[..., 1])


def test_a_corpus_metric_is_computed_from_summed_statistics() -> None:
    metrics: Sequence[Metric] = [Ratio()]
    scored = score_answers(["aaaa", "b"], ["x", "xxxx"], ["1", "2"], (), metrics)
    found = scored.summaries["ratio@mine"]
    assert found.value == 1.0
    assert (found.low, found.high, found.why) == (None, None, "2 users")
    assert found.user_macro is None
    assert scored.samples == [{}, {}]


def test_figures_that_do_not_exist_are_null() -> None:
    found = score_answers(["a", ""], ["", ""], ["1", "2"], (), [Ratio()]).summaries["ratio@mine"]
    assert (found.value, found.low, found.high) == (None, None, None)


def test_absent_values_count_for_nothing() -> None:
    assert as_mean([2.0, float("nan"), 0.0]).tolist() == [[2.0, 1.0], [0.0, 0.0], [0.0, 1.0]]
    assert float(mean_value(as_mean([2.0, float("nan"), 4.0]).sum(axis=0))) == 3.0
    assert np.isnan(mean_value(as_mean([float("nan")]).sum(axis=0)))


def test_retrieval_of_questions_without_known_items_counts_for_nothing() -> None:
    base = {"parsed": "whole", "cut": 0, "dropped": 0, "rewards": {}}
    seen = [{}, {"R@5": 1.0}, {"R@5": None}, {"R@5": 0.5}]
    records = [{**base, "retrieval": retrieval} for retrieval in seen]
    found = describe_samples(records, ["1", "2", "3", "4"])
    assert found["retrieval"]["R@5"].value == 0.75
    assert found["rewards"] == {}


def test_shares_count_failures_and_cut_prompts() -> None:
    rows = [(None, 0, 0), ("whole", 1, 0), ("whole", 0, 2), ("whole", 0, 0)]
    records = [{"parsed": p, "cut": c, "dropped": d, "rewards": {}, "retrieval": {}} for p, c, d in rows]
    shares = describe_samples(records, ["1", "2", "3", "4"])["shares"]
    assert (shares["parse_failures"].value, shares["truncated_prompts"].value) == (0.25, 0.5)


def coverage(trials: int, clustered: bool) -> float:
    """How often an interval holds the true mean of answers that are alike within a user.

    40 users with 1 to 12 questions each; a user's own mean varies as much as the answers around it.
    """
    rng = np.random.default_rng(20)
    hits = 0
    for _ in range(trials):
        sizes = rng.integers(1, 13, size=40)
        owner = np.repeat(np.arange(40), sizes)
        values = rng.normal(size=40)[owner] + rng.normal(size=len(owner))
        users = owner if clustered else np.arange(len(owner))
        totals = user_totals(as_mean(values.tolist()), [str(user) for user in users])
        low, high = percentile_interval(mean_value(bootstrap_totals(totals, 400)))
        hits += low <= 0.0 <= high
    return hits / trials


@pytest.mark.slow
def test_an_interval_over_users_covers_and_one_over_questions_does_not() -> None:
    assert 0.91 <= coverage(1000, clustered=True) <= 0.97
    assert coverage(1000, clustered=False) <= 0.75


def test_no_interval_goes_beyond_the_limits_of_a_metric() -> None:
    """Macro-F1 near 1: the correction of its bias would take the interval above."""
    rng = np.random.default_rng(3)
    users = [str(at // 3) for at in range(120)]
    golds = [str(each) for each in rng.integers(5, size=120)]
    answers = [gold if rng.random() < 0.97 else "0" for gold in golds]
    metrics: list[Metric] = [F1]
    found = score_answers(answers, golds, users, ("0", "1", "2", "3", "4"), metrics).summaries["f1@lamp"]
    assert found.low is not None and found.value is not None
    assert found.low < found.value < 1.0 and found.high == 1.0
