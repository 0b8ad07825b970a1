"""Rows that are not shown to differ from the best share a letter, where the users are enough for any letter."""

from __future__ import annotations

import numpy as np
import pytest

from prlm_bench.report._groups import Trainings, group_name, tied_groups
from prlm_bench.stats import Floats


def row(*values: Floats) -> Trainings:
    """A row with a value for each user, in each of its trainings."""
    return Trainings([np.stack([each, np.ones_like(each)], axis=1) for each in values])


def test_rows_that_differ_are_in_different_groups() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=40)
    rows = [row(base + shift + rng.normal(0, 0.1, 40)) for shift in (3.0, 3.0, 0.0, 0.0)]
    found = tied_groups(rows)
    assert (found.numbers, found.why) == ((1, 1, 2, 2), "")
    assert tied_groups(rows[:1]).numbers == ()
    assert tied_groups([]).numbers == ()


def test_a_hundred_rows_are_separated() -> None:
    """With 2000 random splits no p-value is below .0005, and Holm's correction of 100 comparisons needs less."""
    rng = np.random.default_rng(1)
    base = rng.normal(size=60)
    rows = [row(base - shift + rng.normal(0, 0.5, 60)) for shift in np.linspace(0, 30, 102)]
    assert max(tied_groups(rows).numbers) > 20


def test_so_few_users_have_no_groups_but_a_sentence() -> None:
    rows = [row(np.arange(7.0) - shift) for shift in range(102)]
    found = tied_groups(rows)
    assert (found.numbers, found.why) == ((), "no groups: 7 users cannot separate 102 rows at 5 %")


def test_rows_without_samples_have_no_groups() -> None:
    assert "need the samples" in tied_groups([row(np.arange(9.0)), None]).why


@pytest.mark.parametrize(("rows", "luck"), [(12, 1.1), (30, 1.45)])
def test_the_first_of_equal_rows_is_too_good_by_chance(rows: int, luck: float) -> None:
    """The published figure is about so many standard errors of a row too high: half of the variance is shared."""
    rng = np.random.default_rng(2)
    users, said, seen = 200, [], []
    for _ in range(60):
        shared = rng.normal(0, np.sqrt(0.5), users)
        values = [shared + rng.normal(0, np.sqrt(0.5), users) for _ in range(rows)]
        ordered = sorted(values, key=lambda each: -float(each.mean()))
        found = tied_groups([row(each) for each in ordered[:3] + ordered[3:]])
        if found.numbers.count(1) == rows and found.luck is not None:
            said.append(found.luck * np.sqrt(users))
            seen.append(float(ordered[0].mean()) * np.sqrt(users))
    assert len(said) > 40
    assert np.mean(said) == pytest.approx(luck, abs=0.12)
    assert np.mean(seen) == pytest.approx(luck, abs=0.25)


def test_trainings_are_part_of_the_comparison() -> None:
    """Three trainings a row that differ more between each other than the rows do."""
    rng = np.random.default_rng(3)
    base = rng.normal(0, 0.1, 200)

    def trained(shift: float, *seeds: float) -> Trainings:
        return row(*(base + shift + seed + rng.normal(0, 0.01, 200) for seed in seeds))

    rows = [trained(0.02, -0.1, 0.0, 0.1), trained(0.0, -0.1, 0.0, 0.1)]
    assert tied_groups(rows).numbers == (1, 1)
    assert tied_groups([row(np.mean([t[:, 0] for t in each.totals], axis=0)) for each in rows]).numbers == (1, 2)


def test_groups_beyond_the_alphabet_have_names() -> None:
    assert [group_name(n) for n in (1, 26, 27, 52, 53, 702, 703)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]
