"""The arms of an experiment: which stage each is, the methods that run it, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prlm_bench.errors import UnknownNameError
from prlm_bench.host import parse_spec

from .._hf import Dtype
from .._training import MANIFEST, Artefact, read_manifest, read_seconds
from ._recipe import Recipe, change_recipe, required
from ._rewards import needs_reward_model

#: In which trained models are saved.
DTYPE: Dtype = "float32"
#: Trained arms whose name is not that of their stage.
_STAGES = {"prlm": "policy", "best-sft": "sft-grid"}
_LABELS = {"policy": "prlm"}
#: Arms besides the recipe's ablations.
_TRAINED = ("prlm", "sft", "best-sft", "sft-traces", "rft", "dpo")
#: What arms build on, and what can be made before them.
SHARED = ("pairs", "reward")


def section(stage: str) -> str:
    """The section of the recipe that a stage is made by."""
    return stage.replace("-", "_")


def grid_points(recipe: Recipe) -> list[str]:
    """The stages of the grid of SFT; none without one."""
    return [] if recipe.sft_grid is None else [point.stage for point in recipe.sft_grid.points]


def trained_arms(recipe: Recipe) -> list[str]:
    """Names of the arms that a recipe can train."""
    known = [arm for arm in _TRAINED if getattr(recipe, section(stage_to_make(arm))) is not None]
    return [*known, *recipe.ablations]


def stage_to_make(arm: str) -> str:
    """The stage that makes an arm: its own, or the grid that chooses it."""
    return _STAGES.get(arm, arm)


def stages_of(recipe: Recipe, arms: Sequence[str]) -> tuple[str, ...]:
    """The stages to make for some arms; none for those that run the untrained or the started model.

    Args:
        recipe: the recipe.
        arms: names of trained and untrained arms, of points of the grid, and of `SHARED` stages.

    Raises:
        UnknownNameError: the recipe has no such arm.
    """
    trained = [*trained_arms(recipe), *grid_points(recipe), *SHARED]
    untrained = base_methods(recipe, Path())
    for arm in arms:
        if arm not in trained and arm not in untrained:
            raise UnknownNameError("arm", arm, [*trained, *untrained])
    return tuple(stage_to_make(arm) for arm in dict.fromkeys(arms) if arm in trained)


def parts_of(recipe: Recipe, arm: str, *, first: bool) -> list[str]:
    """What can be made before an arm, one by one: the points of a grid; the pairs and the reward model.

    Args:
        recipe: the recipe.
        arm: a name.
        first: whether it is the seed that chooses among settings for all.
    """
    if arm == "best-sft":
        return grid_points(recipe) if first and recipe.sft_grid and recipe.sft_grid.chosen is None else []
    if arm == "dpo":
        return ["pairs"]
    if arm in recipe.ablations:
        recipe = change_recipe(recipe, recipe.ablations[arm])
    elif arm not in ("prlm", "rft"):
        return []
    rewards = required(recipe.rft, "rft").rewards if arm == "rft" else required(recipe.policy, "policy").rewards
    return list(SHARED) if needs_reward_model(rewards) else []


def trained_methods(recipe: Recipe, output: Path, made: Mapping[str, Artefact]) -> dict[str, dict[str, Any]]:
    """Methods that run the trained models, the policy first, each with the reasoner that it was trained with."""
    return {
        _LABELS.get(name, name): {
            "retriever": recipe.retriever,
            "k": recipe.k,
            "reasoner": _of_runs(recipe, artefact.manifest["reasoner"]),
            "generator": f"trained:checkpoint={output},stage={artefact.folder.name}",
        }
        for name, artefact in made.items()
        if "reasoner" in artefact.manifest
    }


def _of_runs(recipe: Recipe, reasoner: str) -> str:
    """A reasoner's spec with the token budget of runs."""
    if recipe.run_max_length is None or "max_length" in parse_spec(reasoner).options:
        return reasoner
    return f"{reasoner}{',' if ':' in reasoner else ':'}max_length={recipe.run_max_length}"


def base_methods(recipe: Recipe, output: Path) -> dict[str, dict[str, Any]]:
    """Methods that run the model that trainings begin with, with each prompt that a policy is trained on.

    They compute in the precision that trained models are saved in, so that rows differ by their training alone. With a
    start, that model is the started one; `start` is it with reasoning, `base` is the recipe's own base with the prompt
    of SFT, and `base-plain` with one that asks for the text alone.
    """
    limit = f",max_new_tokens={recipe.max_completion}"
    own = "base" if (output / "base").is_dir() else None
    made = f"trained:checkpoint={output},stage="
    base = (made + own if own else f"transformers:model={recipe.base},dtype={DTYPE}") + limit
    begun = base if recipe.start is None else f"{made}start{limit}"
    items = {"retriever": recipe.retriever, "k": recipe.k}
    sft = required(recipe.sft, "sft").reasoner
    direct = _of_runs(recipe, sft)
    methods: dict[str, dict[str, Any]] = {
        "no-rl" if recipe.start is None else "start": {
            **items,
            "reasoner": _of_runs(recipe, recipe.reasoner),
            "generator": begun,
        },
        "think": {**items, "reasoner": _of_runs(recipe, "think"), "generator": begun},
        "rag": {**items, "reasoner": direct, "generator": begun},
        "zero-shot": {"reasoner": direct, "generator": begun},
    }
    if recipe.start is not None:
        plain = _of_runs(recipe, _plain(sft))
        methods["base"] = {**items, "reasoner": direct, "generator": base}
        methods["base-plain"] = {**items, "reasoner": plain, "generator": base}
    return methods


def _plain(reasoner: str) -> str:
    """The reasoner that asks for the text alone, with the token budget of another."""
    budget = parse_spec(reasoner).options.get("max_length")
    return f"direct:protocol=plain{'' if budget is None else f',max_length={budget}'}"


def stage_of(method: Mapping[str, Any]) -> str:
    """The name of the stage that a method of a training runs."""
    return str(parse_spec(method["generator"]).options.get("stage", ""))


def cost_of(output: Path, stage: str) -> dict[str, float]:
    """What a stage cost with those that it builds on: tokens generated and trained, and seconds where they are known.

    Args:
        output: folder of the training.
        stage: the name of its folder; empty where it is none.
    """
    folders = [stage] if stage and (output / stage / MANIFEST).is_file() else []
    for name in folders:
        builds_on = read_manifest(output / name).get("builds_on", ())
        folders += [each for each in builds_on if each not in folders]
    costs = [{**read_manifest(output / name).get("cost", {}), **_seconds(output / name)} for name in folders]
    names = dict.fromkeys(name for cost in costs for name in cost)
    return {name: round(sum(cost.get(name, 0) for cost in costs), 1) for name in names}


def _seconds(folder: Path) -> dict[str, float]:
    seconds = read_seconds(folder)
    return {} if seconds is None else {"seconds": seconds}
