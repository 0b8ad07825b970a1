"""Studies that train first, with a trainer whose methods are known, and what is read out of a policy's completions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from prlm_bench_plugins.studies._reward import _correlation, _phases, _products
from prlm_bench_plugins.studies._trained import p_of_trainings

PLUGIN = '''
from pathlib import Path
from prlm_bench import hookimpl


class Trainer:
    """Counts its trainings and names two methods."""

    def __init__(self, context, retriever: str = "bm25", chosen: list[str] | None = None):
        self.seed, self.retriever, self.chosen = context.seed, retriever, chosen

    def fingerprint(self):
        return ""

    def train(self, output: Path, progress):
        output.mkdir(parents=True, exist_ok=True)
        with (output / "trained").open("a") as file:
            file.write(f"{self.seed}\\n")
        items = {"retriever": self.retriever, "k": 1, "reasoner": "direct", "generator": "copy"}
        weak = {"reasoner": "direct", "generator": "echo"}
        full = items if self.chosen is None else {**items, "k": int(self.chosen[0])}
        (output / "chosen").write_text(f"{self.chosen}")
        found = {"methods": {"full": full, "without items": weak}, "other_seeds": {"chosen": ["1"]}}
        costs = {"tokens_generated": 10 * self.seed, "tokens_trained": 4, "seconds": 2.5}
        return {**found, "costs": {"full": costs}, "findings": ["it is what it is"]}


class Silent(Trainer):
    """Names none."""

    def train(self, output, progress):
        return {"steps": 1}


@hookimpl
def prlm_bench_register_trainers(register):
    register("counting", Trainer)
    register("silent", Silent)
'''


METHODS = """
from prlm_bench import hookimpl


@hookimpl
def prlm_bench_register_methods(register):
    register("copying", retriever="{retriever_}", generator="copy", k=1)
    register("echoing", generator="echo")
