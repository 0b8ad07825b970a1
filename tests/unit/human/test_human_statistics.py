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
from sklearn.metrics import cohen_kappa_score
from support.human_data import export, judge, three, write_method
from support.made_results import sample, write_result

from prlm_bench.errors import DataError
from prlm_bench.human._agreement import (
    agreement,
    agreement_notes,
    cohen_value,
    fleiss_statistics,
    fleiss_value,
    krippendorff_alpha,
)
from prlm_bench.human._metrics import kendall_tau
from prlm_bench.human._preference import Comparison, Strengths, bradley_terry, strengths, win_rates
from prlm_bench.human._report import make_report, strength_notes
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


#: Fleiss (1971) as worked out in Fleiss, Levin and Paik and in many textbooks: 10 subjects, 14 raters, 5 categories.
FOURTEEN = (
    "0 0 0 0 14,0 2 6 4 2,0 0 3 5 6,0 3 9 2 0,2 2 8 1 1,7 7 0 0 0,3 2 6 3 0,2 5 3 2 2,6 5 2 1 0,0 2 2 3 7"
)  # fmt: skip


def test_fleiss_kappa_of_a_published_example() -> None:
    table = [[int(count) for count in row.split()] for row in FOURTEEN.split(",")]
    values = [[category for category, count in enumerate(row) for _ in range(count)] for row in table]
    assert float(fleiss_value(fleiss_statistics(values).sum(axis=0))) == pytest.approx(0.210, abs=5e-4)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_cohens_kappa_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    table = np.zeros((3, 3))
    for first, second in pairs:
        table["abc".index(first), "abc".index(second)] += 1
    found = float(cohen_value(table.ravel()))
    if len({value for pair in pairs for value in pair}) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))


