"""`prlm-bench train`: gives trainers what they need, prints their manifest, and says in one line what is wrong."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

PLUGIN = '''
from prlm_bench import hookimpl
from prlm_bench.errors import PrlmBenchError


class Alone:
    """Brings its own data."""

    def __init__(self, seed: int = 7, size: int = 2, broken: bool = False):
        self.seed, self.size, self.broken = seed, size, broken

    def fingerprint(self):
        return ""

    def train(self, output, progress):
        if self.broken:
            raise PrlmBenchError("the lessons are too hard", "take easier ones")
        progress.start("learning", self.size)
        for _ in range(self.size):
            progress.advance()
        output.mkdir(parents=True)
        (output / "weights").write_text(str(self.seed))
        return {"seed": self.seed, "figures": {"loss": 0.5}, "output": output.name}


class Seedless:
    def fingerprint(self):
        return ""

    def train(self, output, progress):
        return {}


class OnATask:
    """Learns from a task's training split."""

    def __init__(self, context, size: int = 2):
        self.context = context

    def fingerprint(self):
        return ""

    def train(self, output, progress):
        data = self.context.dataset
        return {"task": data.task.name, "split": data.split, "questions": len(data), "seed": self.context.seed}


class Runnable(OnATask):
    """Says how what it makes is run."""

    def train(self, output, progress):
        method = {"retriever": "recency", "k": 2, "reasoner": "direct", "generator": "copy"}
        return {"methods": {"made": method, "other": {**method, "k": 3}}}


class Heavy(Alone):
    pass


@hookimpl
def prlm_bench_register_trainers(register):
    register("alone", Alone)
    register("seedless", Seedless)
    register("on-a-task", OnATask, needs={"train"})
    register("runnable", Runnable, needs={"train"})
    register("heavy", Heavy, requires={"no_such_module_here": "heavy-package"})
'''


@pytest.fixture
def train(here: Any, tmp_path: Path) -> Any:
    (tmp_path / "mine.py").write_text(PLUGIN)
    return lambda *words: here("train", *words, "--plugin", "mine.py")


def test_a_trainer_with_its_own_data_needs_no_task(train: Any, tmp_path: Path) -> None:
    done = train("alone:size=3", "--output", "out")
    assert done.status == 0
    assert (tmp_path / "out" / "weights").read_text() == "7"
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    assert ["seed", "7"] in rows and ["figures.loss", "0.5"] in rows
    assert "learning: 3 to do" in done.stderr and "3/3" in done.stderr
    assert done.stderr.splitlines()[-1] == "wrote out"


def test_json(train: Any) -> None:
    done = train("alone", "--output", "out", "--json")
    assert json.loads(done.stdout) == {"seed": 7, "figures": {"loss": 0.5}, "output": "out"}


def test_a_trainer_on_a_task_gets_its_training_split(train: Any) -> None:
    done = train("on-a-task", "--task", "mini_lamp_4", "--output", "out", "--seed", 3, "--json")
    assert json.loads(done.stdout) == {"task": "mini_lamp_4", "split": "train", "questions": 180, "seed": 3}


def test_the_command_that_runs_what_was_made(train: Any, here: Any) -> None:
    done = train("runnable", "--task", "mini_lamp_4", "--synth-users", 5, "--output", "out")
    before, command = done.stderr.splitlines()[-2:]
    assert before == "wrote out"
    assert command.startswith("run it: prlm-bench run --task mini_lamp_4 --synth-users 5 --retriever recency -k 2 ")
    run = here(*shlex.split(command.partition("prlm-bench ")[2]), "--no-controls", "--results", "r")
    assert run.status == 0 and "recency" in run.stdout


def test_data_of_ones_own(train: Any, here: Any) -> None:
    assert here("data", "synth", "--output", "data", "--task", 4, "--train-users", 5).status == 0
    done = train("on-a-task", "--task", "mini_lamp_4", "--data", "data", "--output", "out", "--json")
    assert json.loads(done.stdout)["questions"] == 15


def test_the_seed_of_a_trainer_with_its_own_data(train: Any) -> None:
    assert json.loads(train("alone", "-o", "one", "--seed", 5, "--json").stdout)["seed"] == 5
    assert json.loads(train("alone:seed=6,size=1", "-o", "two", "--json").stdout)["seed"] == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["alon"], "unknown trainer 'alon' (did you mean alone"),
        (["alone:sizes=3"], "trainer 'alone' has no option 'sizes' (did you mean size?)"),
        (["alone:size=many"], "trainer 'alone': size='many': Input should be a valid integer"),
        (["alone:broken=true"], "the lessons are too hard (take easier ones)"),
        (
            ["alone", "--task", "mini_lamp_4"],
            "trainer alone brings its own data, so --task does not apply (leave --task out)",
        ),
        (["alone", "--synth-users", "9"], "trainer alone brings its own data, so --synth-users does not apply"),
        (["alone:seed=3", "--seed", "4"], "trainer alone:seed=3 does not take --seed (leave it out)"),
        (["seedless", "--seed", "4"], "trainer seedless does not take --seed (leave it out)"),
        (["on-a-task"], "trainer on-a-task learns from a task's training split (give --task NAME and --data FOLDER)"),
        (["on-a-task", "--task", "mini_lamp_44"], "unknown task 'mini_lamp_44' (did you mean mini_lamp_4"),
        (["heavy"], "trainer heavy cannot run here: it needs the package no_such_module_here"),
    ],
)
def test_mistakes_are_one_line(train: Any, words: list[str], said: str) -> None:
    assert train(*words, "--output", "out").mistake.startswith(said)


def test_the_output_has_to_be_named(train: Any) -> None:
    assert "--output" in train("alone").mistake


class TestFlagsOfARecipe:
    WORDS = ("prlm.pairs", "--task", "mini_lamp_4", "-o", "out")

    def test_they_set_the_options_of_these_names(self, here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")
        from prlm_bench_plugins.prlm._stages import StageTrainer

        monkeypatch.setattr(StageTrainer, "train", lambda self, *_: {"recipe": self.recipe.model_dump()})
        flags = ["--recipe", "tiny", "--base", "mine", "--retriever", "recency", "-k", 3]
        changes = ["--change", "policy.learning_rate=1e-5", "--change", "pairs.gold=true"]
        recipe = json.loads(here("train", *self.WORDS, *flags, *changes, "--json").stdout)["recipe"]
        assert (recipe["base"], recipe["retriever"], recipe["k"]) == ("mine", "recency", 3)
        assert (recipe["policy"]["learning_rate"], recipe["pairs"]["gold"]) == (1e-5, True)
        assert here("train", "prlm.pairs:k=3", *self.WORDS[1:], "-k", 3).mistake.startswith("k is set twice")
        assert here("train", *self.WORDS, "--change", "k=0").mistake.startswith("recipe tiny.yaml: k: Input should be")

    def test_a_trainer_without_them(self, train: Any) -> None:
        line = train("alone", "--recipe", "tiny", "-o", "out").mistake
        assert line == "trainer alone has no option recipe (known: seed, size, broken)"
        assert "trainer tiny has no option base" in train("tiny", "--base", "x", "-o", "out").mistake
