"""Studies on mini-LaMP, where it is known what is personal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prlm_bench_plugins.studies._audits import shapley_shares

SMALL = ("--synth-users", "20", "--results", "r")


def study(here: Any, name: str, *words: str) -> dict[str, Any]:
    done = here("study", name, *words, *SMALL, "--json")
    assert done.status == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_copying_own_items_is_personal(here: Any) -> None:
    found = study(here, "controls", "--task", "mini_lamp_4", "--retriever", "bm25", "--generator", "copy", "-k", "1")
    gain = next(row for row in found["rows"] if row["instead of own items"] == "another user's items")
    assert gain["low"] > 0
    assert gain["gain"] == pytest.approx(gain["score with own"] - gain["score instead"])
    assert found["findings"][0].startswith("The method is personal")


def test_a_method_that_ignores_items_is_not_personal(here: Any) -> None:
    found = study(here, "controls", "--task", "mini_lamp_4", "--retriever", "bm25", "--generator", "echo")
    gains = [row["gain"] for row in found["rows"]]
    assert gains
    assert all(gain == 0 for gain in gains)
    assert found["findings"][0].startswith("Not shown to be personal")


def test_with_a_single_user_there_is_no_personalization_gain(here: Any, tmp_path: Path) -> None:
    item = {"id": "1", "text": "a b", "title": "c"}
    questions = [{"id": "11", "input": "write an article: a b", "profile": [item]}]
    golds = {"task": "LaMP_4", "golds": [{"id": "11", "output": "c"}]}
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "dev_questions.json").write_text(json.dumps(questions))
    (tmp_path / "dev" / "dev_outputs.json").write_text(json.dumps(golds))
    words = ("--task", "lamp_4", "--data", str(tmp_path), "--retriever", "bm25", "--generator", "copy")
    found = study(here, "controls", *words)
    assert found["findings"][0].startswith("Left out: another user's items: retriever other-user")


#: Shows the items to nobody: its answer hangs on the prompt, and so changes with the items, but by chance alone.
WHIM = """
import random
from prlm_bench import Completion, hookimpl

class Whim:
    \'\'\'Some words of the question, drawn anew for each prompt.\'\'\'

    tokenizer = None

    def fingerprint(self):
        return ""

    def generate(self, prompts):
        for index, prompt in enumerate(prompts):
            words = prompt.example.query.split()
            drawn = random.Random(prompt.text).sample(words, min(4, len(words)))
            yield index, Completion(" ".join(drawn), is_answer=True)

@hookimpl
def prlm_bench_register_generators(register):
    register("whim", Whim)
"""


def test_answers_that_change_with_the_items_by_chance_are_not_personal(here: Any, tmp_path: Path) -> None:
    (tmp_path / "whim.py").write_text(WHIM, encoding="utf-8")
    words = ("--task", "mini_lamp_4", "--retriever", "bm25", "--generator", "whim", "--plugin", "whim.py")
    found = study(here, "controls", *words)
    gain = next(row for row in found["rows"] if row["instead of own items"] == "another user's items")
    assert gain["gain"] != 0
    assert gain["low"] < 0 < gain["high"]
    assert found["findings"][0].startswith("Not shown to be personal")


@pytest.mark.parametrize(("task", "generator"), [("mini_lamp_2", "vote"), ("mini_lamp_1", "nearest")])
def test_methods_that_use_the_profile_are_personal(here: Any, task: str, generator: str) -> None:
    found = study(here, "controls", "--task", task, "--retriever", "oracle", "--generator", generator)
    gain = next(row for row in found["rows"] if row["instead of own items"] == "another user's items")
    assert gain["low"] > 0
    assert found["findings"][0].startswith("The method is personal")


def test_errors_count_the_other_way(here: Any) -> None:
    found = study(here, "controls", "--task", "mini_lamp_3", "--retriever", "oracle", "--generator", "vote")
    gain = next(row for row in found["rows"] if row["instead of own items"] == "another user's items")
    assert gain["gain"] == pytest.approx(gain["score instead"] - gain["score with own"])
    assert gain["low"] <= gain["gain"] <= gain["high"]


def test_k_runs_every_k_and_shows_what_was_cut(here: Any) -> None:
    found = study(here, "k", "--task", "mini_lamp_2", "--generator", "vote")
    assert [row["k"] for row in found["rows"]] == [1, 2, 4, 8, 16]
    assert [row["items shown"] for row in found["rows"]][:3] == [1, 2, 4]


def test_retrievers_are_ordered_and_the_impossible_is_left_out(here: Any) -> None:
    found = study(here, "retrievers", "--task", "mini_lamp_2", "--generator", "vote")
    scores = [row["accuracy@lamp"] for row in found["rows"]]
    assert scores == sorted(scores, reverse=True)
    assert found["rows"][0]["retriever"] == "oracle"


def test_cold_start_bins_hold_every_question_once(here: Any) -> None:
    found = study(here, "cold-start", "--task", "mini_lamp_4", "--generator", "copy")
    assert sum(row["n"] for row in found["rows"]) == 60


def test_leakage_finds_a_gold_that_was_planted(here: Any, tmp_path: Path) -> None:
    questions = [
        {
            "id": "1",
            "input": "write an article: a b",
            "profile": [{"id": "10", "text": "x", "title": "The  Gold, here!"}],
        },
        {"id": "2", "input": "write an article: c d", "profile": [{"id": "20", "text": "c d", "title": "other"}]},
    ]
    golds = {"task": "LaMP_4", "golds": [{"id": "1", "output": "gold here"}, {"id": "2", "output": "none"}]}
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "dev_questions.json").write_text(json.dumps(questions))
    (tmp_path / "dev" / "dev_outputs.json").write_text(json.dumps(golds))
    found = study(here, "leakage", "--task", "lamp_4", "--data", str(tmp_path))
    counts = {row["what"]: row["count"] for row in found["rows"]}
    assert counts == {"gold inside a profile item": 1, "gold nearly an item's answer": 0, "query nearly an item": 0}


def test_attribution_of_known_variance() -> None:
    parts = [(retriever, k) for retriever in "ab" for k in "123"]
    only_retriever = np.array([0.0, 0, 0, 1, 1, 1])
    assert shapley_shares(parts, only_retriever) == pytest.approx([1, 0])
    both = np.array([0.0, 1, 2, 3, 4, 5])
    shares = shapley_shares(parts, both)
    assert sum(shares) == pytest.approx(1)
    assert shares[0] == pytest.approx(13.5 / 17.5)


def test_figures_and_tables_are_written_and_the_same_again(here: Any) -> None:
    pytest.importorskip("matplotlib")
    words = ("study", "k", "--task", "mini_lamp_2", "--generator", "vote", *SMALL)
    written = []
    for folder in ("one", "two"):
        assert here(*words, "-o", folder).status == 0
        written.append({path.name: path.read_bytes() for path in Path(folder).iterdir()})
    assert set(written[0]) == {"k.csv", "k.json", "k.png", "k.svg"}
    assert written[0] == written[1]
