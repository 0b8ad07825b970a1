"""The main commands on LaMP's own files, against figures measured with the packages that define the metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]

METRICS = ("rouge1@lamp", "rouge2@lamp", "rougeL@lamp", "rouge-1@prlm", "rouge-2@prlm", "rouge-l@prlm", "bleu-4@prlm")
#: Copies were made of the top item in the order of rank_bm25 with numpy's own sorting.
FIGURES = {
    ("lamp_7", "LaMP_7", "echo"): (0.46371, 0.19929, 0.40848, 0.48576, 0.21274, 0.40801, 0.47170),
    ("lamp_7", "LaMP_7", "copy"): (0.16209, 0.03825, 0.13400, 0.21380, 0.04995, 0.16954, 0.18967),
    ("lamp_4", "LaMP_4", "echo"): (0.11283, 0.02126, 0.09557, 0.11298, 0.01719, 0.09080, 0.16067),
    ("lamp_4", "LaMP_4", "copy"): (0.09551, 0.02828, 0.08858, 0.11800, 0.03762, 0.10840, 0.15562),
    ("lamp_4_time", "LaMP_4_time_usgov", "echo"): (0.15687, 0.04845, 0.12302, 0.17333, 0.04935, 0.11862, 0.13427),
    ("lamp_4_time", "LaMP_4_time_usgov", "copy"): (0.15204, 0.05520, 0.14268, 0.16770, 0.06015, 0.15250, 0.19990),
    ("lamp_5_time", "LaMP_5_time_arxiv", "echo"): (0.08882, 0.03667, 0.06471, 0.12790, 0.04004, 0.06420, 0.05465),
    ("lamp_5_time", "LaMP_5_time_arxiv", "copy"): (0.14683, 0.04369, 0.13130, 0.20576, 0.05115, 0.18037, 0.24714),
}


def parsed(ended: Any) -> Any:
    assert ended.status == 0, ended
    return json.loads(ended.stdout)


def figures(tables: Any, generator: str, retriever: str) -> list[float]:
    """A row's figures under both protocols."""
    found = {}
    for table in tables["tables"]:
        for row in table["rows"]:
            if (row["generator"], row["retriever"]) == (generator, retriever):
                found |= {name: metric["value"] for name, metric in row["metrics"].items()}
    return [found[name] for name in METRICS]


@pytest.mark.parametrize(("task", "folder", "generator"), FIGURES, ids=str)
def test_baselines_have_the_figures_of_the_reference(
    here: Command, shared_data: Path, task: str, folder: str, generator: str
) -> None:
    retriever = "none" if generator == "echo" else "bm25:ties=numpy"
    tables = parsed(
        here(
            *("run", "--task", task, "--data", shared_data / folder, "--split", "dev", "--retriever", retriever),
            *("-k", 1, "--generator", generator, "--no-controls", "--json"),
        )
    )
    assert figures(tables, generator, retriever) == pytest.approx(FIGURES[task, folder, generator], abs=6e-6)


def test_the_main_command(cli: Command, shared_data: Path, tmp_path: Path) -> None:
    data = shared_data / "LaMP_7"
    words = ("--task", "lamp_7", "--data", data, "--split", "dev", "--retriever", "none", "--retriever", "bm25")
    words += ("--retriever", "random", "-k", 1, "-k", 4, "--reasoner", "direct", "--generator", "echo")
    ended = cli("run", *words, "--generator", "copy", "--results", "out")
    assert ended.status == 0
    assert "lamp_7 dev, lamp protocol: Personalized tweet paraphrasing; 1000 of 1000 questions" in ended.stdout
    assert "skipped: generator copy with none needs retrieved items (on lamp_7)" in ended.stderr
    assert ended.stderr.splitlines()[-1] == "6 rows run, 0 were there already, 0 failed; results in out"
    tables = parsed(cli("leaderboard", "--results", "out", "--json"))
    assert figures(tables, "echo", "none") == pytest.approx(FIGURES["lamp_7", "LaMP_7", "echo"], abs=6e-6)
    lamp = tables["tables"][0]
    assert (lamp["n"], lamp["n_total"], lamp["n_users"]) == (1000, 1000, 1000)
    assert [(row["retriever"], row["k"], row["generator"]) for row in lamp["rows"]] == [
        *(("none", 0, "echo"), ("bm25", 1, "copy"), ("bm25", 4, "copy")),
        *(("random", 1, "copy"), ("random", 4, "copy"), ("other-user", 1, "copy")),
    ]
    assert {row["metrics"]["rouge1@lamp"]["low"] is not None for row in lamp["rows"]} == {True}
    assert {row["method"] for row in lamp["reported"]} >= {"no profile", "BM25", "RSPG-Post", "PPlug"}


def test_score_of_echoed_questions(here: Command, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "LaMP_7" / "dev"
    questions = json.loads((folder / "dev_questions.json").read_text())
    echoes = [{"id": question["id"], "output": question["input"].partition(":")[2].strip()} for question in questions]
    (tmp_path / "echo.json").write_text(json.dumps({"task": "LaMP_7", "golds": echoes}))
    words = (
        "score",
        "--task",
        "lamp_7",
        "--golds",
        folder / "dev_outputs.json",
        "--predictions",
        "echo.json",
        "--json",
    )
    found = parsed(here(*words))
    assert found["n"] == 1000
    values = [found["metrics"][name]["value"] for name in METRICS]
    assert values == pytest.approx(FIGURES["lamp_7", "LaMP_7", "echo"], abs=6e-6)


def test_ranking_files_hold_every_profile(here: Command, shared_data: Path) -> None:
    folder = shared_data / "LaMP_7"
    questions = json.loads((folder / "dev" / "dev_questions.json").read_text())
    ranking = parsed(here("rank", "--task", "lamp_7", "--data", folder, "--retriever", "bm25", "--limit", 200))
    assert list(ranking) == [question["id"] for question in questions[:200]]
    for question in questions[:200]:
        assert sorted(ranking[question["id"]]) == sorted(item["id"] for item in question["profile"])


def test_prompts_of_real_questions_keep_to_the_budget(here: Command, shared_data: Path) -> None:
    words = ("prompts", "--task", "lamp_4", "--data", shared_data, "--retriever", "bm25", "-k", 4, "--max-length", 128)
    lines = [json.loads(line) for line in here(*words, "--limit", 50).stdout.splitlines()]
    assert len({line["id"] for line in lines}) == 50
    assert all(line["shown"] + line["dropped"] <= 4 for line in lines)
    assert sum(line["cut"] > 0 for line in lines) > 25


@pytest.mark.parametrize(("task", "folder"), [("lamp_7", "LaMP_7"), ("lamp_4", "LaMP_4"), ("lamp_3", "LaMP_3")])
def test_recency_needs_dates_that_the_user_split_lacks(
    here: Command, shared_data: Path, task: str, folder: str
) -> None:
    line = here("rank", "--task", task, "--data", shared_data / folder, "--retriever", "recency").mistake
    why = "it needs dates on every profile item"
    assert line == f"retriever recency cannot run on {task} dev: {why} ({task}_time has them)"