def judged(rows: list[list[int]], each: int = 1) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Pairs with the choice of every annotator, `each` of them of one user."""
    units = {f"p{i}": {f"a{a}": value for a, value in enumerate(row)} for i, row in enumerate(rows)}
    return units, {f"p{i}": f"u{i // each}" for i in range(len(rows))}


def test_intervals_of_agreement_are_over_users() -> None:
    rows = [[i % 2, i % 2 if i < 200 else 0] for i in range(300)]
    by_user, alone = agreement(*judged(rows, 10)).alpha, agreement(*judged(rows)).alpha
    assert by_user.value == alone.value == pytest.approx(krippendorff_alpha(rows))
    assert by_user.high - by_user.low > 1.5 * (alone.high - alone.low)
    few = agreement(*judged(rows, 20))
    assert (few.alpha.value, few.alpha.low, few.alpha.why) == (by_user.value, None, "15 users")
    assert few.fleiss.why == few.cohen.why == few.cohens[0].kappa.why == "15 users"


def test_agreement_that_is_not_defined_says_why() -> None:
    nobody = agreement(*judged([[1], [2]]))
    assert (nobody.pairs, nobody.alpha.value, nobody.cohen.why) == (0, None, "no pair judged twice")
    same = agreement(*judged([[1, 1]] * 30))
    assert (same.observed.value, same.alpha.value, same.alpha.why) == (1, None, "only one choice was ever made")
    assert same.fleiss.why == same.cohen.why == same.cohens[0].kappa.why == "only one choice was ever made"


def test_cohens_kappa_of_several_annotators_is_the_mean_of_two_each() -> None:
    rng = np.random.default_rng(4)
    units, users = judged(rng.integers(3, size=(40, 3)).tolist())
    for pair in list(units)[:15]:
        del units[pair]["a2"]
    found = agreement(units, users)
    assert [(two.first, two.second, two.pairs) for two in found.cohens] == [
        ("a0", "a1", 40),
        ("a0", "a2", 25),
        ("a1", "a2", 25),
    ]
    mean = np.average([two.kappa.value for two in found.cohens], weights=[40, 25, 25])
    assert found.cohen.value == pytest.approx(mean)


def test_what_to_read_where_measures_of_agreement_disagree() -> None:
    one_sided = agreement(*judged([[0, 0]] * 90 + [[0, 1], [1, 0]] * 5))
    (note,) = agreement_notes(one_sided)
    assert one_sided.observed.value == 0.9 and one_sided.alpha.value < 0
    assert "agree on 90 %, but 95 % of all choices are the same one" in note
    rates = agreement(*judged([[1, 1]] * 20 + [[1, 2]] * 40 + [[2, 2]] * 40))
    (note,) = agreement_notes(rates)
    assert rates.cohen.value > rates.fleiss.value + 0.05
    assert "different rates" in note
    assert agreement_notes(agreement(*judged([[1, 1], [2, 2], [1, 2], [2, 1]] * 10))) == []


def planted(
    logs: list[float], users: int = 80, each: int = 10, tie: float = 0.1, seed: int = 0, annotators: int = 4
) -> list[Comparison]:
    """Judgements drawn by the Bradley-Terry model, some of them tied."""
    rng = np.random.default_rng(seed)
    found = []
    for user in range(users):
        for number in range(each):
            first, second = map(int, rng.permutation(len(logs))[:2])
            wins = rng.random() < 1 / (1 + math.exp(logs[second] - logs[first]))
            score = 0.5 if rng.random() < tie else float(wins)
            found.append(Comparison(f"u{user}", f"a{(user + number) % annotators}", first, second, score))
    return found


def won(first: int, second: int, score: float = 1.0, users: int = 10, annotators: int = 3) -> list[Comparison]:
    """All annotators judge a pair of each user alike."""
    return [Comparison(f"u{u}", f"a{a}", first, second, score) for u in range(users) for a in range(annotators)]


def test_a_planted_preference_is_recovered() -> None:
    logs = [0.8, 0.1, -0.9]
    found = strengths(planted(logs, tie=0.0), 3)
    assert (found.groups, found.one_way) == ([[0, 1, 2]], [])
    assert np.mean([estimate.value for estimate in found.values]) == pytest.approx(0)
    for true, estimate in zip(logs, found.values, strict=True):
        assert estimate.low < true < estimate.high
        assert abs(estimate.value - true) < 0.15


@pytest.mark.parametrize("prior", [0.5, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_strengths_have_the_highest_posterior_density(seed: int, prior: float) -> None:
    rng = np.random.default_rng(seed)
    wins = rng.integers(0, 20, size=(4, 4)).astype(float) * (1 - np.eye(4))
    wins[0, 1:], wins[1:, 0] = 40, 0  # one wins always

    def loss(logs: np.ndarray) -> float:
        lost = sum(w * np.logaddexp(0, logs[j] - logs[i]) for (i, j), w in np.ndenumerate(wins))
        return float(lost + prior * np.sum(np.logaddexp(0, logs) + np.logaddexp(0, -logs)))

    best = minimize(loss, np.zeros(4), tol=1e-12).x
    both = bradley_terry(np.stack([wins, wins.T]), prior=prior)
    assert both[0] == pytest.approx(best, abs=1e-3)
    assert both[1] == pytest.approx(-both[0], abs=1e-6)


def test_ten_wins_of_ten_are_no_certainty() -> None:
    rows = won(0, 1)
    first, second = strengths(rows, 2).values
    assert first.value == -second.value < 3
    assert (first.low, first.high, first.why) == (None, None, "rests on the prior")
    against_all, _, pair = win_rates(rows, 2)
    assert pair.rate == against_all.rate
    assert pair.rate.value == pair.rate.high == 1
    assert 0.6 < pair.rate.low < 0.7  # ten users, not 30 judgements
    alone = win_rates(won(0, 1, annotators=1), 2)[2].rate
    assert (alone.value, alone.low, alone.why) == (1, None, "1 annotator")
    few = win_rates(won(0, 1, users=5, annotators=2), 2)[2].rate
    assert (few.low, few.why) == (None, "2 annotators, 5 users")


def test_strengths_without_spread_have_no_interval() -> None:
    for estimate in strengths(won(0, 1, 0.5), 2).values:
        assert (estimate.value, estimate.low, estimate.why) == (0, None, "all users and annotators alike")
    rate = win_rates(won(0, 1, 0.5), 2)[2].rate
    assert rate.low < 0.25 < 0.75 < rate.high


def test_methods_that_judgements_do_not_connect_are_grouped() -> None:
    mixed = [*planted([0.5, -0.5]), *(Comparison(c.user, c.annotator, 3, 4, c.score) for c in planted([1.0, -1.0]))]
    found = strengths(mixed, 6)
    assert (found.groups, found.one_way) == ([[0, 1], [3, 4]], [])
    values = [estimate.value for estimate in found.values]
    assert values[0] + values[1] == values[3] + values[4] == pytest.approx(0)
    assert (found.values[2].value, found.values[2].why) == (None, "not judged")
    assert all(found.values[method].low < found.values[method].value for method in (0, 1, 3, 4))
    assert strengths([], 2).values[0].value is None


def test_methods_that_never_lose_to_others_rest_on_the_prior() -> None:
    rows = [*planted([0.5, -0.5]), *won(0, 2), *won(3, 4), *won(4, 5)]
    found = strengths(rows, 6)
    assert found.groups == [[0, 1, 2], [3, 4, 5]]
    assert found.one_way == [[[0, 1], [2]], [[3], [4], [5]]]
    assert {estimate.why for estimate in found.values} == {"rests on the prior"}
    assert np.isfinite([estimate.value for estimate in found.values]).all()


def test_a_report_says_what_strengths_do_not_tell(tmp_path: Path) -> None:
    made = export(three(tmp_path), n=60)
    places = made.key.pairs
    better = judge(made.key, "A", lambda pair: 1 if places[pair].first < places[pair].second else 2)
    good, fair, poor = (method.name for method in made.key.methods)
    (note,) = make_report(better, made.key).notes
    assert note.startswith("none of these was ever preferred to one before it")
    assert note.endswith(f"(one tie of each method with an average one): {good}; {fair}; {poor}")
    apart = Strengths([], [[0, 1], [2, 3]])
    assert strength_notes(apart, ["a", "b", "c", "d"]) == [
        "no judgement connects these groups of methods, so strengths compare only within each: a and b; c and d"
    ]
    two = [j for j in better if 2 not in (places[j.pair].first, places[j.pair].second)]
    assert make_report(two, made.key).strengths[2].why == "not judged"


def test_win_rates_count_ties_as_half() -> None:
    rows = [
        Comparison("a", "x", 0, 1, 1.0),
        Comparison("a", "x", 1, 0, 0.0),
        Comparison("b", "y", 1, 0, 0.5),
        Comparison("c", "x", 0, 1, 0.0),
    ]
    against_all, other, pair = win_rates(rows, 2)
    assert (pair.first, pair.second, pair.wins, pair.ties, pair.losses, pair.users) == (0, 1, 2, 1, 1, 3)
    assert pair.annotators == 2
    assert pair.rate.value == pytest.approx(2.5 / 4)
    assert (against_all.second, against_all.rate.value, other.rate.value) == (None, 0.625, 0.375)
    assert len(win_rates(rows, 3)) == 3  # the third has nothing to report


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
    assert (report.agreement.alpha.value, report.agreement.pairs) == (1, 60)
    assert [(a.name, a.judgements, a.checks, a.failed, a.dropped) for a in report.annotators] == [
        ("Ann", 63, 3, 0, False),
        ("Bob", 63, 3, 0, False),
    ]
    rates = {(w.first, w.second): w.rate.value for w in report.win_rates}
    assert (rates[0, None], rates[2, None], rates[0, 1], rates[1, 2]) == (1, 0, 1, 1)
    values = [strength.value for strength in report.strengths]
    assert values == sorted(values, reverse=True)
    metrics = {metric.metric: metric for metric in report.metrics}
    assert (metrics["rouge1@lamp"].n, metrics["rouge1@lamp"].accuracy.value) == (120, 1)
    assert metrics["rouge1@lamp"].tau.value > 0.5
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
    assert (metric.n, metric.tied, metric.accuracy.value, metric.tau.value) == (10, 10, 0.5, None)
    assert metric.tau.why == "no difference"


def test_judgements_without_a_preference_say_nothing_of_metrics(tmp_path: Path) -> None:
    results = three(tmp_path)
    made = export(results, n=10)
    report = make_report(judge(made.key, "A", lambda pair: 0), made.key, results)
    assert all((metric.n, metric.accuracy.value, metric.tau.value) == (0, None, None) for metric in report.metrics)
    assert {metric.accuracy.why for metric in report.metrics} == {"no judgement prefers an answer"}
    assert {metric.tau.why for metric in report.metrics} == {"no pair is preferred on the whole"}


def test_a_metric_agrees_with_half_of_the_people_who_disagree(tmp_path: Path) -> None:
    results = three(tmp_path)
    made = export(results, n=10)
    split = judge(made.key, "A", lambda pair: 1) + judge(made.key, "B", lambda pair: 2)
    report = make_report(split, made.key, results)
    assert all((metric.n, metric.accuracy.value, metric.tau.value) == (20, 0.5, None) for metric in report.metrics)
    assert report.agreement.alpha.value < 0


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
    assert (dropped.judgements, dropped.agreement.alpha.value) == (20, None)
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
    figures = [plain["win_rates"][0]["rate"], plain["agreement"]["alpha"], plain["metrics"][0]["tau"]]
    assert [sorted(figure) for figure in figures] == [["high", "low", "value", "why"]] * 3
    assert [figure["why"] for figure in figures] == ["1 annotator", "no pair judged twice", "1 annotator"]
    assert plain["prior"] == "one tie of each method with an average one"
    assert {len(plain["strengths"]), len(plain["methods"])} == {3}
    assert plain["metrics"][0]["accuracy"]["value"] is not None
    assert len(list(combinations(range(3), 2))) + 3 == len(plain["win_rates"])
