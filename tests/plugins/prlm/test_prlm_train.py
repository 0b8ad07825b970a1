"""Whole trainings of PrLM on made models: what they leave, and that a killed one ends like an unbroken one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")

from prlm_bench_plugins._training import TRAIN, VALIDATION, read_completions, read_log
from prlm_bench_plugins.prlm._recipe import read_recipe
from support.prlm_shop import make_bert, make_causal, recipe_file, settings, train

pytestmark = pytest.mark.slow

STAGES = {"prlm": "policy", "prlm.sft": "sft", "prlm.rft": "rft", "prlm.dpo": "dpo"}
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from prlm_bench.data.synth import SynthConfig, write_mini_lamp

    folder = tmp_path_factory.mktemp("data")
    write_mini_lamp(folder, [4], SynthConfig(train_users=6, dev_users=2, test_users=1))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_causal(tmp_path_factory.mktemp("models") / "base")


Words = Callable[..., list[object]]


@pytest.fixture(scope="module")
def words(data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Words:
    recipe = recipe_file(tmp_path_factory.mktemp("recipe"), settings(base))

    def made(trainer: str, output: Path, *more: object) -> list[object]:
        return [trainer, "--task", "mini_lamp_4", "--data", data, "--recipe", recipe, "-o", output, *more]

    return made


@pytest.fixture(scope="module")
def unbroken(words: Words, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages, made without an interruption."""
    folder = tmp_path_factory.mktemp("unbroken")
    for trainer in STAGES:
        status, told = train(folder, words(trainer, folder / "out"))
        assert status == 0, told
    return folder / "out"


def kept(stage: Path) -> dict[str, bytes]:
    """What has to be the same: figures, completions, the model, the manifest."""
    names = ("log.jsonl", "completions.jsonl", "manifest.json", "pairs.jsonl")
    files = [stage / name for name in names] + sorted((stage / "model").glob("*"))
    return {str(path.relative_to(stage)): path.read_bytes() for path in files if path.is_file()}


def steps(stage: Path) -> int:
    return max((row["step"] for row in read_log(stage)), default=-1)


class TestStages:
    @pytest.mark.parametrize("name", ["policy", "sft", "rft", "dpo"])
    def test_a_stage_leaves_a_model_and_its_course(self, unbroken: Path, name: str) -> None:
        manifest = json.loads((unbroken / name / "manifest.json").read_text())
        log = read_log(unbroken / name)
        assert manifest["steps"] == max(row["step"] for row in log)
        assert manifest["steps"] == (manifest["pairs"] if name == "dpo" else 6)  # two epochs of pairs, two a step
        assert [row["step"] for row in log if "loss" in row] == list(range(1, manifest["steps"] + 1))
        curve = manifest["held_back"]["curve"]
        assert [step for step, _ in curve] == sorted({*range(0, manifest["steps"], 2), manifest["steps"]})
        assert manifest["held_back"]["metric"] == "accuracy"
        assert dict(map(tuple, curve))[manifest["best_step"]] == max(value for step, value in curve if step)
        assert (
            all(manifest["cost"].values()) and json.loads((unbroken / name / "timing.json").read_text())["seconds"] > 0
        )
        assert sorted(manifest["files"]) == sorted(path.name for path in (unbroken / name / "model").iterdir())
        assert not (unbroken / name / "begun.json").exists()

    def test_every_rewards_mean_and_spread_is_kept(self, unbroken: Path) -> None:
        row = read_log(unbroken / "policy")[1]
        for reward in ("accuracy", "closed-reasoning", "personalization"):
            assert f"rewards/{reward}/mean" in row and f"rewards/{reward}/std" in row
        for figure in ("entropy", "completions/clipped_ratio", "completions/mean_length", "frac_reward_zero_std"):
            assert figure in row
        assert not any("time" in name or "per_second" in name for name in row)
        manifest = json.loads((unbroken / "policy" / "manifest.json").read_text())
        assert {"reward", "accuracy", "personalization_spread", "entropy"} <= set(manifest["last_steps"])

    def test_completions_can_be_read(self, unbroken: Path) -> None:
        rows = read_completions(unbroken / "policy")
        assert [row["step"] for row in rows if row["part"] == VALIDATION] == [0] * 4 + [2] * 4 + [4] * 4 + [6] * 4
        assert [row["step"] for row in rows if row["part"] != VALIDATION] == [s for s in range(6) for _ in range(4)]
        assert set(rows[0]["rewards"]) == {"accuracy", "closed-reasoning", "personalization"}

    def test_events_lie_in_the_stage_and_no_model_card_anywhere(self, unbroken: Path) -> None:
        pytest.importorskip("tensorboard")
        for name in ("policy", "sft", "dpo"):
            assert list((unbroken / name / "tensorboard").glob("events.*"))
        assert not list(unbroken.rglob("README.md")) and not list(unbroken.rglob("runs"))

    def test_the_model_answers_in_a_run(self, unbroken: Path, here: Any) -> None:
        method = ["--method", f"prlm:checkpoint={unbroken}", "--method", f"dpo:checkpoint={unbroken}"]
        done = here("run", "--task", "mini_lamp_4", "--synth-users", 2, "--no-controls", *method, "--results", "r")
        assert done.status == 0, done

    def test_the_same_command_again_makes_nothing(self, unbroken: Path, words: Words, tmp_path: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in unbroken.rglob("*")}
        status, told = train(tmp_path, words("prlm", unbroken))
        assert status == 0 and "steps" not in told.split("policy.steps")[0], told
        assert {path: path.stat().st_mtime_ns for path in unbroken.rglob("*")} == before


