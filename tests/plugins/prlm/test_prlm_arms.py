"""The arms of an ablation are made alike: one figure chooses their checkpoints, SFT has a grid, rewards a placebo."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")

from prlm_bench_plugins._training import MANIFEST, Stopwatch, read_log, read_seconds
from prlm_bench_plugins.prlm import _stages
from prlm_bench_plugins.prlm._arms import cost_of, parts_of, stage_of, stages_of
from prlm_bench_plugins.prlm._grpo import RewardSet, displaced, permuted_names
from prlm_bench_plugins.prlm._recipe import GrpoSettings, SftChoice, SftGrid, SftSettings, read_recipe
from prlm_bench_plugins.prlm._sft import at_edge, selected_value
from prlm_bench_plugins.prlm._trace_rules import TraceRules
from prlm_bench_plugins.prlm._tuning import training_cost
from support.prlm_shop import make_causal, recipe_file, settings, training_context

from prlm_bench import Answer, Completion, Example, Prompt, Ranking
from prlm_bench.errors import RunError, UnknownNameError
from prlm_bench.progress import Silent

NO_CONTEXT: Any = None


class TestGrid:
    grid = SftGrid(steps=[8, 1, 4], learning_rates=[1e-3, 1e-4, 3e-4])

    def test_points_are_stages_of_their_own(self) -> None:
        names = [point.stage for point in self.grid.points]
        assert names[:4] == ["sft-1x-0.0001", "sft-1x-0.0003", "sft-1x-0.001", "sft-4x-0.0001"]
        assert len(set(names)) == 9

    def test_a_point_trains_longer_and_is_judged_as_often(self) -> None:
        sft = SftSettings(learning_rate=1e-3, epochs=20, steps=80, every=20)
        found = self.grid.settings(sft, SftChoice(steps=8, learning_rate=1e-4))
        assert (found.steps, found.epochs, found.every, found.learning_rate) == (640, 160, 160, 1e-4)
        free = self.grid.settings(sft.model_copy(update={"steps": None}), SftChoice(steps=4, learning_rate=1e-4))
        assert (free.steps, free.epochs) == (None, 80)

    @pytest.mark.parametrize(
        ("steps", "rate", "said"),
        [
            (4, 3e-4, []),
            (1, 3e-4, []),  # fewer steps are in the grid: earlier checkpoints
            (4, 1e-4, ["a lower one may be better"]),
            (4, 1e-3, ["a higher one may be better"]),
            (8, 1e-3, ["a higher one may be better", "more may be better"]),
        ],
    )
    def test_the_edge_is_named(self, steps: int, rate: float, said: list[str]) -> None:
        found = at_edge(self.grid, SftChoice(steps=steps, learning_rate=rate))
        assert [text.rpartition(", and ")[2] for text in found] == said

    def test_the_tiny_grid_spans_thirty_times(self) -> None:
        grid = read_recipe("tiny").sft_grid
        assert grid is not None and sorted(grid.steps) == [1, 4, 8]
        assert max(grid.learning_rates) / min(grid.learning_rates) == pytest.approx(30)

    def test_a_choice_that_was_made_is_taken_over(self) -> None:
        change = "sft_grid.chosen={steps: 4, learning_rate: 0.001}"
        grid = read_recipe("tiny", [change]).sft_grid
        assert grid is not None and [point.stage for point in grid.points] == ["sft-4x-0.001"]
        assert at_edge(grid, grid.points[0]) == []

    def test_the_chosen_checkpoints_figure(self) -> None:
        manifest = {"best_step": 4, "held_back": {"metric": "accuracy", "curve": [[0, 3.0], [2, 1.0], [4, 2.0]]}}
        assert selected_value(manifest) == 2.0


class TestPlacebo:
    def test_no_score_keeps_its_place_and_all_are_there(self) -> None:
        scores = [float(number) for number in range(9)]
        for seed in range(50):
            found = displaced(scores, random.Random(seed))
            assert sorted(found) == scores
            assert not any(one == two for one, two in zip(found, scores, strict=True))
        assert displaced(scores, random.Random(1)) != displaced(scores, random.Random(2))
        assert displaced([1.0], random.Random(0)) == [1.0] and displaced([], random.Random(0)) == []

    def test_scores_are_those_of_other_completions_by_seed_and_step(self, tmp_path: Path) -> None:
        length: Any = SimpleNamespace(score=lambda samples: [float(len(each.completion.text)) for each in samples])
        reader: Any = SimpleNamespace(parse=lambda prompt, completion: Answer(completion.text, "whole"))
        prompts = {name: Prompt(Example(name, "u", "", "", (), "g"), Ranking(), name) for name in "abcd"}

        def ask(seed: int, step: int) -> tuple[list[float], list[float]]:
            weighted: Any = {"kept": (length, 1.0), "moved": (length, 1.0)}
            rewards = RewardSet(weighted, reader, prompts, tmp_path, 1, 2, permuted=["moved"], seed=seed)
            texts = ["x" * (number + 1) for number in range(4)]
            state = SimpleNamespace(global_step=step)
            kept, moved = (
                f(completions=texts, question=list("abcd"), trainer_state=state, part=["train"] * 4)
                for f in rewards.functions
            )
            return kept, moved

        kept, moved = ask(0, 0)
        assert kept == [1, 2, 3, 4] and sorted(moved) == kept
        assert not any(one == two for one, two in zip(kept, moved, strict=True))
        assert ask(0, 0) == (kept, moved)
        assert len({tuple(ask(seed, step)[1]) for seed in range(4) for step in range(4)}) > 4

    def test_it_names_a_reward_of_the_policy(self) -> None:
        made = GrpoSettings(learning_rate=1, epochs=1, permuted=["personalization"])
        assert permuted_names(made) == ["personalization"]
        with pytest.raises(RunError, match="permuted: length is none of the rewards"):
            read_recipe("tiny", ["policy.permuted=[length]"])


def test_an_ablation_changes_policy_or_reward_alone(tmp_path: Path) -> None:
    path = str(recipe_file(tmp_path, {**settings("x"), "ablations": {"shallow": {"k": 1}}}))
    with pytest.raises(RunError, match="ablation shallow changes more than policy and reward"):
        _stages.ablation(NO_CONTEXT, recipe=path)


class TestCost:
    def test_tokens_are_counted_from_the_log(self) -> None:
        log = [
            {"step": 0, "eval_answer_tokens": 30.0, "eval_tokens/generated": 12.5},
            {"step": 1, "loss": 1.0, "tokens/generated": 100.0, "tokens/trained": 150.0},
            {"step": 2, "loss": 1.0, "tokens/generated": 90.0, "tokens/trained": 140.0},
        ]
        assert training_cost(log, 4)["cost"] == {"tokens_generated": 270, "tokens_trained": 290}
        assert training_cost([], generated=5, trained=6)["cost"] == {"tokens_generated": 5, "tokens_trained": 6}

    def test_a_method_costs_what_it_builds_on_once(self, tmp_path: Path) -> None:
        builds_on = {"pairs": [], "reward": ["pairs"], "policy": ["reward", "pairs"]}
        for name, before in builds_on.items():
            (tmp_path / name).mkdir()
            cost = {"tokens_generated": 10, "tokens_trained": 1}
            (tmp_path / name / MANIFEST).write_text(json.dumps({"stage": name, "builds_on": before, "cost": cost}))
        Stopwatch(tmp_path / "policy").write()
        found = cost_of(tmp_path, "policy")
        assert found == {"tokens_generated": 30, "tokens_trained": 3, "seconds": 0.0}
        assert cost_of(tmp_path, "pairs") == {"tokens_generated": 10, "tokens_trained": 1}
        assert cost_of(tmp_path, "base") == cost_of(tmp_path, "") == {}

    def test_seconds_go_on_after_an_interruption(self, tmp_path: Path) -> None:
        (tmp_path / "timing.json").write_text('{"seconds": 40.0}')
        Stopwatch(tmp_path).write()
        assert 40 <= (read_seconds(tmp_path) or 0) < 41
        assert read_seconds(tmp_path / "nowhere") is None


def test_the_curve_has_the_rewards_shares_and_the_figure_that_chooses(here: Any) -> None:
    rows = [
        {"step": 0, "eval_loss": 1.0, "eval_reward": 2.5, "eval_accuracy": 1.25},
        {"step": 1, "loss": 0.5, "reward": 2.0, "rewards/accuracy/mean": 1.5, "rewards/accuracy/share": 0.75},
    ]
    rows += [{**rows[1], "step": 10, "rewards/placebo/share": -0.25}, {**rows[0], "step": 10, "eval_accuracy": 1.5}]
    Path("policy").mkdir()
    Path("policy/log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    out = here("prlm", "curve", "policy").stdout
    for shown in ("accuracy share", "placebo share", "0.7500", "-0.2500", "1.5000"):
        assert shown in out, out
    assert "2.5000" not in out


@pytest.mark.slow
def test_all_arms_of_a_training(tmp_path: Path) -> None:
    content = settings(make_causal(tmp_path / "base"), reward__max_length=400)
    content["sft_grid"] = {"steps": [1, 2], "learning_rates": [1e-3, 3e-3]}
    content["sft_traces"] = {**content["sft"], "reasoner": "prlm"}
    content["ablations"] = {
        "placebo": {"policy.permuted": ["personalization"]},
        "profile-reward": {"reward.profile": True},
    }
    ctx = training_context(content, tmp_path)

    def train(*changes: str) -> Any:
        recipe = str(tmp_path / "recipe.yaml")
        return _stages.ablation(ctx.context, recipe=recipe, changes=list(changes)).train(ctx.output, Silent())

    found = train()
    arms = ["prlm", "sft", "best-sft", "sft-traces", "rft", "dpo", "placebo", "profile-reward"]
    assert [label for label in found["methods"] if label in found["costs"]] == arms
    for label in arms:
        stage = stage_of(found["methods"][label])
        manifest = json.loads((ctx.output / stage / MANIFEST).read_text())
        curve = dict(map(tuple, manifest["held_back"]["curve"]))
        assert manifest["held_back"]["metric"] == "accuracy"
        assert curve[manifest["best_step"]] == max(value for step, value in curve.items() if step)
        assert all(value > 0 for value in found["costs"][label].values()) and len(found["costs"][label]) == 3
        log = read_log(ctx.output / stage)
        evaluated = [row for row in log if "eval_accuracy" in row]
        assert len(evaluated) == len(curve) and all(0 <= row["eval_unreadable"] <= 1 for row in evaluated)
    # All start from the same base, which is judged before the first step; one of them is asked in other words.
    starts = {label: json.loads((ctx.output / label / MANIFEST).read_text())["held_back"]["curve"][0][1]
              for label in ("policy", "sft", "rft", "dpo", "placebo")}  # fmt: skip
    assert len(set(starts.values())) == 1
    assert len(found["sft_grid"]) == 4 and {row["steps"] for row in found["sft_grid"]} == {6, 12}
    best = max(row["accuracy"] for row in found["sft_grid"])
    stage = stage_of(found["methods"]["best-sft"])
    assert selected_value(json.loads((ctx.output / stage / MANIFEST).read_text())) == best
    models = [json.loads((ctx.output / n / MANIFEST).read_text()) for n in ("reward", "profile-reward-reward")]
    assert [model["profile"] for model in models] == [False, True]
    assert models[0]["files"]["model.safetensors"] != models[1]["files"]["model.safetensors"]
    read = json.loads((ctx.output / "profile-reward" / MANIFEST).read_text())["identity"]["reward"]
    assert read == models[1]["files"]
    again = train(*found["other_seeds"]["changes"])
    assert again["methods"] == found["methods"] and len(again["sft_grid"]) == 1


@pytest.mark.slow
def test_traces_are_true_and_close_before_the_gold(tmp_path: Path) -> None:
    from prlm_bench_plugins.prlm._recipe import SftTracesSettings
    from prlm_bench_plugins.prlm._sft import _golds_after_traces

    content = settings(make_causal(tmp_path / "base", window=8000))
    ctx = training_context(content, tmp_path)
    made = SftTracesSettings(learning_rate=1, epochs=1, judged=2, reasoner="prlm:max_length=6000")
    rules = TraceRules(ctx.task)
    train, validation = _golds_after_traces(ctx, made, rules)
    assert len(validation) == 2
    for each in train:
        said, _, answer = each.completion.partition("\n</think>\n")
        shown = each.prompt.ranking.items[: each.prompt.shown]
        assert len(shown) == 2 and all(rules.check(text, shown) is True for text in said.splitlines())
        completion = Completion(each.completion, finish="stop")
        parsed = ctx.reasoner("prlm").parse(each.prompt, completion)
        assert parsed.text == each.prompt.example.gold and parsed.reasoning == said and answer


class TestChosenArms:
    """An experiment makes one arm of one seed at a time, with the stages that it needs alone."""

    def test_stages_of_arms(self) -> None:
        recipe = read_recipe("tiny")
        assert stages_of(recipe, ["prlm", "best-sft", "placebo"]) == ("policy", "sft-grid", "placebo")
        assert stages_of(recipe, ["rag", "no-rl", "dpo", "dpo"]) == ("dpo",)
        assert stages_of(recipe, ["reward", "sft-4x-0.001"]) == ("reward", "sft-4x-0.001")
        with pytest.raises(UnknownNameError, match="unknown arm 'plcebo'") as caught:
            stages_of(recipe, ["plcebo"])
        assert caught.value.hint == "did you mean placebo?"
        for arm in ("base", "start", "sft-2x-0.001", "policy"):
            with pytest.raises(UnknownNameError):
                stages_of(recipe, [arm])
        assert stages_of(read_recipe("smollm2"), ["base", "base-plain", "start"]) == ()

    def test_what_can_be_made_before_an_arm(self) -> None:
        recipe = read_recipe("tiny")
        assert parts_of(recipe, "prlm", first=False) == parts_of(recipe, "placebo", first=True) == ["pairs", "reward"]
        assert parts_of(recipe, "no-personalization", first=True) == parts_of(recipe, "sft", first=True) == []
        assert len(parts_of(recipe, "best-sft", first=True)) == 12 and parts_of(recipe, "best-sft", first=False) == []
        assert parts_of(recipe, "dpo", first=True) == ["pairs"]
        assert parts_of(recipe, "rft", first=True) == []
        scored = read_recipe("tiny", ["rft.rewards={personalization: 1}"])
        assert parts_of(scored, "rft", first=True) == ["pairs", "reward"]

    def test_mistakes_come_before_the_work(self) -> None:
        with pytest.raises(UnknownNameError, match="unknown arm 'nothing'"):
            _stages.ablation(NO_CONTEXT, arms=["nothing"])
        with pytest.raises(RunError, match="device_batch=5 on 1 devices does not divide"):
            _stages.ablation(NO_CONTEXT, arms=["sft"], changes=["sft.device_batch=5"])
        _stages.ablation(NO_CONTEXT, arms=["sft"], changes=["dpo.device_batch=5"])  # not made

    def test_without_a_choice_all_stages_are_made(self) -> None:
        made = _stages.ablation(NO_CONTEXT)
        assert made.stages[:5] == ("pairs", "reward", "policy", "sft", "sft-grid")
        assert made.stages[-3:] == ("profile-reward", "batch-scaling", "no-scaling")
        assert "sft-traces" not in _stages.ablation(NO_CONTEXT, recipe="published-fast").stages


@pytest.mark.slow
def test_one_arm_at_a_time_makes_its_own_stages_and_ends_as_all_together(tmp_path: Path) -> None:
    content = settings(make_causal(tmp_path / "base"))
    content["sft_grid"] = {"steps": [1], "learning_rates": [1e-3, 3e-3]}
    content["ablations"] = {"no-personalization": {"policy.rewards": {"accuracy": 1.0}}}

    def train(ctx: Any, *arms: str) -> Any:
        recipe = str(ctx.output.parent / "recipe.yaml")
        return _stages.ablation(ctx.context, recipe=recipe, arms=list(arms) or None).train(ctx.output, Silent())

    alone = training_context(content, tmp_path / "alone")

    def folders() -> set[str]:
        return {path.name for path in alone.output.iterdir()} if alone.output.is_dir() else set()

    assert set(train(alone, "rag", "zero-shot")["methods"]) == {"rag", "zero-shot"} and not folders()
    found = train(alone, "no-personalization")
    assert set(found["methods"]) == set(found["costs"]) == {"no-personalization"}
    assert folders() == {"no-personalization"}
    assert train(alone, "sft-1x-0.001")["methods"]["sft-1x-0.001"]["generator"].endswith("stage=sft-1x-0.001")
    assert folders() == {"no-personalization", "sft-1x-0.001"}
    assert len(train(alone, "best-sft")["sft_grid"]) == 2
    assert "methods" not in train(alone, "reward") and {"pairs", "reward"} <= folders()
    assert "policy" not in folders()
    train(alone, "prlm")
    assert not list(alone.output.glob("*/checkpoints"))

    together = training_context(content, tmp_path / "together")
    train(together, "prlm", "no-personalization", "best-sft")
    for stage in ("policy", "no-personalization", "sft-1x-0.003"):
        one, other = (json.loads((ctx.output / stage / MANIFEST).read_text()) for ctx in (alone, together))
        assert one["files"] == other["files"], stage
