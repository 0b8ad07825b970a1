"""Several seeds of a method are one row, and what varies between seeds is kept apart from what varies between users."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats
from support.made_results import sample, write_result

from prlm_bench.errors import DataError
from prlm_bench.host import PluginHost
from prlm_bench.report import SeedAggregation, build_tables, render
from prlm_bench.report._text import BOOTSTRAP, SEEDS, columns, legend
from prlm_bench.results import Stored, as_mean, find_results, mean_value, seed_groups
from prlm_bench.stats import bca_interval, bootstrap_totals, user_totals, variance_components

METRICS = ("mae@lamp", "rmse@lamp")
USERS = [f"u{i // 3}" for i in range(36)]


def ratings(seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        sample(f"q{i}", user, str(rng.integers(1, 6)), str(1 + i % 5), parsed=None if i % 7 == seed else "whole",
               cut=int(i % 5 == 0), rewards={"r": float(rng.random())}, retrieval={"R@5": 1.0} if i % 2 else {})
        for i, user in enumerate(USERS)
    ]  # fmt: skip


def write(root: Path, seeds: tuple[int, ...], **changes: Any) -> list[Stored]:
    for seed in seeds:
        write_result(root, ratings(seed), task="lamp_3", metrics=METRICS, seed=seed, **changes)
    return find_results(root)[0]


def errors(seed: int) -> list[float]:
    return [abs(float(record["answer"]) - float(record["gold"])) for record in ratings(seed)]


def test_components_are_those_of_analysis_of_variance() -> None:
    values = np.array([[1.0, 2.0, 6.0], [2.0, 4.0, 6.0]])
    by_hand = {"users": 2 * ((1.5 - 3.5) ** 2 + (3 - 3.5) ** 2 + (6 - 3.5) ** 2) / 2, "seeds": 3 * 2 * 0.5**2}
    rest = sum((v - s - u + 3.5) ** 2 for row, s in zip(values, (3, 4), strict=True)
               for v, u in zip(row, (1.5, 3, 6), strict=True)) / 2  # fmt: skip
    found = variance_components(values)
    assert found.users == pytest.approx(np.sqrt((by_hand["users"] - rest) / 2))
    assert found.seeds == pytest.approx(np.sqrt((by_hand["seeds"] - rest) / 3))
    assert found.rest == pytest.approx(np.sqrt(rest))


def test_components_find_planted_deviations() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0, 2, (1, 400)) + rng.normal(0, 0.5, (200, 1)) + rng.normal(0, 1, (200, 400))
    found = variance_components(values)
    assert (found.users, found.seeds, found.rest) == pytest.approx((2, 0.5, 1), rel=0.1)


def test_components_without_a_source_are_zero_and_without_seeds_unknown() -> None:
    found = variance_components(np.tile([1.0, 2.0, 4.0], (3, 1)))
    assert (found.seeds, found.rest) == (0, 0)
    assert found.users == pytest.approx(np.std([1, 2, 4], ddof=1))
    assert np.isnan(variance_components(np.array([[1.0, 2.0]])).users)
    kept = variance_components(np.array([[1.0, 2.0, np.nan], [2.0, 4.0, 5.0]]))
    assert kept == variance_components(np.array([[1.0, 2.0], [2.0, 4.0]]))


def test_figures_computed_anew_are_those_of_the_summary(tmp_path: Path, host: PluginHost) -> None:
    (stored,) = write(tmp_path, (1,))
    anew = SeedAggregation(host, "bca").pool((stored,))
    old = stored.summary

    def values(found: dict[str, Any]) -> dict[str, float]:
        return {name: each.value for name, each in found.items()}

    assert values(anew.metrics) == pytest.approx(values(old.metrics))
    assert (values(anew.rewards), values(anew.retrieval)) == (values(old.rewards), values(old.retrieval))
    assert (anew.parse_failures.value, anew.truncated_prompts.value) == (
        old.parse_failures.value,
        old.truncated_prompts.value,
    )
    assert anew.metrics["mae@lamp"].user_macro is not None
    assert anew.metrics["rmse@lamp"].user_macro is None
    assert anew.spread == {}
    totals = user_totals(as_mean(errors(1)), USERS)
    expected = bca_interval(totals, mean_value, bootstrap_totals(totals))
    assert (anew.metrics["mae@lamp"].low, anew.metrics["mae@lamp"].high) == pytest.approx(expected)
    assert anew.metrics["rmse@lamp"].low != old.metrics["rmse@lamp"].low


def renamed(stored: Stored, spec: str, fingerprint: str) -> Stored:
    """The same result of a generator with another identity."""
    method = stored.manifest.method
    generator = method.generator.model_copy(update={"spec": spec, "fingerprint": fingerprint})
    other = method.model_copy(update={"generator": generator})
    return replace(stored, manifest=stored.manifest.model_copy(update={"method": other}))


@pytest.mark.parametrize(
    ("spec", "fingerprints", "count"),
    [
        ("model:path=x", ("files=a", "files=a"), 1),
        ("model:path=x", ("files=a", "files=b"), 2),
        ("model:path=x,temperature=1.0", ("files=a seed=0", "files=a seed=1"), 1),
        ("model:path=x,temperature=1.0", ("files=a seed=0", "files=b seed=1"), 2),
        ("model:path=runs/{seed}", ("files=a", "files=b"), 1),
    ],
)
def test_what_depends_on_the_seed_parts_no_family(
    spec: str, fingerprints: tuple[str, str], count: int, tmp_path: Path
) -> None:
    stored = sorted(write(tmp_path, (0, 1)), key=lambda result: result.manifest.seed)
    pairs = zip(stored, fingerprints, strict=True)
    assert len(seed_groups([renamed(result, spec, fingerprint) for result, fingerprint in pairs])) == count


def t_interval_over_users_and_seeds(values: list[list[float]]) -> tuple[float, float]:
    """By hand, of the logarithm of the mean: 12 users with three questions each, and as many seeds as `values`."""
    by_user = np.reshape(np.mean(values, axis=0), (12, 3)).mean(axis=1)
    mean = by_user.mean()
    left_out = (by_user.sum() - by_user) / 11
    users, seeds = ((mean - left_out) ** 2).sum(), np.var(np.mean(values, axis=1), ddof=1) / len(values)
    freedom = (users + seeds) ** 2 / (users**2 / 11 + seeds**2 / (len(values) - 1))
    half = scipy_stats.t.ppf(0.975, freedom) * np.sqrt(users + seeds) / mean
    return mean * np.exp(-half), mean * np.exp(half)


def test_a_row_of_several_seeds_is_their_mean_with_an_interval_over_users_and_seeds(
    tmp_path: Path, host: PluginHost
) -> None:
    stored = write(tmp_path, (0, 1, 2))
    (family,) = seed_groups(stored)
    pooled = SeedAggregation(host).pool(family)
    for name in METRICS:
        own = [float(result.summary.metrics[name].value or 0) for result in family]
        assert pooled.metrics[name].value == pytest.approx(np.mean(own))
        assert pooled.spread[name].values == tuple(own)
        assert pooled.spread[name].sd == pytest.approx(np.std(own, ddof=1))
    low, high = t_interval_over_users_and_seeds([errors(seed) for seed in (0, 1, 2)])
    assert (pooled.metrics["mae@lamp"].low, pooled.metrics["mae@lamp"].high) == pytest.approx((low, high))
    root = pooled.metrics["rmse@lamp"]
    assert root.low is not None and root.high is not None and root.low < root.value < root.high  # type: ignore[operator]
    values = np.array([np.reshape(errors(seed), (12, 3)).mean(axis=1) for seed in (0, 1, 2)])
    assert pooled.spread["mae@lamp"].between_users == pytest.approx(variance_components(values).users)
    assert pooled.spread["rmse@lamp"].between_users is None
    assert pooled.rewards["r"].value == pytest.approx(np.mean([r.summary.rewards["r"].value for r in family]))
    assert pooled.parse_failures.low is not None


def test_without_a_known_metric_a_corpus_figure_has_no_interval(tmp_path: Path) -> None:
    pooled = SeedAggregation().pool(seed_groups(write(tmp_path, (0, 1)))[0])
    found = pooled.metrics["rmse@lamp"]
    assert (found.low, found.high) == (None, None)
    assert found.value is not None
    assert pooled.metrics["mae@lamp"].low is not None


def test_seeds_of_other_questions_are_refused(tmp_path: Path) -> None:
    write_result(tmp_path, [sample("a", "u", "x", "x"), sample("b", "v", "x", "x")], seed=0)
    folder = write_result(tmp_path, [sample("a", "u", "x", "x"), sample("b", "v", "y", "x")], seed=1)
    (group,) = seed_groups(find_results(tmp_path)[0])
    lines = (folder / "samples.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "samples.jsonl").write_bytes(b"".join(reversed(lines)))
    with pytest.raises(DataError, match="answered different questions"):
        SeedAggregation().pool(group)


def test_tables_keep_seeds_together_unless_asked(tmp_path: Path, host: PluginHost) -> None:
    write(tmp_path, (0, 1))
    stored = write(tmp_path, (0,), retriever="other")
    (together,) = build_tables(stored, host.tasks, SeedAggregation(host))
    assert sorted((row.seeds, len(row.fingerprints)) for row in together.rows) == [((0,), 1), ((0, 1), 2)]
    assert {"seed", "seed sd", "user sd"} <= set(columns(together))
    (apart,) = build_tables(stored, host.tasks, SeedAggregation(host, by_seed=True))
    assert sorted(row.seeds for row in apart.rows) == [(0,), (0,), (1,)]
    assert "seed sd" not in columns(apart)
    assert SEEDS in legend([together])
    assert SEEDS not in legend([apart])
    for form in ("terminal", "markdown", "latex"):
        assert "seed sd" in render([together], form)
    lines = [line for line in render([together], "markdown").splitlines() if line.startswith("| ")][:4]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert {len(row) for row in cells} == {len(columns(together))}
    assert {row[columns(together).index("seed")] for row in cells[2:4]} == {"0", "0, 1"}


def test_csv_and_json_name_each_source_of_variance(tmp_path: Path, host: PluginHost) -> None:
    (table,) = build_tables(write(tmp_path, (0, 1)), host.tasks, SeedAggregation(host, "bca"))
    spread = table.rows[0].figures.spread["mae@lamp"]
    first, second, *_ = csv.DictReader(io.StringIO(render([table], "csv")))
    assert (first["seed"], first["interval"], second["metric"]) == ("0+1", "bca", "rmse@lamp")
    assert float(first["seed_sd"]) == spread.sd
    assert [first[f"between_{source}_sd"] for source in ("users", "seeds")] == [
        str(spread.between_users),
        str(spread.between_seeds),
    ]
    assert second["between_users_sd"] == ""
    (as_json,) = json.loads(render([table], "json"))["tables"]
    assert as_json["interval"] == "bca"
    assert as_json["rows"][0]["spread"]["mae@lamp"]["sd"] == spread.sd
    assert as_json["rows"][0]["seeds"] == [0, 1]
    assert BOOTSTRAP["bca"] in legend([table])


RUN = ("--task", "mini_lamp_2", "--synth-users", "12", "--results", "r")


@pytest.fixture
def seeds(here: Any) -> Any:
    """Three seeds of one method and its controls."""
    many = [word for seed in range(3) for word in ("--seed", seed)]
    assert here("run", *RUN, "--retriever", "bm25", "--generator", "vote", *many).status == 0
    return here


def test_the_command_line_takes_the_kind_of_interval_and_seeds_apart(seeds: Any) -> None:
    plain, bca, apart = (
        json.loads(seeds("leaderboard", "--results", "r", "--json", *words).stdout)["tables"][0]
        for words in ((), ("--interval", "bca"), ("--by-seed",))
    )
    assert (plain["interval"], bca["interval"]) == ("auto", "bca")
    assert len(apart["rows"]) == 3 * len(plain["rows"])
    f1 = [next(row["metrics"]["f1@lamp"] for row in table["rows"] if not row["control"]) for table in (plain, bca)]
    assert f1[0]["value"] == f1[1]["value"]
    assert f1[0]["low"] != f1[1]["low"]
    assert "unknown interval 'bcas'" in seeds("leaderboard", "--results", "r", "--interval", "bcas").mistake


def test_seeds_are_compared_together(seeds: Any) -> None:
    words = ("compare", "bm25+vote", "random+vote", "--results", "r")
    (together,) = json.loads(seeds(*words, "--json").stdout)
    apart = [
        json.loads(seeds("compare", *(f"{w}+seed={s}" for w in words[1:3]), "--results", "r", "--json").stdout)[0]
        for s in range(3)
    ]
    gaps = [row["difference"]["difference"] for row in apart]
    assert together["difference"]["difference"] == pytest.approx(np.mean(gaps))
    # bm25 has no seeds, random items differ by seed.
    assert together["seed_sd"] is None
    assert together["baseline_seed_sd"] == pytest.approx(np.std(gaps, ddof=1))
    assert (together["seeds"], together["baseline_seeds"]) == ([0, 1, 2], [0, 1, 2])
    assert together["difference"]["basis"] == "users and trainings"
    assert [row["baseline_seed_sd"] for row in apart] == [None] * 3
    assert [row["difference"]["basis"] for row in apart] == ["users"] * 3
    text = seeds(*words).stdout
    assert "seed sd" in text
    assert "bm25 · k4 · direct · vote, seeds 0, 1, 2" in text


def test_all_seeds_of_each_side_count(seeds: Any) -> None:
    """Also where one side has a single seed: then the spread of the other side is taken for it."""
    words = ("random+vote", "bm25+vote+seed=2")
    (found,) = json.loads(seeds("compare", *words, "--results", "r", "--json").stdout)
    assert (found["seeds"], found["baseline_seeds"]) == ([0, 1, 2], [2])
    assert "seed 2" in found["baseline"]
    values = [
        json.loads(seeds("compare", f"random+vote+seed={s}", words[1], "--results", "r", "--json").stdout)[0]
        for s in range(3)
    ]
    assert found["difference"]["first"] == pytest.approx(np.mean([row["difference"]["first"] for row in values]))


def test_a_comparison_says_its_kind_of_interval(seeds: Any) -> None:
    words = ("compare", "bm25+vote", "echo", "--results", "r", "--interval", "bca")
    assert json.loads(seeds(*words, "--json").stdout)[0]["interval"] == "bca"
    assert "95 % interval: of resampled users, BCa" in seeds(*words).stdout