class TestKilled:
    def test_in_the_reward_model_and_early_in_the_policy(self, unbroken: Path, words: Words, tmp_path: Path) -> None:
        out = tmp_path / "out"
        moments: list[Callable[[], bool]] = [
            lambda: steps(out / "reward") >= 1,
            lambda: steps(out / "reward") >= 2,
            lambda: (out / "policy" / "begun.json").is_file(),
            lambda: steps(out / "policy") >= 1,  # before its first checkpoint
        ]
        self.end_alike(out, moments, words, tmp_path, unbroken)

    def test_late_in_the_policy(self, unbroken: Path, words: Words, tmp_path: Path) -> None:
        out = tmp_path / "out"
        checkpoints = out / "policy" / "checkpoints"
        moments: list[Callable[[], bool]] = [
            lambda: steps(out / "policy") >= 3,  # between two checkpoints
            lambda: (checkpoints / "checkpoint-4").is_dir(),  # while one is written
            lambda: steps(out / "policy") >= 5,
            lambda: (out / "policy" / "model").is_dir(),  # after the last step
        ]
        self.end_alike(out, moments, words, tmp_path, unbroken)

    @staticmethod
    def end_alike(out: Path, moments: list[Callable[[], bool]], words: Words, folder: Path, unbroken: Path) -> None:
        for place, moment in enumerate(moments):
            status, told = train(folder, words("prlm", out), moment)
            assert status == KILLED, (place, told)
        status, told = train(folder, words("prlm", out))
        assert status == 0, told
        for name in ("pairs", "reward", "policy"):
            assert kept(out / name) == kept(unbroken / name), name

    @pytest.mark.parametrize("trainer", ["prlm.sft", "prlm.rft", "prlm.dpo"])
    def test_a_baseline(self, unbroken: Path, words: Words, tmp_path: Path, trainer: str) -> None:
        out = tmp_path / "out"
        stage = out / STAGES[trainer]
        for moment in (lambda: steps(stage) >= 1, lambda: steps(stage) >= 3 or (stage / "model").is_dir()):
            status, told = train(tmp_path, words(trainer, out), moment)
            assert status == KILLED, told
        status, told = train(tmp_path, words(trainer, out))
        assert status == 0, told
        assert kept(stage) == kept(unbroken / STAGES[trainer])

    def test_patience_goes_on_too(self, words: Words, tmp_path: Path) -> None:
        change = [
            "--change",
            "sft.patience=1",
            "--change",
            "sft.learning_rate=1.0",
            "--change",
            "sft.max_grad_norm=100",
        ]
        change += ["--change", "sft.every=1"]
        status, told = train(tmp_path, words("prlm.sft", tmp_path / "one", *change))
        assert status == 0, told
        other = tmp_path / "two" / "sft"
        status, told = train(tmp_path, words("prlm.sft", tmp_path / "two", *change), lambda: steps(other) >= 2)
        assert status == KILLED, told
        status, told = train(tmp_path, words("prlm.sft", tmp_path / "two", *change))
        assert status == 0, told
        assert kept(other) == kept(tmp_path / "one" / "sft")
        assert json.loads((other / "manifest.json").read_text())["steps"] < 6


def test_published_on_made_models_of_its_architecture(data: Path, tmp_path: Path) -> None:
    """BERT, an adapter, checkpointing and a reference model."""
    causal = make_causal(tmp_path / "qwen")
    bert = make_bert(tmp_path / "bert", ["generate a headline for the article"] * 3)
    small = ["reward.epochs=1", "reward.batch=2", "reward.max_length=64", "policy.questions=4", "policy.epochs=2"]
    small += ["policy.batch=2", "policy.device_batch=4", "policy.every=2", "policy.judged=2", "policy.lora={r: 4}"]
    small += ["max_completion=8", "pairs.questions=12", "held_back=0.3", f"reward.base={bert}", "precision=float32"]
    small += ["reasoner=direct", "pairs.plain=direct", "policy.reasoner=direct", "policy.learning_rate=1e-3"]
    changes = [word for change in small for word in ("--change", change)]
    words = ["--task", "mini_lamp_4", "--data", data, "--recipe", "published", "--base", causal, *changes]
    status, told = train(tmp_path, ["prlm", *words, "--retriever", "bm25", "-k", 2, "-o", tmp_path / "out"])
    assert status == 0, told
    policy = read_recipe("published").policy
    assert policy is not None and policy.beta > 0 and policy.trl == {"gradient_checkpointing": True}
    manifest = json.loads((tmp_path / "out" / "policy" / "manifest.json").read_text())
    assert manifest["steps"] == manifest["best_step"] == 4 and manifest["last_steps"]["kl"] > 0
    assert "direct:max_length=3000" in told
    from safetensors.torch import load_file

    before, after = (load_file(folder / "model.safetensors") for folder in (causal, tmp_path / "out/policy/model"))
    assert before.keys() == after.keys()  # the adapter is part of the weights
    moved = {name for name in before if not before[name].equal(after[name])}
    assert moved and all("proj" in name for name in moved)


def test_two_processes(unbroken: Path, words: Words, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("pairs", "reward"):
        shutil.copytree(unbroken / name, out / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port, "-m", "prlm_bench"]
    command = [sys.executable, *launcher, "train", *map(str, words("prlm.policy", out))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PRLM_BENCH_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = json.loads((out / "policy" / "manifest.json").read_text())
    assert manifest["steps"] == 6 and manifest["files"]
    rows = read_completions(out / "policy")
    assert [row["step"] for row in rows if row["part"] == TRAIN] == [step for step in range(6) for _ in range(4)]
    assert all(
        len({row["id"] for row in rows if row["step"] == step and row["part"] == TRAIN}) == 2 for step in range(6)
    )
    assert [row["step"] for row in read_log(out / "policy") if "loss" in row] == list(range(1, 7))
