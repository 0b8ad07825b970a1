"""Recipes and artefacts of PrLM: what is accepted, what is refused, and what goes on where it was left."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from prlm_bench_plugins._training import Artefact, make_artefact, plugin_code, read_artefact
from prlm_bench_plugins.prlm import _stages
from prlm_bench_plugins.prlm._arms import base_methods, trained_methods
from prlm_bench_plugins.prlm._callbacks import finding
from prlm_bench_plugins.prlm._context import SOURCES
from prlm_bench_plugins.prlm._recipe import GrpoSettings, change_recipe, read_recipe, recipe_names, recipe_text
from prlm_bench_plugins.prlm._tuning import epoch_orders
from support.prlm_shop import recipe_file, settings, training_context

from prlm_bench.errors import PrlmBenchError

#: No stage is begun.
NO_CONTEXT: Any = None
#: What the paper, its code (commit 4d86698: configurations of LaMP-4, 5 and 7, their launch scripts, the reward model's
#: training), or the libraries' defaults of its time say.
PUBLISHED = {
    "base": "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
    "retriever": "bge-base-prlm",
    "k": 5,
    "max_completion": 768,
    "run_max_length": 3000,
    "start": None,
    "precision": "bf16",
    "pairs.questions": 5000,
    "pairs.negatives": [],
    "pairs.gold": False,
    "pairs.plain": "direct:protocol=impersonal",
    "reward.base": "google-bert/bert-base-uncased",
    "reward.learning_rate": 5e-5,
    "reward.epochs": 3,
    "reward.batch": 64,
    "reward.max_length": 512,
    "reward.warmup": 0,
    "reward.profile": False,
    "policy.questions": 500,
    "policy.learning_rate": 1e-6,
    "policy.epochs": 5,
    "policy.steps": None,
    "policy.schedule": "cosine_with_min_lr",
    "policy.final_share": 0.1,
    "policy.warmup": 0.1,
    "policy.batch": 1,  # 4 completions a device, groups of 4, no accumulation, one process
    "policy.device_batch": 4,
    "policy.max_grad_norm": 1,
    "policy.every": 500,  # an epoch
    "policy.select": "last",
    "policy.patience": None,
    "policy.group": 4,
    "policy.temperature": 0.7,
    "policy.beta": 0.04,  # trl's default of early 2025, as the next two
    "policy.loss_type": "grpo",
    "policy.scale_rewards": "group",
    "policy.rewards": {"accuracy": 1, "closed-reasoning": 0.1, "personalization:published=true": 0.1},
    "policy.trl": {"gradient_checkpointing": True},
}
#: What has no counterpart there, or departs from it as the recipe's comments say.
OURS = {
    "reasoner": "prlm",
    "policy.reasoner": "prlm",
    "held_back": 0.1,
    "batch_tokens": 65536,
    "report_to": "auto",
    "policy.eval_batch": 64,
    "policy.permuted": [],
    "policy.judged": 64,
    "policy.keep_every": 50,
    "policy.lora": None,
}


class TestRecipes:
    @pytest.mark.parametrize("name", recipe_names())
    def test_those_that_ship_are_whole_with_each_of_their_ablations(self, name: str) -> None:
        recipe = read_recipe(name)
        assert recipe.ablations
        for changes in recipe.ablations.values():
            changed = change_recipe(recipe, changes)
            assert (changed.policy, changed.reward) != (recipe.policy, recipe.reward)
            assert changed.model_copy(update={"policy": recipe.policy, "reward": recipe.reward}) == recipe

    def test_every_field_of_published_is_the_published_value_or_named_as_ours(self) -> None:
        recipe = read_recipe("published").model_dump()
        sections = {name: recipe.pop(name) for name in ("pairs", "reward", "policy")}
        for baseline in ("sft", "rft", "dpo", "ablations"):  # not in the paper
            assert recipe.pop(baseline)
        for ours in ("sft_grid", "sft_traces"):
            assert recipe.pop(ours) is None
        found = recipe | {f"{name}.{field}": value for name, each in sections.items() for field, value in each.items()}
        assert found == {**PUBLISHED, **OURS}
        assert not PUBLISHED.keys() & OURS.keys()

    def test_departures_of_published_stand_beside_it(self) -> None:
        comment = " ".join(line.removeprefix("#") for line in recipe_text("published").splitlines() if line[:1] == "#")
        for word in ("prompts", "answer object", "</think>", "held_back", "precision", "checkpoints", "LoRA", "seed"):
            assert word in comment, word
        assert "Ours, not the paper's" in recipe_text("published-fast")
        fast = read_recipe("published-fast")
        assert fast.policy is not None and (fast.policy.batch, fast.policy.select) == (16, "best")

    @pytest.mark.parametrize("stage", ["policy", "sft", "rft", "dpo"])
    def test_a_stage_that_is_not_trained_may_be_left_out(self, tmp_path: Path, stage: str) -> None:
        content = settings("x")
        del content[stage]
        path = str(recipe_file(tmp_path, content))
        trainers = {"prlm.pairs", "prlm.reward", "prlm.policy", "prlm.sft", "prlm.rft", "prlm.dpo"} - {f"prlm.{stage}"}
        for name in trainers:
            getattr(_stages, name.removeprefix("prlm."))(NO_CONTEXT, recipe=path)
        for kind in (getattr(_stages, stage), _stages.ablation):
            with pytest.raises(PrlmBenchError, match=f"the recipe has no section {stage} .add one"):
                kind(NO_CONTEXT, recipe=path)

    @pytest.mark.parametrize(
        ("changes", "devices", "sizes"),
        [
            ("policy.batch=2 policy.group=4", 1, (8, 8)),
            ("policy.batch=2 policy.group=4 policy.device_batch=2", 1, (2, 4)),  # trl wants whole groups in evaluation
            ("policy.batch=2 policy.group=4 policy.device_batch=2", 2, (2, 2)),
            ("policy.batch=3 policy.group=6 policy.device_batch=3", 4, "does not divide the 18 rows"),
            ("policy.batch=2 policy.group=4 policy.eval_batch=9", 1, (8, 12)),
            (
                "policy.batch=2 policy.group=4 policy.device_batch=3",
                1,
                "device_batch=3 on 1 devices does not divide the 8",
            ),
            ("policy.batch=1 policy.group=2", 4, "on 4 devices does not divide the 2 rows of a step"),
        ],
    )
    def test_sizes_of_batches_are_checked_before_anything_starts(
        self, changes: str, devices: int, sizes: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WORLD_SIZE", str(devices))
        if isinstance(sizes, str):
            with pytest.raises(PrlmBenchError, match=sizes):
                _stages.policy(NO_CONTEXT, changes=changes.split())
        else:
            policy = read_recipe("tiny", changes.split()).policy
            assert policy is not None and policy.batch_sizes() == sizes

    def test_changes_and_flags(self) -> None:
        changes = ["policy.learning_rate=1e-5", "reward.base.hidden=64", "policy.rewards={accuracy: 2}"]
        recipe = read_recipe("tiny", changes, k=7, base=None, retriever="recency")
        assert (recipe.k, recipe.retriever, recipe.base) == (7, "recency", read_recipe("tiny").base)
        assert recipe.policy is not None and recipe.policy.learning_rate == 1e-5
        assert recipe.policy.rewards == {"accuracy": 2.0}
        assert not isinstance(recipe.reward.base, str) and recipe.reward.base.hidden == 64

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ("policy.learning_rat=1", "recipe tiny.yaml: policy.learning_rat: Extra inputs are not permitted"),
            ("polic.k=1", "recipe tiny.yaml: polic: Extra inputs are not permitted"),
            ("k=0", "recipe tiny.yaml: k: Input should be greater than or equal to 1"),
            ("policy.learning_rate=-1", "recipe tiny.yaml: policy.learning_rate: Input should be greater than 0"),
            ("policy.rewards={}", "recipe tiny.yaml: policy.rewards: Dictionary should have at least 1 item"),
            ("pairs.negatives=[mine]", "recipe tiny.yaml: pairs.negatives.0: Input should be 'other-user' or 'echo'"),
            ("precision=fp8", "recipe tiny.yaml: precision: Input should be 'float32', 'bf16' or 'fp16'"),
            ("k", "'k' is not a change (write policy.learning_rate=1e-5)"),
            ("=3", "'=3' is not a change"),
            ("k=[1", "'k=[1': cannot be read: while parsing"),
        ],
    )
    def test_a_wrong_change_is_one_line(self, change: str, said: str) -> None:
        with pytest.raises(PrlmBenchError) as caught:
            read_recipe("tiny", [change])
        assert str(caught.value).startswith(said)
        assert "\n" not in str(caught.value)

    def test_names_and_files(self, tmp_path: Path) -> None:
        with pytest.raises(PrlmBenchError, match=r"unknown recipe 'tinny' .did you mean tiny"):
            read_recipe("tinny")
        with pytest.raises(PrlmBenchError, match=r"none.yaml: cannot be read"):
            read_recipe(str(tmp_path / "none.yaml"))
        (tmp_path / "list.yaml").write_text("- 1\n")
        with pytest.raises(PrlmBenchError, match="a recipe is a mapping"):
            read_recipe(str(tmp_path / "list.yaml"))
        (tmp_path / "torn.yaml").write_text("policy: {")
        with pytest.raises(PrlmBenchError, match=r"torn.yaml:1: cannot be read") as caught:
            read_recipe(str(tmp_path / "torn.yaml"))
        assert "\n" not in str(caught.value)

    def test_numbers_as_yaml_1_1_reads_them(self, tmp_path: Path) -> None:
        content = settings("x")
        content["policy"]["learning_rate"] = "1e-5"
        path = recipe_file(tmp_path, content)
        path.write_text(path.read_text().replace("'1e-5'", "1e-5"))
        assert yaml.safe_load(path.read_text())["policy"]["learning_rate"] == "1e-5"
        policy = read_recipe(str(path)).policy
        assert policy is not None and policy.learning_rate == 1e-5


def policy_of(changes: Sequence[str]) -> GrpoSettings:
    found = read_recipe("tiny", changes).policy
    assert found is not None
    return found


class TestMethods:
    """What a training says to run: methods for its models and for its base."""

    def made(self, folder: Path, changes: Sequence[str]) -> dict[str, dict[str, Any]]:
        recipe = read_recipe("tiny", ["base=acme/base", *changes])
        policy = Artefact(folder / "policy", {"reasoner": "prlm"})
        sft = Artefact(folder / "sft", {"reasoner": "direct:protocol=chat"})
        trained = trained_methods(recipe, folder, {"policy": policy, "sft": sft})
        return {**trained, **base_methods(recipe, folder)}

    def test_trained_models_and_their_base_compute_in_one_precision(self, tmp_path: Path) -> None:
        methods = self.made(tmp_path, [])
        for name in ("no-rl", "think", "rag", "zero-shot"):
            assert methods[name]["generator"].startswith("transformers:model=acme/base,dtype=float32,")
        kept = inspect.signature(_stages.trained).parameters["dtype"].default
        assert kept == "float32" and methods["prlm"]["generator"] == f"trained:checkpoint={tmp_path},stage=policy"

    def test_runs_have_their_own_budget_of_tokens(self, tmp_path: Path) -> None:
        assert self.made(tmp_path, [])["prlm"]["reasoner"] == "prlm"
        methods = self.made(tmp_path, ["run_max_length=3000"])
        assert {methods[name]["reasoner"] for name in ("prlm", "no-rl")} == {"prlm:max_length=3000"}
        assert {methods[name]["reasoner"] for name in ("sft", "rag")} == {"direct:protocol=chat,max_length=3000"}
        assert methods["think"]["reasoner"] == "think:max_length=3000"


class TestFinding:
    @staticmethod
    def log(*flat: float) -> list[dict[str, float]]:
        row = {"loss": 0.0, "completions/clipped_ratio": 0.94}
        return [{**row, "step": number, "groups/without_spread": share} for number, share in enumerate(flat)]

    def test_no_spread_in_any_step(self) -> None:
        found = finding([{"step": 0, "eval_loss": 0.0}, *self.log(1, 1, 1)])
        assert found == {
            "finding": "nothing could be learned: 100% of the groups had the same reward for each completion, "
            "and 94% of the completions were cut at the limit",
            "learned": False,
        }

    def test_hardly_any_and_enough(self) -> None:
        found = finding(self.log(1, 1, 0.9, 1))
        assert found["learned"] and found["finding"].startswith("little could be learned: 98% of the groups")
        assert finding(self.log(1, 1, 0.5)) == finding([]) == {}


class TestEpochOrders:
    def test_each_epoch_has_every_row_once(self) -> None:
        tuned = policy_of(["policy.epochs=3", "policy.steps=null", "policy.batch=5"])
        order = epoch_orders(range(10), tuned, 0)
        assert [sorted(order[start : start + 10]) for start in (0, 10, 20)] == [list(range(10))] * 3
        assert order[:10] != order[10:20]
        assert order == epoch_orders(range(10), tuned, 0) != epoch_orders(range(10), tuned, 1)

    @pytest.mark.parametrize(
        ("epochs", "steps", "rows"), [("0.5", "null", 4), ("2.5", "null", 24), ("3", "2", 8), ("1", "9", 8)]
    )
    def test_they_are_cut_to_whole_steps(self, epochs: str, steps: str, rows: int) -> None:
        changes = [f"policy.epochs={epochs}", f"policy.steps={steps}", "policy.batch=4"]
        assert len(epoch_orders(range(10), policy_of(changes), 0)) == rows

    def test_less_than_a_step(self) -> None:
        with pytest.raises(PrlmBenchError, match=r"3 questions in 1.0 epochs are less than one step of 4"):
            epoch_orders(range(3), policy_of(["policy.epochs=1", "policy.batch=4"]), 0)


IDENTITY = {"task": "a", "settings": {"rate": 0.1, "names": ["x"]}}


def work(folder: Path) -> Mapping[str, Any]:
    """Counts how often it was begun."""
    path = folder / "count"
    path.write_text(str(int(path.read_text()) + 1 if path.is_file() else 1))
    return {"count": int(path.read_text())}


def broken(folder: Path) -> Mapping[str, Any]:
    work(folder)
    raise KeyboardInterrupt


class TestArtefact:
    def test_a_whole_one_is_not_made_again(self, tmp_path: Path) -> None:
        made = make_artefact(tmp_path / "a", "pairs", IDENTITY, work)
        again = make_artefact(tmp_path / "a", "pairs", IDENTITY, work)
        assert made == again == read_artefact(tmp_path / "a", "pairs")
        assert made.manifest["count"] == 1
        assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["count", "manifest.json"]

    def test_a_begun_one_goes_on(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            make_artefact(tmp_path / "a", "pairs", IDENTITY, broken)
        with pytest.raises(PrlmBenchError, match="its training is unfinished; repeat the command to resume"):
            read_artefact(tmp_path / "a", "pairs")
        assert make_artefact(tmp_path / "a", "pairs", IDENTITY, work).manifest["count"] == 2

    @pytest.mark.parametrize("first", [work, broken])
    def test_another_identity_is_refused_and_the_first_difference_named(self, tmp_path: Path, first: Any) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            make_artefact(tmp_path / "a", "pairs", IDENTITY, first)
        other = {"task": "a", "settings": {"rate": 0.2, "names": ["y"]}}
        with pytest.raises(PrlmBenchError, match=r"with other settings: settings.rate was 0.1 and is 0.2 \(give anoth"):
            make_artefact(tmp_path / "a", "pairs", other, work)
        with pytest.raises(PrlmBenchError, match="reward was null and is 1"):
            make_artefact(tmp_path / "a", "pairs", {**IDENTITY, "reward": 1}, work)
        assert (tmp_path / "a" / "count").read_text() == "1"

    def test_a_folder_of_other_files_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "letter").write_text("dear")
        with pytest.raises(PrlmBenchError, match="holds other files"):
            make_artefact(tmp_path / "a", "pairs", IDENTITY, work)
        assert [path.name for path in (tmp_path / "a").iterdir()] == ["letter"]

    @pytest.mark.parametrize("name", ["begun.json", "manifest.json"])
    @pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
    def test_torn_files_are_one_line(self, tmp_path: Path, name: str, content: str) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / name).write_text(content)
        with pytest.raises(PrlmBenchError, match=r"\.json: .* \(remove its folder"):
            make_artefact(tmp_path / "a", "pairs", IDENTITY, work)

    def test_a_process_that_dies_while_it_begins_leaves_no_obstacle(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left: list[str] = []

        def killed(self: Path, *_: Any) -> None:
            left.append(self.name)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Path, "replace", killed)
            make_artefact(tmp_path / "a", "pairs", IDENTITY, work)
        (tmp_path / "a" / left[0]).write_text("{")  # one that is killed cannot take it away
        assert make_artefact(tmp_path / "a", "pairs", IDENTITY, work).manifest["count"] == 1

    def test_what_is_no_artefact_of_the_stage(self, tmp_path: Path) -> None:
        with pytest.raises(PrlmBenchError, match=r"no policy in .*make it with `prlm-bench train`"):
            read_artefact(tmp_path, "policy")
        make_artefact(tmp_path / "a", "pairs", IDENTITY, work)
        with pytest.raises(PrlmBenchError, match="holds no policy"):
            read_artefact(tmp_path / "a", "policy")

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(PrlmBenchError, match="cannot be written: Not a directory"):
            make_artefact(tmp_path / "file" / "a", "pairs", IDENTITY, work)


def test_the_identity_names_what_a_training_hangs_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = training_context(settings("nothing-is-loaded"), tmp_path)
    monkeypatch.setattr(type(ctx), "base_identity", "made")
    made = ctx.stage("pairs", ctx.recipe.pairs, work)
    kept = json.loads((made.folder / "manifest.json").read_text())["identity"]
    assert set(kept) >= {"task", "data", "seed", "base", "retriever", "k", "reasoner", "settings", "code", "versions"}
    assert kept["code"] == plugin_code(*SOURCES) and kept["base"] == "made"
    with pytest.raises(PrlmBenchError, match=r"settings.gold was false and is true"):
        ctx.stage("pairs", ctx.recipe.pairs.model_copy(update={"gold": True}), work)
