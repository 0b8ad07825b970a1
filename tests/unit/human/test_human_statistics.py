"""Agreement, win rates, strengths and the metrics' agreement with people: known values and planted truths."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize
from support.human_data import export, judge, three, write_method
from support.made_results import sample, write_result

from prlm_bench.errors import DataError
from prlm_bench.human._agreement import alpha_estimate, krippendorff_alpha
from prlm_bench.human._metrics import kendall_tau
from prlm_bench.human._preference import Comparison, bradley_terry, strengths, win_rates
from prlm_bench.human._report import make_report
from prlm_bench.human._schema import Judgement
from prlm_bench.results import load_folders

#: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: four observers, twelve units.
OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
#: The same, example A: two observers, ten units, two categories.
TWO = ("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0")


def units(observers: tuple[str, ...]) -> list[list[str]]:
    return [[value for value in values if value != "."] for values in zip(*map(str.split, observers), strict=True)]


def test_alpha_of_published_examples() -> None:
    assert krippendorff_alpha(units(OBSERVERS)) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(units(TWO)) == pytest.approx(0.095, abs=5e-4)


def alpha_by_coincidences(values: list[list[str]]) -> float:
    """Observed and expected disagreement from the matrix of coincidences, as the source defines them."""
    names = sorted({value for unit in values for value in unit})
    matrix = np.zeros((len(names), len(names)))
    for unit in values:
        for first in range(len(unit)):
            for second in range(len(unit)):
                if first != second:
                    matrix[names.index(unit[first]), names.index(unit[second])] += 1 / (len(unit) - 1)
    totals, n = matrix.sum(axis=0), matrix.sum()
    apart = 1 - np.eye(len(names))
    expected = np.sum(np.outer(totals, totals) * apart) / (n * (n - 1))
    return float(1 - np.sum(matrix * apart) / n / expected)


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=4), min_size=2, max_size=8))
@settings(max_examples=100, deadline=None)
def test_alpha_is_what_its_definition_says(values: list[list[str]]) -> None:
    paired = [unit for unit in values if len(unit) > 1]
    found = krippendorff_alpha(values)
    if len({value for unit in paired for value in unit}) < 2:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(alpha_by_coincidences(values))


def test_alpha_is_1_for_identical_and_about_0_for_random_annotators() -> None:
    rng = np.random.default_rng(1)
    choices = rng.integers(3, size=(4000, 3)).tolist()
    assert krippendorff_alpha([[a, a, a] for a, _, _ in choices]) == 1
    assert abs(krippendorff_alpha(choices)) < 0.03
    assert krippendorff_alpha([[a, 1 - a] for a in (0, 1, 0, 1)]) < 0


def test_alphas_interval_resamples_users() -> None:
    values = {f"p{i}": [i % 2, i % 2 if i < 40 else 0] for i in range(60)}
    by_user = alpha_estimate(values, {unit: f"u{int(unit[1:]) // 10}" for unit in values})
    alone = alpha_estimate(values, {unit: unit for unit in values})
    assert by_user.value == alone.value == pytest.approx(krippendorff_alpha(list(values.values())))
    assert by_user.high - by_user.low > alone.high - alone.low
    one = alpha_estimate(values, dict.fromkeys(values, "u"))
    assert (one.value, one.low, one.high) == (by_user.value, None, None)
    assert alpha_estimate({}, {}).value is None
    assert alpha_estimate({"p": [1, 1]}, {"p": "u"}).value is None


def planted(logs: list[float], users: int = 80, each: int = 10, tie: float = 0.1, seed: int = 0) -> list[Comparison]:
    """Judgements drawn by the Bradley-Terry model, some of them tied."""
    rng = np.random.default_rng(seed)
    found = []
    for user in range(users):
        for _ in range(each):
            first, second = map(int, rng.permutation(len(logs))[:2])
            wins = rng.random() < 1 / (1 + math.exp(logs[second] - logs[first]))
            found.append(Comparison(f"u{user}", first, second, 0.5 if rng.random() < tie else float(wins)))
    return found


def test_a_planted_preference_is_recovered() -> None:
    logs = [0.8, 0.1, -0.9]
    found = strengths(planted(logs, tie=0.0), 3)
    assert np.mean([estimate.value for estimate in found]) == pytest.approx(0)
    for true, estimate in zip(logs, found, strict=True):
        assert estimate.low < true < estimate.high
        assert abs(estimate.value - true) < 0.15


def test_equal_methods_are_not_told_apart() -> None:
    inside = 0
    for seed in range(40):
        (first, _) = strengths(planted([0.0, 0.0], users=40, each=3, seed=seed), 2)
        inside += first.low <= 0 <= first.high
    assert inside >= 34  # 38 of 40 are expected at 95 %


@pytest.mark.parametrize("seed", range(3))
def test_strengths_have_the_highest_likelihood(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wins = rng.integers(1, 20, size=(4, 4)).astype(float) * (1 - np.eye(4))

    def loss(logs: np.ndarray) -> float:
        return float(sum(w * np.logaddexp(0, logs[j] - logs[i]) for (i, j), w in np.ndenumerate(wins)))

    best = minimize(loss, np.zeros(4), tol=1e-10).x
    assert bradley_terry(wins[None])[0] == pytest.approx(best - best.mean(), abs=1e-4)


def test_strengths_exist_where_a_method_wins_always() -> None:
    rows = [Comparison(f"u{i}", 0, 1, 1.0) for i in range(20)]
    first, second = strengths(rows, 2)
    assert first.value == pytest.approx(-second.value)
    assert first.value == pytest.approx(math.log(20.5 / 0.5) / 2, abs=1e-4)
    assert strengths(rows, 3)[2].value is None  # nobody compared the third
    assert strengths([], 2)[0].value is None
    alone = strengths([Comparison("u", 0, 1, 1.0)], 2)[0]
    assert alone.value is not None and alone.low is None


def test_win_rates_count_ties_as_half_and_users_as_clusters() -> None:
    rows = [
        Comparison("a", 0, 1, 1.0),
        Comparison("a", 1, 0, 0.0),
        Comparison("b", 1, 0, 0.5),
        Comparison("c", 0, 1, 0.0),
    ]
    against_all, other, pair = win_rates(rows, 2)
    assert (pair.first, pair.second, pair.wins, pair.ties, pair.losses, pair.users) == (0, 1, 2, 1, 1, 3)
    assert pair.rate.value == pytest.approx(2.5 / 4)
    assert (against_all.second, against_all.rate.value, other.rate.value) == (None, 0.625, 0.375)
    assert pair.rate.low == 0 and pair.rate.high == 1
    assert len(win_rates(rows, 3)) == 3  # the third has nothing to report


def test_a_planted_win_rate_is_inside_its_interval() -> None:
    chance = 1 / (1 + math.exp(-1))
    inside = 0
    for seed in range(40):
        _, _, pair = win_rates(planted([0.5, -0.5], users=40, each=3, tie=0.0, seed=seed), 2)
        inside += pair.rate.low <= chance <= pair.rate.high
    assert inside >= 34


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-3, 3)), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_tau_counts_each_pair_in_both_directions(pairs: list[tuple[int, int]]) -> None:
    points = [*pairs, *((-x, -y) for x, y in pairs)]
    signs = [(np.sign(a - x), np.sign(b - y)) for (a, b), (x, y) in combinations(points, 2)]
    untied = [sum(sign[side] != 0 for sign in signs) for side in (0, 1)]
    found = kendall_tau(*zip(*pairs, strict=True))
    if 0 in untied:
        assert found is None
    else:
        assert found == pytest.approx(sum(x * y for x, y in signs) / math.sqrt(untied[0] * untied[1]))


def test_tau_does_not_depend_on_which_answer_stands_first() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 700))
    signs = rng.choice([-1, 1], size=700)
    assert kendall_tau(list(x), list(y + x)) == pytest.approx(kendall_tau(list(signs * x), list(signs * (y + x))))


def test_a_report_on_people_who_always_prefer_the_better_method(tmp_path: Path) -> None:
    results = three(tmp_path)
    made = export(results, n=60, checks=3)

    def better(pair: str) -> int:
        place = made.key.pairs[pair]
        return 1 if place.first < place.second else 2

    judgements = [j for name in ("Ann", "Bob") for j in judge(made.key, name, better)]
    report = make_report(judgements, made.key, results)
    assert (report.pairs, report.pairs_total, report.judgements) == (60, 60, 120)
    assert (report.alpha.value, report.alpha_pairs) == (1, 60)
    assert [(a.name, a.judgements, a.checks, a.failed, a.dropped) for a in report.annotators] == [
        ("Ann", 63, 3, 0, False),
        ("Bob", 63, 3, 0, False),
    ]
    rates = {(w.first, w.second): w.rate.value for w in report.win_rates}
    assert (rates[0, None], rates[2, None], rates[0, 1], rates[1, 2]) == (1, 0, 1, 1)
    values = [strength.value for strength in report.strengths]
    assert values == sorted(values, reverse=True)
    metrics = {metric.metric: metric for metric in report.metrics}
    assert (metrics["rouge1@lamp"].n, metrics["rouge1@lamp"].accuracy.value) == (60, 1)
    assert metrics["rouge1@lamp"].tau > 0.5
    assert metrics["reward length"].accuracy.value > 0.5
    assert make_report(judgements, made.key).metrics is None


def test_a_metric_of_which_lower_is_better_is_turned(tmp_path: Path) -> None:
    names = ["mae@lamp", "rmse@lamp"]
    folders = []
    for name, answer in (("near", "3"), ("far", "5")):
        samples = [sample(f"q{i}", f"u{i}", answer, "2") for i in range(12)]
        folders.append(write_result(tmp_path, samples, retriever=name, task="lamp_3", metrics=names))
    results = load_folders(folders)
    made = export(results, n=12)
    report = make_report(judge(made.key, "A", lambda p: 1 if made.key.pairs[p].first == 0 else 2), made.key, results)
    (metric,) = report.metrics  # rmse has no value for a single answer
    assert (metric.metric, metric.n, metric.accuracy.value) == ("mae@lamp", 12, 1)


def test_a_metric_that_is_tied_agrees_half(tmp_path: Path) -> None:
    results = load_folders([write_method(tmp_path, name, lambda i, name=name: name, n=10) for name in ("a", "b")])
    made = export(results, n=10)
    report = make_report(judge(made.key, "A", lambda pair: 1), made.key, results)
    metric = next(metric for metric in report.metrics if metric.metric == "rouge1@lamp")
    assert (metric.n, metric.tied, metric.accuracy.value, metric.tau) == (10, 10, 0.5, None)


def test_pairs_that_people_leave_tied_say_nothing_of_metrics(tmp_path: Path) -> None:
    results = three(tmp_path)
    made = export(results, n=10)
    split = judge(made.key, "A", lambda pair: 1) + judge(made.key, "B", lambda pair: 2)
    report = make_report(split, made.key, results)
    assert all((metric.n, metric.accuracy.value, metric.tau) == (0, None, None) for metric in report.metrics)
    assert report.alpha.value < 0


def test_annotators_who_fail_checks_are_reported_and_dropped_on_demand(tmp_path: Path) -> None:
    made = export(three(tmp_path), n=20, checks=4)
    careless = [
        Judgement(j.pair, "careless", 0 if made.key.pairs[j.pair].right else j.choice)
        for j in judge(made.key, "careless", lambda pair: 2)
    ]
    judgements = judge(made.key, "careful", lambda pair: 1) + careless
    kept = make_report(judgements, made.key)
    assert [(a.name, a.failed, a.dropped) for a in kept.annotators] == [("careful", 0, False), ("careless", 4, False)]
    assert kept.judgements == 40
    dropped = make_report(judgements, made.key, drop_failed=True)
    assert [(a.name, a.first, a.second, a.neither, a.dropped) for a in dropped.annotators] == [
        ("careful", 20, 0, 0, False),
        ("careless", 0, 20, 0, True),
    ]
    assert (dropped.judgements, dropped.alpha.value) == (20, None)
    with pytest.raises(DataError, match="all annotators failed an attention check"):
        make_report(careless, made.key, drop_failed=True)


def test_results_that_are_not_there_are_named(tmp_path: Path) -> None:
    results = three(tmp_path)
    made = export(results, n=5)
    with pytest.raises(DataError, match=r"no result of poor × k=4 × direct × copy \(.{8}\)"):
        make_report(judge(made.key, "A", lambda pair: 1), made.key, results[:2])


def test_a_report_is_plain_json(tmp_path: Path) -> None:
    results = three(tmp_path)
    made = export(results, n=30)
    choices = {pair: number % 3 for number, pair in enumerate(made.key.pairs)}
    plain = make_report(judge(made.key, "A", choices.__getitem__), made.key, results).to_json()
    assert orjson.loads(orjson.dumps(plain)) == plain
    assert set(plain["win_rates"][0]["rate"]) == set(plain["alpha"]) == {"value", "low", "high"}
    assert {len(plain["strengths"]), len(plain["methods"])} == {3}
    assert plain["metrics"][0]["accuracy"]["value"] is not None
    assert len(list(combinations(range(3), 2))) + 3 == len(plain["win_rates"])
