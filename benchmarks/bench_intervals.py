"""Intervals over users: 10 000 draws of 20 000 samples in 8 metrics, in less than 10 seconds on two cores.

    pytest benchmarks/bench_intervals.py --benchmark-only

The hardest case is the user split of LaMP, where every question is a user of its own. A draw of users (a split, or a
resample) is a vector of weights, and all metrics are sums by user, so that the work is one product of matrices in
blocks. The bootstrap is compared with drawing users and adding up their rows, resample by resample, on the same draws;
both give the same intervals. The last benchmark is a paired test with as many splits.
"""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np
import pytest

from prlm_bench.results import mean_value
from prlm_bench.stats import INTERVALS, SEED, Floats, Resampled, paired_difference, percentile_interval, user_totals

SAMPLES, METRICS, RESAMPLES = 20_000, 8, 10_000
#: Seconds, and megabytes above what the process had before.
SECONDS, MEGABYTES = 10.0, 200
#: The slow way is timed on fewer resamples.
FEW = 500


def statistics(users: int) -> Floats:
    """(score, 1) of 8 metrics by user."""
    rng = np.random.default_rng(0)
    columns = [each for _ in range(METRICS) for each in (rng.random(SAMPLES), np.ones(SAMPLES))]
    return user_totals(np.stack(columns, axis=1), [str(at % users) for at in range(SAMPLES)])


def intervals(totals: Floats, kind: Any, draws: int) -> list[tuple[float, float]]:
    drawn = Resampled(totals, totals[:, 1], flips=draws, resamples=draws)
    bounds = [drawn.bounds(slice(2 * at, 2 * at + 2), mean_value, "mean", kind) for at in range(METRICS)]
    return [(each.low, each.high) for each in bounds]


def one_by_one(totals: Floats, resamples: int) -> list[tuple[float, float]]:
    generator = np.random.default_rng(SEED)
    rows = np.stack([totals[generator.integers(len(totals), size=len(totals))].sum(axis=0) for _ in range(resamples)])
    places = [slice(2 * at, 2 * at + 2) for at in range(METRICS)]
    return [percentile_interval(mean_value(rows[:, place])) for place in places]


@pytest.mark.parametrize("kind", INTERVALS)
@pytest.mark.parametrize("users", [SAMPLES, 2000])
def test_intervals_take_less_than_ten_seconds(benchmark: Any, users: int, kind: str) -> None:
    totals = statistics(users)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = benchmark.pedantic(intervals, args=(totals, kind, RESAMPLES), rounds=3)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert all(low < 0.5 + 0.02 and high > 0.5 - 0.02 for low, high in found)
    benchmark.extra_info["megabytes above"] = round(grown, 1)
    assert benchmark.stats.stats.max < SECONDS
    assert grown < MEGABYTES


def test_they_are_those_of_drawing_user_by_user(benchmark: Any) -> None:
    totals = statistics(SAMPLES)
    found = benchmark.pedantic(intervals, args=(totals, "percentile", FEW), rounds=5)
    start = time.perf_counter()
    expected = one_by_one(totals, FEW)
    ratio = (time.perf_counter() - start) / benchmark.stats.stats.min
    benchmark.extra_info["times"] = round(ratio, 1)
    assert np.allclose(found, expected, rtol=1e-12)
    print(f"\n{ratio:.1f} times as fast as user by user")


def test_a_paired_test_takes_less_than_ten_seconds(benchmark: Any) -> None:
    totals = statistics(SAMPLES)
    first, second = [totals[:, :2]], [totals[:, 2:4]]
    found = benchmark.pedantic(
        paired_difference, args=(first, second, mean_value, totals[:, 1]), kwargs={"flips": RESAMPLES}, rounds=3
    )
    assert found.low < 0 < found.high or found.p < 0.05
    assert benchmark.stats.stats.max < SECONDS
