"""What goes wrong in a training of PrLM: it is one line, and what was made before is kept."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")

from prlm_bench_plugins._training import read_completions, read_log
from support.prlm_shop import make_causal, recipe_file, settings, train

pytestmark = pytest.mark.slow

PLUGIN = '''
from pathlib import Path

from prlm_bench import hookimpl


class Moody:
    """Fails at its third batch, until somebody has mended it."""

    def __init__(self, mended: str = ""):
        self.mended, self.calls = Path(mended), 0

    def fingerprint(self):
        return ""

    def score(self, samples):
        self.calls += 1
        if self.calls == 3 and not self.mended.is_file():
            raise ZeroDivisionError("no mood")
        return [float(len(sample.completion.text)) for sample in samples]


class Flat:
    def fingerprint(self):
        return ""

    def score(self, samples):
        return [1.0] * len(samples)


class Length(Flat):
    def score(self, samples):
        return [float(len(sample.completion.text)) for sample in samples]


@hookimpl
def prlm_bench_register_rewards(register):
    register("length", Length)
    register("moody", Moody)
    register("flat", Flat)
'''

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_causal(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def made(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a recipe, pairs and a reward model."""
    from prlm_bench.data.synth import SynthConfig, write_mini_lamp

    folder = tmp_path_factory.mktemp("made")
    write_mini_lamp(folder / "data", [4, 7], SynthConfig(train_users=6, dev_users=2, test_users=1))
    recipe_file(folder, settings(base))
    words = ["prlm.reward", "--task", "mini_lamp_4", "--data", folder / "data", "--recipe", folder / "recipe.yaml"]
    status, told = train(folder, [*words, "-o", folder / "out"])
    assert status == 0, told
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Run:
    shutil.copytree(made / "out", tmp_path / "out")
    (tmp_path / "mine.py").write_text(PLUGIN)

    def run(
        trainer: str, *changes: str, task: str = "mini_lamp_4", output: Path = tmp_path / "out", **options: Any
    ) -> tuple[int, str]:
        words = [trainer, "--task", task, "--data", made / "data", "--recipe", made / "recipe.yaml"]
        words += [word for change in changes for word in ("--change", change)]
        return train(tmp_path, [*words, "-o", output, "--plugin", tmp_path / "mine.py"], **options)

    return run


