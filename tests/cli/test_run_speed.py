"""`run` says how fast it was: a profile, tokens and seconds of each row, and what it is doing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prlm_bench
from prlm_bench.cli._run import with_profile_value

Command = Callable[..., Any]

ENGINE = """
from prlm_bench import Completion, hookimpl
from prlm_bench.interfaces import NOT_BATCH_INVARIANT, Activity
from prlm_bench.profiling import timed

class Engine:
    tokenizer = None

    def fingerprint(self):
        return NOT_BATCH_INVARIANT

    def activity(self):
        return Activity(rows=5, busy=0.5)

    def generate(self, prompts):
        yield from self.stream(iter(prompts))

    def stream(self, prompts):
        for number, prompt in enumerate(prompts):
            with timed("device"):
                completion = Completion(f"about {prompt.example.id}", finish="stop", tokens=3, prompt_tokens=7)
            yield number, completion

@hookimpl
def prlm_bench_register_generators(register):
    register("engine", Engine)
"""
RUN = (
    *("run", "--plugin", "engine.py", "--task", "mini_lamp_4", "--synth-users", 4, "--retriever", "bm25"),
    *("--generator", "engine", "--generator", "copy", "--no-controls"),
)


@pytest.fixture(autouse=True)
def engine(tmp_path: Path) -> None:
    (tmp_path / "engine.py").write_text(ENGINE)


def test_a_profile_says_where_the_time_went(here: Command, tmp_path: Path) -> None:
    ended = here(*RUN, "--results", "r", "--profile")
    assert ended.status == 0, ended.stderr
    assert "where the time went: " in ended.stderr
    assert "by row: r/profile.json" in ended.stderr
    found = json.loads((tmp_path / "r" / "profile.json").read_text())
    assert {"planning", "data", "retrieval", "prompts", "generation", "device", "parsing", "journal", "metrics"} <= {
        *found["stages"]
    }
    assert sum(stage["seconds"] for stage in found["stages"].values()) == pytest.approx(found["seconds"], abs=1e-3)
    assert found["seconds"] == pytest.approx(found["wall_seconds"], abs=1e-3)
    assert sum(stage["share"] for stage in found["stages"].values()) == pytest.approx(1, abs=1e-2)
    rows = {row["row"]: row["stages"] for row in found["rows"]}
    assert [*rows] == [
        "mini_lamp_4: bm25 × k=4 × direct × engine, seed 0",
        "mini_lamp_4: bm25 × k=4 × direct × copy, seed 0",
    ]
    assert ["device" in stages for stages in rows.values()] == [True, False]
    assert here(*RUN, "--results", "r", "--profile", "other.json").status == 0
    assert "retrieval" not in json.loads((tmp_path / "other.json").read_text())["stages"], "nothing was left to do"


def test_worker_processes_are_in_the_profile(here: Command, tmp_path: Path) -> None:
    ended = here(*RUN, "--results", "r", "--jobs", 2, "--profile=p.json")
    assert ended.status == 0, ended.stderr
    found = json.loads((tmp_path / "p.json").read_text())
    assert {"waiting", "device", "retrieval"} <= {*found["stages"]}
    assert found["seconds"] >= found["wall_seconds"] - 1e-3


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["run", "--profile"], ["run", "--profile="]),
        (["run", "--profile", "grid.yaml"], ["run", "--profile=", "grid.yaml"]),
        (["run", "--profile", "p.json", "grid.yaml"], ["run", "--profile", "p.json", "grid.yaml"]),
        (["run", "--profile=p.json"], ["run", "--profile=p.json"]),
        (["run", "--profile", "--json"], ["run", "--profile=", "--json"]),
        (["train", "--profile"], ["train", "--profile"]),
        ([], []),
    ],
)
def test_the_file_of_a_profile_may_be_left_out(words: list[str], read: list[str]) -> None:
    assert with_profile_value(words) == read


def test_a_profile_that_is_no_json_file_is_a_mistake(here: Command, tmp_path: Path) -> None:
    ended = here(*RUN, "--profile=grid.yaml")
    assert (ended.status, ended.stdout) == (2, "")
    assert "the profile is a JSON file (give it a name that ends in .json)" in ended.stderr
    assert not (tmp_path / "prlm-results").exists()


def test_rows_say_tokens_seconds_and_that_they_depend_on_the_batch(here: Command, tmp_path: Path) -> None:
    ended = here(*RUN, "--results", "r")
    assert ended.status == 0, ended.stderr
    assert "tok/s, 5 rows, 50% busy" in ended.stderr
    for form in ("markdown", "csv", "json", "latex"):
        text = here("leaderboard", "--plugin", "engine.py", "--results", "r", "--format", form).stdout
        assert "batch-invariant" in text or "batch_invariant" in text
        assert "tokens in" in text or "prompt_tokens" in text
    (table, *_) = json.loads(text if form == "json" else here("leaderboard", "--results", "r", "--json").stdout)[
        "tables"
    ]
    (row,) = (row for row in table["rows"] if row["generator"] == "engine")
    assert (row["prompt_tokens"], row["completion_tokens"], row["timed_answers"]) == (84, 36, 12)
    assert 0 < row["seconds"] < 60
    assert row["batch_invariant"] is False
    (other,) = (row for row in table["rows"] if row["generator"] == "copy")
    assert [other[name] for name in ("prompt_tokens", "completion_tokens", "seconds")] == [None] * 3
    assert here("results", "verify", "--plugin", "engine.py", "r").status == 0
    assert here("site", "--plugin", "engine.py", "--results", "r", "--output", "site").status == 0
    page = (tmp_path / "site" / "index.html").read_text()
    assert page.count('<span class="mark">not batch-invariant</span>') == 2
    assert '<td data-value="84">84</td><td data-value="36">36</td>' in page
    assert "an answer may hang on the other prompts of its batch" in page


def test_python_has_the_profile_too(tmp_path: Path) -> None:
    found = prlm_bench.run(
        "mini_lamp_4",
        retrievers="bm25",
        generators="engine",
        plugins=[tmp_path / "engine.py"],
        synth_users=4,
        controls=False,
        results=tmp_path / "r",
        profile=tmp_path / "p.json",
    )
    assert found.outcome is not None and found.outcome.profile is not None
    assert found.outcome.profile.to_dict() == json.loads((tmp_path / "p.json").read_text())
    assert "device" in found.outcome.profile.stages
    assert {row["completion_tokens"] for row in found.to_dicts()} == {36}
