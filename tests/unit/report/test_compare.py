"""`compare`: which results are meant, and what is said of their difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.made_results import sample, write_result

from prlm_bench.errors import DataError, UnknownNameError
from prlm_bench.report import compare, render_comparisons
from prlm_bench.results import describe, find_results, select, select_group

GRID = ("--task", "mini_lamp_2", "--synth-users", "12", "--results", "r")


@pytest.fixture
def run(here: Any) -> Any:
    """Results of one task: bm25 and random votes, with their controls."""
    assert here("run", *GRID, "--retriever", "bm25", "--generator", "vote").status == 0
    return here


def test_two_results_are_compared_in_the_ranking_metric(run: Any) -> None:
    (found,) = json.loads(run("compare", "bm25+vote", "random+vote", "--results", "r", "--json").stdout)
    assert found["metric"] == "accuracy@lamp"
    difference = found["difference"]
    assert difference["difference"] == pytest.approx(difference["first"] - difference["second"])
    assert difference["low"] <= difference["difference"] <= difference["high"]
    assert difference["higher"] + difference["equal"] + difference["lower"] == found["n_users"] == 12
    assert found["p_corrected"] == difference["p"]


def test_a_baseline_is_compared_with_everything_and_corrected(run: Any) -> None:
    found = json.loads(run("compare", "--baseline", "echo", "--results", "r", "--json").stdout)
    stored, _ = find_results(Path("r"))
    assert len(found) == len(stored) - 1
    assert all(row["p_corrected"] >= row["difference"]["p"] for row in found)
    assert any(row["p_corrected"] > row["difference"]["p"] for row in found)
    plain = json.loads(run("compare", "--baseline", "echo", "--results", "r", "--correction", "none", "--json").stdout)
    assert [row["p_corrected"] for row in plain] == [row["difference"]["p"] for row in found]


def test_the_table_says_what_it_compares(run: Any) -> None:
    out = run("compare", "bm25+vote", "random+vote", "--results", "r", "--margin", "0.9").stdout
    assert "against random · k4 · direct · vote" in out
    assert "accuracy@lamp ↑, baseline" in out
    assert "equivalent" in out
    assert "sign-flip test over users" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bm25", "echo"), "'bm25' matches"),
        (("nothing+vote", "echo"), "unknown result 'nothing+vote'"),
        (("echo",), "1 results are given, two are needed"),
        (("echo", "bm25+vote", "--correction", "bonferoni"), "unknown correction"),
        (("echo", "bm25+vote", "--metric", "rouge9@lamp"), "unknown metric"),
    ],
)
def test_mistakes_get_one_line(run: Any, words: tuple[str, ...], said: str) -> None:
    assert said in run("compare", *words, "--results", "r").mistake


def test_results_of_other_questions_do_not_compare(run: Any) -> None:
    other = ("--task", "mini_lamp_2", "--synth-users", "5", "--results", "r")
    run("run", *other, "--retriever", "recency", "--generator", "vote", "--no-controls")
    assert "answered different questions" in run("compare", "recency+vote", "bm25+vote", "--results", "r").mistake


def test_select_takes_folders_and_fingerprints(run: Any) -> None:
    stored, _ = find_results(Path("r"))
    for result in stored:
        assert select(stored, str(result.folder)) is result
        assert select(stored, result.manifest.fingerprint[:12]) is result
    with pytest.raises(DataError, match="matches"):
        select(stored, "direct")
    with pytest.raises(UnknownNameError, match="known: "):
        select(stored, "xyz")
    assert {describe(result) for result in stored} >= {"bm25 × k=4 × direct × vote", "none × k=0 × direct × echo"}


@pytest.mark.parametrize(("seeds", "said"), [(3, "on these 3 trainings"), (6, "over 6 trainings")])
def test_several_seeds_are_counted_in_the_legend(tmp_path: Path, host: Any, seeds: int, said: str) -> None:
    for seed in range(seeds):
        for retriever, least in (("bm25", 1), ("recency", 2)):
            answers = [sample(f"q{u}", f"u{u}", "a b" if u % (seed + 3) > least else "c", "a b") for u in range(30)]
            write_result(tmp_path, answers, retriever=retriever, seed=seed)
    stored, _ = find_results(tmp_path)
    first, second = (select_group(stored, name) for name in ("bm25", "recency"))
    found = compare([first], second, host.metrics(["rouge1@lamp"]), ())
    assert found[0].trainings == seeds
    assert f"t test over users and trainings, {said}." in render_comparisons(found, "holm")
    alone = compare([first[:1]], second[:1], host.metrics(["rouge1@lamp"]), ())
    assert alone[0].trainings == 1 and "trainings" not in render_comparisons(alone, "holm")
