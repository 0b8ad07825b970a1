"""Intervals of judgements hold their level whoever judged what: over users and annotators, by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.human_data import export, judge, three

from prlm_bench.human._agreement import Agreement, agreement
from prlm_bench.human._estimates import Crossed, share
from prlm_bench.human._metrics import Preferred, tau_estimate
from prlm_bench.human._preference import Comparison, bradley_terry, strengths
from prlm_bench.human._report import make_report
from prlm_bench.results import Estimate, as_mean, mean_value
from prlm_bench.stats import Floats

Design = tuple[np.ndarray, np.ndarray]
NORMALS = np.random.default_rng(9).normal(size=200_000)


def everyone(users: int, annotators: int) -> Design:
    """Every annotator judges a pair of every user."""
    return np.repeat(np.arange(users), annotators), np.tile(np.arange(annotators), users)


def one_each(users: int, annotators: int) -> Design:
    """Every user is judged by one annotator."""
    return np.arange(users), np.arange(users) % annotators


def two_each(users: int, annotators: int) -> Design:
    """Every user has two pairs, each judged by two annotators."""
    places = np.arange(users * 4)
    return places // 4, (places // 4 * 3 + places % 4 // 2 * 2 + places % 2) % annotators


def uneven(users: int, annotators: int) -> Design:
    """The first annotator judges all users, the last a fifth of them."""
    judged = np.random.default_rng(0).random((users, annotators)) < np.linspace(1, 0.2, annotators)
    return np.nonzero(judged)


def themselves(users: int, annotators: int) -> Design:
    """Every user judges five own pairs."""
    return np.repeat(np.arange(users), 5), np.repeat(np.arange(users), 5)


def coverage(found: list[Estimate], true: float) -> float:
    assert all(not estimate.why for estimate in found)
    return float(np.mean([estimate.low <= true <= estimate.high for estimate in found]))


def rates(
    design: Design, middle: float, of_users: float, of_annotators: float, runs: int
) -> tuple[list[Estimate], float]:
    """Win rates of simulated judgements, whose logits vary between users and annotators, and the true one."""
    users, annotators = design
    rng = np.random.default_rng(len(users))
    names = [f"u{user}" for user in users], [f"a{annotator}" for annotator in annotators]
    found = []
    for _ in range(runs):
        effects = rng.normal(size=users.max() + 1) * of_users, rng.normal(size=annotators.max() + 1) * of_annotators
        chance = 1 / (1 + np.exp(-(middle + effects[0][users] + effects[1][annotators])))
        found.append(share((rng.random(len(users)) < chance).astype(float).tolist(), *names))
    spread = math.hypot(of_users, of_annotators)
    return found, float(np.mean(1 / (1 + np.exp(-(middle + spread * NORMALS)))))


@pytest.mark.parametrize("annotators", [3, 5, 10])
@pytest.mark.parametrize("users", [20, 100])
def test_win_rates_hold_their_level_with_few_annotators(users: int, annotators: int) -> None:
    # Over users alone it is 57 % with 3 annotators and 100 users, 89 % with 10 and 20.
    found, true = rates(everyone(users, annotators), 0.3, 0.8, 0.6, runs=300)
    assert 0.92 <= coverage(found, true) <= 0.98


@pytest.mark.parametrize(
    ("design", "users", "annotators"), [(one_each, 100, 8), (two_each, 50, 6), (uneven, 60, 6), (themselves, 30, 30)]
)
def test_win_rates_hold_their_level_whoever_judged_whom(
    design: Callable[[int, int], Design], users: int, annotators: int
) -> None:
    found, true = rates(design(users, annotators), 0.3, 0.8, 0.6, runs=400)
    assert 0.92 <= coverage(found, true) <= 0.99


def test_win_rates_near_1_hold_their_level() -> None:
    found, true = rates(everyone(100, 5), 3.0, 0.8, 0.8, runs=400)
    assert true > 0.9
    assert 0.91 <= coverage(found, true) <= 0.99


def test_the_variance_of_a_mean_is_that_of_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(2)
    users, annotators = 12, 5
    table = rng.normal(size=(users, 1)) + 2 * rng.normal(size=annotators) + rng.normal(size=(users, annotators))
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    squares = (
        annotators * table.mean(axis=1).var(ddof=1),
        users * table.mean(axis=0).var(ddof=1),
        np.sum(rest**2) / ((users - 1) * (annotators - 1)),
    )
    who = everyone(users, annotators)
    crossed = Crossed([str(user) for user in who[0]], [str(annotator) for annotator in who[1]])
    (found,) = crossed.spread(as_mean(table.ravel().tolist()), mean_value)
    assert found.variance == pytest.approx((squares[0] + squares[1] - squares[2]) / table.size)


def test_the_order_and_names_of_judgements_do_not_move_an_interval() -> None:
    rng = np.random.default_rng(5)
    users, annotators = everyone(20, 4)
    scores = rng.integers(2, size=80).astype(float)
    plain = share(scores.tolist(), [f"u{u}" for u in users], [f"a{a}" for a in annotators])
    order = rng.permutation(80)
    moved = share(scores[order].tolist(), [f"x{u}" for u in users[order]], [f"y{a}" for a in annotators[order]])
    assert (moved.low, moved.high) == pytest.approx((plain.low, plain.high))


def drawn(logs: Floats, users: int, annotators: int, rng: np.random.Generator) -> list[Comparison]:
    """Every annotator judges a pair of every user; users and annotators each have their own strengths of methods."""
    methods = len(logs)
    own, theirs = rng.normal(size=(users, methods)) * 0.5, rng.normal(size=(annotators, methods)) * 0.3
    found = []
    for user in range(users):
        first, second = map(int, rng.permutation(methods)[:2])
        for annotator in range(annotators):
            values = logs + own[user] + theirs[annotator]
            wins = rng.random() < 1 / (1 + math.exp(values[second] - values[first]))
            found.append(Comparison(f"u{user}", f"a{annotator}", first, second, float(wins)))
    return found


@pytest.mark.parametrize(("users", "annotators"), [(40, 3), (60, 6)])
def test_strengths_hold_their_level(users: int, annotators: int) -> None:
    logs, runs = np.array([0.8, 0.1, -0.9]), 120
    noise = NORMALS[:150_000].reshape(-1, 3) * math.hypot(0.5, 0.3)
    gaps = (logs + noise)[:, :, None] - (logs + noise)[:, None, :]
    true = bradley_terry((1e4 / (1 + np.exp(-gaps))).mean(axis=0)[None] * (1 - np.eye(3)))[0]
    rng = np.random.default_rng(users)
    found = [strengths(drawn(logs, users, annotators, rng), 3).values for _ in range(runs)]
    each = [coverage([values[method] for values in found], float(true[method])) for method in range(3)]
    assert 0.92 <= np.mean(each) <= 0.995


@pytest.mark.parametrize(("users", "pairs", "error"), [(20, 3, 0.05), (40, 1, 0.03), (60, 1, 0.3)])
def test_alpha_and_kappas_hold_their_level_near_1_and_below(users: int, pairs: int, error: float) -> None:
    # With error .03 the sign-flip interval of pseudo-values gives 89 %.
    rng = np.random.default_rng(users)
    annotators = error * np.array([0.4, 1.0, 1.6])

    def choices(count: int) -> np.ndarray:
        truth = rng.integers(2, size=(count, 1)).repeat(3, axis=1)
        return np.where(rng.random((count, 3)) < annotators, 1 - truth, truth)

    def found(count: int) -> Agreement:
        units = {f"p{i}": {f"a{a}": int(c) for a, c in enumerate(row)} for i, row in enumerate(choices(count))}
        return agreement(units, {f"p{i}": f"u{i % users}" for i in range(count)})

    true, runs = found(20_000), [found(users * pairs) for _ in range(150)]
    for name in ("observed", "alpha", "fleiss", "cohen"):
        assert 0.91 <= coverage([getattr(run, name) for run in runs], getattr(true, name).value) <= 0.995, name


def test_tau_holds_its_level() -> None:
    rng = np.random.default_rng(6)

    def found(users: int, annotators: int) -> Estimate:
        own, theirs = 0.5 * rng.normal(size=users), 0.5 * rng.normal(size=annotators)
        gaps = rng.normal(size=users)
        wins = rng.random((users, annotators)) < 1 / (1 + np.exp(-gaps[:, None] * (1 + own[:, None] + theirs)))
        judged = [
            Preferred(f"p{u}", f"q{u}", f"u{u}", f"a{a}", 0, 1, 1 if wins[u, a] else -1)
            for u in range(users)
            for a in range(annotators)
        ]
        return tau_estimate(judged, np.repeat(gaps, annotators))

    true = float(np.mean([found(200, 4).value for _ in range(30)]))
    assert coverage([found(30, 4) for _ in range(60)], true) >= 0.88


def test_agreement_with_a_metric_needs_annotators_and_users(tmp_path: Path) -> None:
    results = three(tmp_path)
    made = export(results, n=60)
    rng = np.random.default_rng(0)

    def often(pair: str) -> int:
        place = made.key.pairs[pair]
        return 1 if (place.first < place.second) == (rng.random() < 0.8) else 2

    judgements = [judgement for name in "ABCD" for judgement in judge(made.key, name, often)]
    metric = make_report(judgements, made.key, results).metrics[0]
    assert metric.accuracy.low < metric.accuracy.value < metric.accuracy.high
    assert metric.tau.low < metric.tau.value < metric.tau.high
    two = make_report([j for j in judgements if j.annotator in "AB"], made.key, results).metrics[0]
    assert two.accuracy.why == two.tau.why == "2 annotators"