"""


def study(here: Any, name: str, *words: str) -> Any:
    Path("counting.py").write_text(PLUGIN)
    return here("study", name, *words, "--plugin", "counting.py", "--synth-users", "20", "--results", "r", "--json")


def test_ablation_trains_each_seed_and_compares_with_the_first_method(here: Any) -> None:
    done = study(here, "ablation", "--trainer", "counting", "--seed", "0", "--seed", "3", "--runs", "t")
    assert done.status == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["method"] for row in found["rows"]] == ["full", "without items"]
    full, weak = found["rows"]
    assert full["seeds"] == weak["seeds"] == 2
    assert full["minus full"] is None
    assert weak["minus full"] == pytest.approx(weak["mean"] - full["mean"])
    assert weak["low"] < weak["minus full"] < weak["high"] < 0
    assert found["findings"] == [
        "Shown to be worse than full on these 2 trainings: without items.",
        "Seed 0: it is what it is.",
        "Seed 3: it is what it is.",
    ]
    assert [full[name] for name in ("tokens generated", "tokens trained", "training seconds")] == [15, 4, 2]
    assert weak["tokens trained"] is None
    # What the first seed chose reaches the others.
    assert [Path(f"t/mini_lamp_4/{seed}/chosen").read_text() for seed in (0, 3)] == ["None", "['1']"]
    assert Path("t/mini_lamp_4/3/trained").read_text() == "3\n"


def test_the_test_over_trainings_is_paired_by_seed() -> None:
    # The differences to SFT of three trainings of the policy.
    assert p_of_trainings([0.9115, 0.8049, 0.7129], [0.9, 0.8, 0.7]) == pytest.approx(0.059, abs=1e-3)
    assert p_of_trainings([0.5], [0.4]) is None
    assert p_of_trainings([0.5, 0.7], [0.4, 0.6]) is None


def test_options_of_the_trainer_reach_it(here: Any) -> None:
    words = ("--trainer", "counting:retriever=random", "--seed", "0", "--runs", "t")
    by_random = json.loads(study(here, "ablation", *words).stdout)["rows"][0]["mean"]
    by_oracle = json.loads(
        study(here, "ablation", "--trainer", "counting:retriever=oracle", "--seed", "0", "--runs", "u").stdout
    )["rows"][0]["mean"]
    assert by_oracle > by_random


def test_cross_domain_runs_every_method_on_every_task(here: Any) -> None:
    tasks = ("--task", "mini_lamp_4", "--task", "mini_lamp_5")
    found = json.loads(
        study(here, "cross-domain", *tasks, "--trainer", "counting", "--seed", "0", "--runs", "t").stdout
    )
    pairs = [(row["trained on"], row["run on"]) for row in found["rows"]]
    assert sorted(pairs) == sorted((a, b) for a in tasks[1::2] for b in tasks[1::2])
    # The same method was "trained" on both, so where it was trained makes no difference.
    assert all(row["minus trained on it"] in (None, 0) for row in found["rows"])
    assert len(found["findings"]) == 1


def test_strength_makes_the_data_anew(here: Any) -> None:
    Path("methods.py").write_text(METHODS)
    options = ("--plugin", "methods.py", "--synth-users", "20", "--results", "r", "--strength", "0.55")
    methods = ("--method", "copying:retriever_=oracle", "--method", "echoing")
    done = here("study", "strength", *methods, *options, "--strength", "1", "--json", "-o", "out")
    assert done.status == 0, done.stderr
    weak, echo, strong, echo_again = json.loads(done.stdout)["rows"]
    assert [row["method"] for row in (weak, echo)] == ["copying", "echoing"]
    assert (weak["strength"], strong["strength"]) == (0.55, 1.0)
    assert strong["rouge1@lamp"] > weak["rouge1@lamp"] + 0.02
    # The users and their questions are the same.
    assert echo["rouge1@lamp"] == echo_again["rouge1@lamp"]
    assert echo["minus the first"] == pytest.approx(echo["rouge1@lamp"] - weak["rouge1@lamp"])
    assert weak["minus the first"] is None
    assert Path("out/strength.png").stat().st_size > 1000


def test_strength_is_of_planted_traits(here: Any) -> None:
    done = here("study", "strength", "--task", "lamp_4", "--method", "echoing", "--results", "r")
    assert done.status == 2
    assert "lamp_4 has no planted traits" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--trainer", "silent"), "trainer silent names no methods"),
        (
            ("--trainer", "counting", "--task", "mini_lamp_4", "--task", "mini_lamp_5"),
            "this study takes one task, not 2 (give",
        ),
        (("--trainer", "conting"), "did you mean"),
        (("--trainer", "counting", "--recipe", "tiny"), "has no option 'recipe'"),
    ],
)
def test_mistakes_cost_one_line(here: Any, words: tuple[str, ...], said: str) -> None:
    done = study(here, "ablation", *words, "--seed", "0", "--runs", "t")
    assert done.status == 2
    assert said in done.stderr
    assert sum(line.startswith("prlm-bench:") for line in done.stderr.splitlines()) == 1


def test_agreement_is_within_groups() -> None:
    groups = ["a", "a", "b", "b"]
    x = np.array([0.0, 1, 10, 11])
    assert _correlation(_products(x, x, groups).sum(axis=0)) == pytest.approx(1)
    # Over all samples these rise together; within each group they go against each other.
    y = np.array([1.0, 0, 11, 10])
    assert np.corrcoef(x, y)[0, 1] > 0.9
    assert _correlation(_products(x, y, groups).sum(axis=0)) == pytest.approx(-1)
    assert np.isnan(_correlation(_products(x, np.ones(4), groups).sum(axis=0)))


def test_phases_hold_every_step_once() -> None:
    steps = [step for step in range(12) for _ in range(3)]
    places = [place for _, part in _phases(steps) for place in part]
    assert sorted(places) == list(range(36))
    assert [label for label, _ in _phases([4, 4, 9])] == ["4", "9"]


def policy(here: Any, reward: Any) -> Path:
    """A policy's completions, early ones like the golds and late ones not, with a reward of our choice."""
    assert here("data", "synth", "-o", "d", "--task", "4").status == 0
    folder = Path("d/mini_LaMP_4/train")
    golds = json.loads((folder / "train_outputs.json").read_text())["golds"][:40]
    rows = []
    for step in range(4):
        for place, gold in enumerate(golds):
            for draw in range(2):
                right = (place + draw) % 2 == 0 if step < 2 else (place + draw) % 2 == 0 and place < 10
                answer = gold["output"] if right else golds[place - 1]["output"]
                row = {"step": step, "part": "train", "id": gold["id"], "completion": answer, "parsed": "strict"}
                rows.append({**row, "answer": answer, "rewards": {"personalization": reward(step, right)}})
    made = Path("p")
    made.mkdir()
    (made / "completions.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return made


def judged(here: Any, folder: Path, *words: str) -> Any:
    return here("study", "reward", str(folder), "--task", "mini_lamp_4", "--data", "d", "--json", *words)


def test_a_reward_that_knows_agrees_with_metric_and_truth(here: Any) -> None:
    found = json.loads(judged(here, policy(here, lambda step, right: float(right))).stdout)
    first = [row for row in found["rows"] if row["steps"] == "0"]
    assert {"truth", "rouge1@lamp"} <= {row["compared with"] for row in first}
    assert all(row["correlation"] > 0.5 for row in first if row["compared with"] in ("truth", "rouge1@lamp"))
    assert all("correlation +" in line and "too few users" in line for line in found["findings"])


def test_a_reward_that_rises_while_the_metric_falls_is_named(here: Any) -> None:
    found = json.loads(judged(here, policy(here, lambda step, right: step / 4)).stdout)
    assert "Reward hacking: personalization rose over training while truth fell." in found["findings"]
    assert any("does not vary within questions" in line for line in found["findings"])


def test_a_line_that_was_cut_off_is_passed_over(here: Any) -> None:
    """A training that was killed may leave one at the end of its completions."""
    folder = policy(here, lambda step, right: float(right))
    whole = judged(here, folder).stdout
    with (folder / "completions.jsonl").open("ab") as file:
        file.write(b'{"step":4,"part":"tra')
    assert judged(here, folder).stdout == whole


def test_completions_that_cannot_be_judged(here: Any) -> None:
    folder = policy(here, lambda step, right: 1.0)
    assert "was scored by style" in judged(here, folder, "--reward", "style").stderr
    assert "has no completions.jsonl" in judged(here, Path("d")).stderr
    other = here("study", "reward", "p", "--task", "mini_lamp_4", "--json", "--synth-users", "3")
    assert other.status == 2
    assert "other questions" in other.stderr
