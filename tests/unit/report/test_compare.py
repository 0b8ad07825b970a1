"""`compare`: which results are meant, and what is said of their difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prlm_bench.errors import DataError, UnknownNameError
from prlm_bench.results import describe, find_results, select

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
    assert "against random × k=4 × direct × vote" in out
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