@pytest.fixture(autouse=True)
def earlier_artefacts_stay(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    yield
    if "made" in request.fixturenames:
        made = request.getfixturevalue("made")
        for path in (made / "out").rglob("*"):
            if path.is_file():
                assert (tmp_path / "out" / path.relative_to(made / "out")).read_bytes() == path.read_bytes(), path


def mistake(done: tuple[int, str]) -> str:
    status, told = done
    line = told.splitlines()[-1]
    assert status == 2 and "Traceback" not in told, told
    assert line.startswith("prlm-bench: ") and told.count("prlm-bench: ") == 1, told
    return line.removeprefix("prlm-bench: ")


ALONE = "policy.rewards={accuracy: 1.0}"


class TestPolicy:
    def test_a_rate_that_breaks_the_loss(self, run: Run, tmp_path: Path) -> None:
        line = mistake(run("prlm.policy", "policy.learning_rate=1e10", "policy.max_grad_norm=1e10"))
        assert line.startswith("training policy") and "reduce learning_rate" in line, line
        assert not (tmp_path / "out" / "policy" / "manifest.json").exists()
        assert mistake(run("prlm.policy", "policy.learning_rate=1e10", "policy.max_grad_norm=1e10")) == line

    def test_a_reward_that_raises(self, run: Run, tmp_path: Path) -> None:
        change = f"policy.rewards={{'moody:mended={tmp_path}/mended': 1.0}}"
        line = mistake(run("prlm.policy", change))
        assert line.startswith("reward moody failed at step 1: ZeroDivisionError: no mood"), line
        (tmp_path / "mended").touch()
        status, told = run("prlm.policy", change)
        assert status == 0, told

    def test_all_rewards_equal(self, run: Run, tmp_path: Path) -> None:
        status, told = run("prlm.policy", "policy.rewards={flat: 1.0}")
        assert status == 1 and "Traceback" not in told, told
        warning = "warning: training policy, step 6: 100% of the groups had the same reward for each completion, and "
        assert told.count(warning) == 1, told
        found = [line for line in told.splitlines() if line.startswith("finding: policy: nothing could be learned: ")]
        assert len(found) == 1 and "of the completions were cut at the limit" in found[0], told
        again, told = run("prlm.policy", "policy.rewards={flat: 1.0}")
        assert again == 1 and found[0] in told, "a finished training says it again"
        manifest = json.loads((tmp_path / "out" / "policy" / "manifest.json").read_text())
        assert manifest["steps"] == 6
        assert manifest["last_steps"]["share_of_groups_without_spread"] == 1
        assert "share_of_groups_without_spread" in told

    def test_empty_completions(self, run: Run, tmp_path: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        folder = make_causal(tmp_path / "silent")
        model = AutoModelForCausalLM.from_pretrained(folder)
        with torch.no_grad():
            for layer in model.model.layers:
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
            model.model.embed_tokens.weight[:] = 1.0
            model.lm_head.weight.zero_()
            model.lm_head.weight[1] = 1.0
        model.save_pretrained(folder)
        rewards = "policy.rewards={accuracy: 1.0, closed-reasoning: 0.1, 'personalization:model=%s': 1.0}"
        change = rewards % (tmp_path / "out")
        status, told = train_in(run, tmp_path / "other", change, f"base={folder}")
        assert status == 1 and "0% of the completions were cut" in told, told
        rows = read_completions(tmp_path / "other" / "policy")
        assert rows and {row["completion"] for row in rows} == {""}
        assert {value for row in rows for value in row["rewards"].values()} == {0.0}

    def test_groups_larger_than_a_forward_pass(self, run: Run, tmp_path: Path) -> None:
        changes = [
            "policy.batch=2",
            "policy.group=4",
            "policy.device_batch=2",
            "policy.steps=2",
            "policy.scale_rewards=none",
        ]
        status, told = train_in(run, tmp_path / "other", "policy.rewards={length: 1.0}", *changes)
        assert status == 0, told
        rows = read_log(tmp_path / "other" / "policy")
        assert [row["step"] for row in rows if "loss" in row] == [1, 2]
        assert all(row["rewards/length/share"] == pytest.approx(1) for row in rows if "rewards/length/share" in row)

    def test_questions_over_the_window(self, run: Run, tmp_path: Path) -> None:
        line = mistake(train_in(run, tmp_path / "other", ALONE, "max_completion=895"))
        assert line.startswith(
            "none of 12 questions fits the base model's context window beside a completion (reduce max_completion"
        )

    def test_a_full_disk(self, run: Run, tmp_path: Path) -> None:
        line = mistake(run("prlm.policy", LARGEST_FILE="250000"))
        assert "a checkpoint cannot be written" in line and line.endswith("repeat the command to resume)"), line
        status, told = run("prlm.policy")
        assert status == 0, told
        assert [row["step"] for row in read_log(tmp_path / "out" / "policy") if "loss" in row] == list(range(1, 7))

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ("policy.trl={nonsense: 1}", "training policy failed: TypeError: "),
            ("policy.device_batch=3", "device_batch=3 on 1 devices does not divide the 4 rows of a step"),
            ("policy.rewards={acuracy: 1}", "unknown reward 'acuracy' (did you mean accuracy"),
            ("policy.reasoner=prml", "unknown reasoner 'prml' (did you mean prlm"),
            ("policy.batch=90", "12 questions in 2.0 epochs are less than one step of 90"),
        ],
    )
    def test_settings(self, run: Run, tmp_path: Path, change: str, said: str) -> None:
        assert mistake(train_in(run, tmp_path / "other", ALONE, change)).startswith(said)


def train_in(run: Run, output: Path, *changes: str) -> tuple[int, str]:
    """The policy alone, in another folder."""
    return run("prlm.policy", *changes, output=output)


class TestOthers:
    def test_a_weight_that_is_no_number(self, run: Run, base: Path, tmp_path: Path) -> None:
        from safetensors.torch import load_file, save_file

        folder = Path(shutil.copytree(base, tmp_path / "inf"))
        weights = load_file(folder / "model.safetensors")
        weights["model.norm.weight"][0] = float("inf")
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        line = mistake(run("prlm.sft", f"base={folder}", output=tmp_path / "other"))
        assert line.startswith("training sft: eval_loss is nan at step 0"), line

    def test_a_base_without_a_chat_template(self, run: Run, base: Path, tmp_path: Path) -> None:
        folder = make_causal(tmp_path / "plain", template=None)
        line = mistake(train_in(run, tmp_path / "other", ALONE, f"base={folder}"))
        assert line == f"model '{folder}' has no chat template (take a model that was tuned for chat)"

    def test_another_tasks_folder(self, run: Run) -> None:
        line = mistake(run("prlm.policy", task="mini_lamp_7"))
        assert 'was made with other settings: task was "mini_lamp_4" and is "mini_lamp_7"' in line

    def test_a_reward_model_of_another_task_in_a_run(self, made: Path, here: Any, tmp_path: Path) -> None:
        shutil.copytree(made / "out", tmp_path / "out")
        words = [
            "--task",
            "mini_lamp_7",
            "--synth-users",
            2,
            "--retriever",
            "bm25",
            "-k",
            1,
            "--generator",
            "echo",
            "--no-controls",
        ]
        done = here("run", *words, "--reward", "personalization:model=out", "--results", "r")
        assert done.status == 2 and "was trained for mini_lamp_4, not for mini_lamp_7" in done.stderr, done


def test_without_trl(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from prlm_bench.host import _component

    is_there = _component._is_there
    monkeypatch.setattr(_component, "_is_there", lambda module: module != "trl" and is_there(module))
    line = here("train", "prlm", "--task", "mini_lamp_4", "-o", "out").mistake
    assert "needs the package trl" in line and "prlm-bench[prlm]" in line
