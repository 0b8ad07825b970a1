"""Intervals hold the true value, tests keep their level, and what is called detectable is found, by simulation.

A short version of `benchmarks/check_coverage.py`, whose tables are in docs/explanation/coverage.md. Cells are those in
which resampled users fail; bounds leave the simulation's own error, three standard deviations at a true 95 %.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from support.paths import REPOSITORY
from support.simulated import RECIPES, user_sizes

from prlm_bench.results import mean_value
from prlm_bench.stats import (
    FEWEST,
    Floats,
    Resampled,
    freedom,
    holm,
    jackknife,
    paired_difference,
    scale_of,
    smallest_detectable,
    users_needed,
)
from prlm_bench.stats._users import estimated_icc

REPLICATES = 250
#: Coverage in percent that a cell of so many replicates may show where 95 is right.
LOWEST = 90.8


@cache
def coverage(
    name: str, users: int, kind: str, icc: float, interval: str, questions: int | None = None, seed: int = 1
) -> float:
    """Percent of the intervals that hold the true value."""
    recipe, rng = RECIPES[name], np.random.default_rng(seed)
    truth, held = recipe.truth, 0
    for _ in range(REPLICATES):
        sizes = user_sizes(rng, users, kind, questions)
        totals = recipe.totals(rng, sizes, icc)[0]
        drawn = Resampled(totals, sizes.astype(np.float64), flips=1_000, resamples=300)
        found = drawn.bounds(slice(0, totals.shape[1]), recipe.value, recipe.scale, interval)  # type: ignore[arg-type]
        held += found.low <= truth <= found.high
    return 100 * held / REPLICATES


CELLS = [
    ("ROUGE-like", 6, "equal", 0.8, None),
    ("ROUGE-like", 8, "heavy", 0.8, None),
    ("ROUGE-like", 20, "extreme", 0.8, None),
    ("accuracy 0.7", 8, "equal", 0.8, None),
    ("accuracy 0.9", 10, "heavy", 0.4, None),
    ("accuracy 0.98", 10, "equal", 0.0, None),
    ("accuracy 0.98", 50, "equal", 0.8, None),
    ("MAE", 10, "heavy", 0.8, None),
    ("MAE", 10, "extreme", 0.4, None),
    ("RMSE, normal", 10, "heavy", 0.4, None),
    ("RMSE, normal", 20, "extreme", 0.8, None),
    ("BLEU", 20, "extreme", 0.0, None),
    ("macro-F1, 15 labels", 40, "equal", 0.3, 3),
]


@pytest.mark.parametrize(("name", "users", "kind", "icc", "questions"), CELLS)
def test_intervals_hold_the_true_value_where_resampled_users_do_not(
    name: str, users: int, kind: str, icc: float, questions: int | None
) -> None:
    assert coverage(name, users, kind, icc, "auto", questions) >= LOWEST
    assert coverage(name, users, kind, icc, "percentile", questions) < LOWEST


def test_intervals_are_not_wide_for_safety_alone() -> None:
    wide = [coverage("MAE", 50, "heavy", 0.0, "auto"), coverage("RMSE, normal", 50, "heavy", 0.0, "auto")]
    wide += [coverage("ROUGE-like", 20, "equal", 0.4, "auto"), coverage("accuracy 0.9", 50, "equal", 0.4, "auto")]
    assert max(wide) <= 98.7


@pytest.mark.parametrize("name", ["ROUGE-like", "accuracy 0.98", "RMSE, normal", "BLEU"])
def test_with_fewer_users_there_is_no_interval_but_the_reason(name: str) -> None:
    recipe = RECIPES[name]
    fewest = FEWEST[recipe.scale]
    totals = recipe.totals(np.random.default_rng(0), np.full(fewest, 5), 0.0)[0]
    columns = slice(0, totals.shape[1])
    below = Resampled(totals[:-1], np.full(fewest - 1, 5.0)).bounds(columns, recipe.value, recipe.scale)
    assert np.isnan([below.low, below.high]).all()
    assert below.why == f"{fewest - 1} users"
    assert not Resampled(totals, np.full(fewest, 5.0)).bounds(columns, recipe.value, recipe.scale).why


def test_recipes_are_of_the_scale_that_their_statistics_have() -> None:
    rng = np.random.default_rng(0)
    for recipe in RECIPES.values():
        statistics = recipe.draw(rng.normal(size=100), np.arange(100), 0.0, rng)
        assert scale_of(statistics, errors=recipe.scale == "errors") == recipe.scale


# Degrees of freedom


@pytest.mark.parametrize("icc", [0.0, 0.4, 1.0])
def test_degrees_of_freedom_are_those_of_the_matrices(icc: float) -> None:
    sizes = np.array([1.0, 1, 2, 3, 5, 8, 13, 40])
    weights = sizes / sizes.sum()
    left_out = np.diag(weights / (1 - weights)) @ (np.eye(8) - weights)
    spread = left_out @ np.diag(icc + (1 - icc) / sizes) @ left_out.T
    assert freedom(sizes, icc) == pytest.approx(np.trace(spread) ** 2 / np.trace(spread @ spread))


@pytest.mark.parametrize("icc", [0.0, 0.3, 1.0])
def test_the_correlation_within_users_is_estimated_from_their_sums(icc: float) -> None:
    rng = np.random.default_rng(2)
    sizes = user_sizes(rng, 20_000, "heavy").astype(np.float64)
    sums = np.sqrt(icc) * sizes * rng.normal(size=len(sizes)) + np.sqrt((1 - icc) * sizes) * rng.normal(size=len(sizes))
    assert estimated_icc(sums, sizes) == pytest.approx(icc, abs=0.05)


def test_nothing_to_estimate_gives_the_fewest_degrees_of_freedom() -> None:
    for residuals in (np.zeros(3), np.full(3, np.nan), np.full(3, np.inf)):
        assert estimated_icc(residuals, np.array([1.0, 2, 3])) == 1.0


def test_users_with_independent_answers_are_known_better_than_their_sizes_suggest() -> None:
    rng = np.random.default_rng(10)
    sizes = user_sizes(rng, 200, "heavy")
    independent, alike = (RECIPES["ROUGE-like"].totals(rng, sizes, icc)[0] for icc in (0.0, 1.0))
    few = freedom(sizes.astype(np.float64))
    assert jackknife(independent, mean_value, independent[:, 1]).freedom > 1.2 * few
    assert jackknife(alike, mean_value, alike[:, 1]).freedom == pytest.approx(few, rel=0.2)


def test_pseudo_values_of_a_mean_are_the_means_of_the_users() -> None:
    """So that intervals of a corpus measure and of a mean are alike where users have few or many questions."""
    totals = np.array([[1.0, 1], [3, 2], [10, 40]])
    found = jackknife(totals, mean_value, totals[:, 1])
    assert found.pseudo == pytest.approx([1.0, 1.5, 0.25])


# Differences


def of_normal(rng: np.random.Generator, users: int, shift: float) -> tuple[list[Floats], list[Floats], Floats]:
    """Two methods whose difference by user is normal with standard deviation 1."""
    counts = np.ones(users)
    return [np.stack([rng.normal(shift, 1, users), counts], 1)], [np.stack([0 * counts, counts], 1)], counts


@pytest.mark.parametrize(
    ("name", "users", "kind", "icc"),
    [
        ("ROUGE-like", 6, "equal", 0.8),
        ("ROUGE-like", 20, "extreme", 0.8),
        ("accuracy 0.7", 10, "heavy", 0.0),
        ("RMSE, normal", 50, "equal", 0.8),
    ],
)
def test_the_paired_test_keeps_its_level_and_agrees_with_its_interval(
    name: str, users: int, kind: str, icc: float
) -> None:
    recipe, rng = RECIPES[name], np.random.default_rng(3)
    rejected = 0
    for _ in range(REPLICATES):
        sizes = user_sizes(rng, users, kind)
        first, second = recipe.totals(rng, sizes, icc, 2)
        found = paired_difference([first], [second], recipe.value, sizes.astype(np.float64), flips=1_000)
        assert found.why or (found.p <= 0.05) == (not found.low <= 0 <= found.high)
        rejected += found.p <= 0.05
    assert 100 * rejected / REPLICATES <= 100 - LOWEST


def test_rare_answers_that_differ_give_no_interval_unless_there_are_some() -> None:
    """Where one answer in a hundred differs, a sample often has none of these, and would show methods as equal."""
    recipe, rng = RECIPES["accuracy 0.98"], np.random.default_rng(12)
    truth = recipe.true_value(0.3) - recipe.true_value(0.0)
    sizes = np.full(20, 5.0)
    printed = held = equivalent = 0
    for _ in range(REPLICATES):
        first, second = recipe.totals(rng, sizes.astype(np.int64), 0.0, 2, 0.3)
        found = paired_difference([first], [second], recipe.value, sizes, flips=1_000)
        if found.higher + found.lower < 4:
            assert found.why.endswith(("differs", "differ"))
        printed += not found.why
        held += found.low <= truth <= found.high
        equivalent += found.is_within(truth)
    assert 0 < printed < REPLICATES / 2
    assert 100 * held / printed >= LOWEST
    assert 100 * equivalent / REPLICATES <= 100 - LOWEST


@pytest.mark.parametrize("users", [2, 5, 10, 40])
def test_methods_as_far_apart_as_the_margin_are_seldom_called_equivalent(users: int) -> None:
    rng = np.random.default_rng(4)
    called = [paired_difference(*of_three(rng, users, 1.0), flips=1_000).is_within(1.0) for _ in range(REPLICATES)]
    assert 100 * np.mean(called) <= (0.0 if users <= 5 else 100 - LOWEST)


def of_three(rng: np.random.Generator, users: int, shift: float) -> tuple[list[Floats], list[Floats], object, Floats]:
    first, second, sizes = of_normal(rng, users, shift)
    return first, second, mean_value, sizes


@pytest.mark.parametrize(("users", "comparisons"), [(8, 1), (20, 1), (20, 10)])
def test_what_is_called_detectable_is_found_in_four_of_five_cases(users: int, comparisons: int) -> None:
    rng = np.random.default_rng(5)
    pilots = [paired_difference(*of_three(rng, users, 0.0), flips=16) for _ in range(100)]
    shown = np.sqrt(np.mean([smallest_detectable(pilot, comparisons) ** 2 for pilot in pilots]))
    found = 0
    for _ in range(150):
        shifts = [shown, *[0.0] * (comparisons - 1)]
        p_values = [paired_difference(*of_three(rng, users, shift), flips=1_000).p for shift in shifts]
        found += holm(p_values)[0] < 0.05
    assert 0.70 <= found / 150 <= 0.90


def test_nothing_is_detectable_where_no_p_value_is_small_enough() -> None:
    rng = np.random.default_rng(6)
    five, eight = (paired_difference(*of_three(rng, users, 0.0)) for users in (5, 8))
    assert np.isinf(smallest_detectable(five))
    assert np.isfinite(smallest_detectable(eight))
    assert np.isinf(smallest_detectable(eight, comparisons=10))


def test_as_many_users_as_are_needed_find_the_difference() -> None:
    rng = np.random.default_rng(8)
    found = []
    for _ in range(150):
        users = users_needed(paired_difference(*of_three(rng, 40, 0.0), flips=16), 0.5)
        assert users is not None
        found.append(paired_difference(*of_three(rng, users, 0.5), flips=1_000).p < 0.05)
    assert 0.70 <= np.mean(found) <= 0.90


@pytest.mark.parametrize(("effect", "comparisons"), [(5.0, 1), (1.0, 10), (0.5, 1), (0.05, 1)])
def test_one_user_fewer_than_needed_is_too_few(effect: float, comparisons: int) -> None:
    pilot = paired_difference(*of_three(np.random.default_rng(9), 40, 0.0), flips=16)
    needed = users_needed(pilot, effect, comparisons)
    assert needed is not None

    def detectable(users: int) -> float:
        error = pilot.error * np.sqrt(40 / users)
        like = replace(pilot, error=error, freedom=users - 1.0, higher=users, equal=0, lower=0)
        return smallest_detectable(like, comparisons)

    assert detectable(needed) <= effect < detectable(needed - 1)


@pytest.mark.parametrize("users", [40, 200])
def test_a_recipe_seldom_differs_from_itself_in_other_trainings(users: int) -> None:
    rng = np.random.default_rng(7)
    sizes = np.full(users, 5.0)
    several = single = 0
    for _ in range(REPLICATES):
        own = rng.normal(0.5, 0.15, users)

        def trained(own: Floats = own) -> Floats:
            means = own + 0.03 * rng.normal() + rng.normal(0, 0.07, users)
            return np.stack([sizes * means, sizes], axis=1)

        sides = [[trained() for _ in range(3)] for _ in range(2)]
        several += paired_difference(*sides, mean_value, sizes, flips=500).p <= 0.05
        single += paired_difference(sides[0][:1], sides[1][:1], mean_value, sizes, flips=500).p <= 0.05
    assert 100 * several / REPLICATES <= 100 - LOWEST
    assert single / REPLICATES >= 0.3  # what a test over users alone says of one training each


# The script


def tables(folder: Path, *arguments: str) -> str:
    """What the script prints, with a hundredth of the replicates; done cells are in `folder`."""
    script, cells = REPOSITORY / "benchmarks" / "check_coverage.py", folder / "cells.json"
    command = [sys.executable, str(script), "--times", "0.01", "--cells", str(cells), *arguments]
    paths = os.pathsep.join(map(str, (REPOSITORY / "tests", REPOSITORY, REPOSITORY / "plugins")))
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": paths})
    return done.stdout


@pytest.mark.slow
def test_done_cells_are_not_simulated_again(tmp_path: Path) -> None:
    first = tables(tmp_path, "--study", "Equivalence")
    assert first.startswith("# Coverage and power")
    assert "| 2 | 0.0 | 0.0 | 0.0 |" in first  # no equivalence is called with 2 users
    kept = (tmp_path / "cells.json").stat().st_mtime_ns
    assert tables(tmp_path, "--study", "Equivalence") == first
    assert (tmp_path / "cells.json").stat().st_mtime_ns == kept


@pytest.mark.nightly
def test_every_table_is_made(tmp_path: Path) -> None:
    page = tables(tmp_path)
    assert page.count("\n## ") == 9
    assert "nan" not in page
