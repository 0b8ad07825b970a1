"""The trainers by name, each of which makes some stages, and the generator that loads what they made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prlm_bench.errors import PrlmBenchError, RunError
from prlm_bench.interfaces import Context, Generator
from prlm_bench.progress import Progress

from .._hf import Dtype
from .._training import MODEL, Artefact, read_artefact, trainer_fingerprint
from ._arms import (
    DTYPE,
    SHARED,
    base_methods,
    cost_of,
    grid_points,
    parts_of,
    section,
    stage_of,
    stages_of,
    trained_methods,
)
from ._context import SOURCES, TrainingContext
from ._recipe import Recipe, SftGrid, SftSettings, TuningSettings, change_recipe, read_recipe, required

#: Trainers: what `prlm-bench list trainers` says of each, and the stages whose manifests it shows. A stage makes the
#: ones that it needs. `ablations` stands for a policy for each of the recipe's ablations. With them, the stages in
#: `_OPTIONAL` are made only where the recipe has them.
TRAINERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "prlm": ("All of PrLM: pairs, reward model, policy.", ("pairs", "reward", "policy")),
    "prlm.start": ("The start of all other stages: fine-tuning on answers and on reasoning made by rule.", ("start",)),
    "prlm.pairs": ("Answers of the base model with and without a user's items, as preference pairs.", ("pairs",)),
    "prlm.reward": ("The personalization reward model of a task, trained on the preference pairs.", ("reward",)),
    "prlm.policy": ("The policy: GRPO on the recipe's rewards.", ("policy",)),
    "prlm.sft": ("Baseline: supervised fine-tuning on the gold answers of the same questions.", ("sft",)),
    "prlm.sft-grid": ("Baseline: SFT with more steps and other learning rates; the best is `best-sft`.", ("sft-grid",)),
    "prlm.sft-traces": (
        "Baseline: supervised fine-tuning on reasoning that is made by rule, and the gold answers.",
        ("sft-traces",),
    ),
    "prlm.rft": ("Baseline: supervised fine-tuning on the base model's own best-scoring completions.", ("rft",)),
    "prlm.dpo": ("Baseline: DPO on the preference pairs.", ("dpo",)),
    "prlm.ablation": (
        "PrLM, its baselines and the policies of the recipe's ablations, from one base on the same questions.",
        ("pairs", "reward", "policy", "sft", "sft-grid", "sft-traces", "rft", "dpo", "ablations"),
    ),
}

T = TypeVar("T", bound="StageTrainer")

_OPTIONAL = ("sft-grid", "sft-traces")


class StageTrainer:
    """Trains stages of PrLM in a folder that all of them share, and resumes what was interrupted.

    Args:
        recipe: a recipe that ships (`tiny`, `small`, `smollm2`, `published`, `published-fast`), or a YAML file.
        base: the base model instead of the recipe's: a hub name, a folder, a GGUF file, `smollm2`, or `trainer:SPEC`.
        retriever: instead of the recipe's.
        k: items in a prompt, instead of the recipe's.
        changes: further changes, such as policy.learning_rate=1e-5.

    Raises:
        PrlmBenchError: no such recipe, a wrong setting, or a stage that the recipe leaves out.
    """

    stages: tuple[str, ...] = ()

    def __init__(
        self,
        context: Context,
        recipe: str = "tiny",
        base: str | None = None,
        retriever: str | None = None,
        k: int | None = None,
        changes: list[str] | None = None,
    ) -> None:
        self._context = context
        self.recipe = read_recipe(recipe, changes or (), base=base, retriever=retriever, k=k)
        self._check()

    def _check(self) -> None:
        for settings in _trained_settings(self.recipe, self.stages):
            settings.batch_sizes()

    def fingerprint(self) -> str:
        """The code of this plugin and the libraries."""
        return trainer_fingerprint(*SOURCES)

    def train(self, output: Path, progress: Progress) -> Mapping[str, Any]:
        """Make the stages below `output`; finished ones are kept.

        Returns:
            The manifests, with `methods` that run what was trained, and the `costs` of each. If a stage had little to
            learn from, `findings` says so; `learned` is false if one had nothing, and the command then exits with
            status 1. After a grid, `other_seeds` has the changes that take its choice over.

        Raises:
            PrlmBenchError: `output` was made with other settings, or a stage fails.
        """
        ctx = TrainingContext(self._context, self.recipe, output, progress)
        made: dict[str, Artefact] = {}
        grid: dict[str, Any] = {}
        for stage in self.stages:
            if stage == "sft-grid":
                best, grid = _make_grid(ctx)
                made["best-sft"] = best
            else:
                made[stage] = _make(ctx, stage)
        methods = self._methods(ctx, made)
        begun = {} if ctx.started is None else {"start": ctx.started}
        costs = {label: cost_of(output, stage_of(method)) for label, method in methods.items()}
        costs = {label: cost for label, cost in costs.items() if cost}
        found = {"costs": costs, "methods": methods}
        findings = _findings({**begun, **made}, grid.pop("findings", []))
        return {**_shown(made), **grid, **findings, **{name: value for name, value in found.items() if value}}

    def _methods(self, ctx: TrainingContext, made: Mapping[str, Artefact]) -> dict[str, dict[str, Any]]:
        return trained_methods(self.recipe, ctx.output, made)


class ArmsTrainer(StageTrainer):
    """Trains the arms of an experiment in a folder that all of them share.

    Args:
        recipe, base, retriever, k, changes: as for `StageTrainer`.
        arms: the arms to train, with only the stages that they need; by default all. Besides the labels of the methods,
            `pairs`, `reward` and single points of the grid of SFT, such as `sft-4x-0.001`.

    Raises:
        PrlmBenchError: as `StageTrainer` does, or the recipe has no such arm.
    """

    def __init__(
        self,
        context: Context,
        recipe: str = "tiny",
        base: str | None = None,
        retriever: str | None = None,
        k: int | None = None,
        changes: list[str] | None = None,
        arms: list[str] | None = None,
    ) -> None:
        self._arms = arms
        super().__init__(context, recipe, base, retriever, k, changes)

    def _check(self) -> None:
        if self._arms is not None:
            self.stages = stages_of(self.recipe, self._arms)
        else:
            absent = [stage for stage in _OPTIONAL if getattr(self.recipe, section(stage)) is None]
            stages = (stage for stage in self.stages if stage not in ("ablations", *absent))
            self.stages = (*stages, *self.recipe.ablations)
        super()._check()

    def parts(self, arm: str, *, first: bool) -> list[str]:
        """What can be trained before an arm as further `arms`, one by one.

        Args:
            arm: a label.
            first: whether it is the seed that chooses among settings for all seeds.
        """
        return parts_of(self.recipe, arm, first=first)

    def _methods(self, ctx: TrainingContext, made: Mapping[str, Artefact]) -> dict[str, dict[str, Any]]:
        if not self._arms or not base_methods(self.recipe, ctx.output).keys().isdisjoint(self._arms):
            _ = ctx.base  # is made where a trainer makes it
        methods = {**trained_methods(self.recipe, ctx.output, made), **base_methods(self.recipe, ctx.output)}
        return {label: method for label, method in methods.items() if self._arms is None or label in self._arms}


def _stage_trainer(name: str, kind: type[T]) -> type[T]:
    """The trainer class of a name in `TRAINERS`."""
    summary, stages = TRAINERS[name]
    return type(f"{kind.__name__}[{name}]", (kind,), {"__doc__": summary, "stages": stages})


prlm, start, pairs, reward, policy, sft, sft_grid, sft_traces, rft, dpo = (
    _stage_trainer(name, StageTrainer) for name in TRAINERS if name != "prlm.ablation"
)
ablation = _stage_trainer("prlm.ablation", ArmsTrainer)


def _trained_settings(recipe: Recipe, stages: Sequence[str]) -> Iterator[TuningSettings]:
    """The settings of each training of the language model.

    Raises:
        RunError: the recipe leaves one of the stages out.
    """
    if recipe.start is not None:
        yield recipe.start
    for stage in stages:
        if stage in recipe.ablations:
            yield required(_ablated(recipe, stage).policy, "policy")
        elif stage == "sft-grid" or stage in grid_points(recipe):
            grid, base = _grid(recipe)
            yield from (grid.settings(base, point) for point in grid.points if stage in ("sft-grid", point.stage))
        elif stage not in SHARED:
            yield required(getattr(recipe, section(stage)), section(stage))


def _grid(recipe: Recipe) -> tuple[SftGrid, SftSettings]:
    return required(recipe.sft_grid, "sft_grid"), required(recipe.sft, "sft")


def _ablated(recipe: Recipe, name: str) -> Recipe:
    """The recipe of an ablation.

    Raises:
        RunError: it changes more than the policy and its reward model.
    """
    changed = change_recipe(recipe, recipe.ablations[name])
    if changed.model_copy(update={"policy": recipe.policy, "reward": recipe.reward}) != recipe:
        raise RunError(f"ablation {name} changes more than policy and reward", "train another recipe for that")
    return changed


def _make(ctx: TrainingContext, stage: str) -> Artefact:
    """The artefact of a stage; modules that import torch or trl are imported when their stage is made."""
    if stage in ctx.recipe.ablations:
        from ._grpo import make_policy

        changed = _ablated(ctx.recipe, stage)
        return make_policy(ctx, changed.policy, stage, changed.reward)
    if stage in grid_points(ctx.recipe):
        from ._sft import make_sft_point

        return make_sft_point(ctx, stage)
    if stage == "start":
        from ._start import make_start as make
    elif stage == "pairs":
        from ._preference_pairs import make_pairs as make
    elif stage == "reward":
        from ._reward_training import make_reward as make
    elif stage == "policy":
        from ._grpo import make_policy as make
    elif stage == "sft":
        from ._sft import make_sft as make
    elif stage == "sft-traces":
        from ._sft import make_sft_traces as make
    elif stage == "rft":
        from ._sft import make_rft as make
    else:
        from ._dpo import make_dpo as make
    return make(ctx)


def _make_grid(ctx: TrainingContext) -> tuple[Artefact, dict[str, Any]]:
    """The best training of SFT, and what the result says of the grid."""
    from ._sft import make_sft_grid

    outcome = make_sft_grid(ctx)
    choice = outcome.chosen
    change = f"sft_grid.chosen={{steps: {choice.steps}, learning_rate: {choice.learning_rate!r}}}"
    return outcome.best, {
        "sft_grid": outcome.table,
        "findings": outcome.findings,
        "other_seeds": {"changes": [change]},
    }


def _findings(made: Mapping[str, Artefact], more: Sequence[str] = ()) -> dict[str, Any]:
    """What was found about trainings that had nothing to learn from, and more; nothing where all is well."""
    found = {name: artefact.manifest for name, artefact in made.items() if "finding" in artefact.manifest}
    findings = [*(f"{name}: {manifest['finding']}" for name, manifest in found.items()), *more]
    if not findings:
        return {}
    learned = {"learned": all(manifest["learned"] for manifest in found.values())} if found else {}
    return {"findings": findings, **learned}


def _shown(made: Mapping[str, Artefact]) -> Mapping[str, Any]:
    """Manifests for the user, by stage; the manifest itself if there is one stage."""
    hidden = ("identity", "files", "stage", "finding", "learned", "builds_on")
    found = {name: {k: v for k, v in a.manifest.items() if k not in hidden} for name, a in made.items()}
    return found if len(found) != 1 else next(iter(found.values()))


def trained(
    context: Context,
    checkpoint: str,
    stage: str = "policy",
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    batch_tokens: int = 16384,
    dtype: Dtype = DTYPE,
) -> Generator:
    """A model that `prlm-bench train prlm...` trained, or its base model.

    Args:
        checkpoint: the folder that was given to `prlm-bench train` as --output; `{seed}` in it stands for the
            run's seed, so that trainings of several seeds are one method.
        stage: `policy`, `start`, `sft`, `sft-traces`, `rft`, `dpo`, a setting of the grid of SFT such as
            `sft-4x-0.001`, the name of an ablation, or `base`.
        max_new_tokens: maximum number of tokens in a completion; by default as in training.
        temperature: 0 decodes greedily.
        batch_tokens: token budget of a batch.
        dtype: of the weights. Rows to compare need the same one; `transformers` loads a base in that of its files.

    Raises:
        PrlmBenchError: the folder has no such stage, or an unfinished one.
    """
    run = Path(checkpoint.replace("{seed}", str(context.seed)))
    if stage == "base":
        folder, max_completion, chat = run / "base", 768, "auto"
        if not (folder / "config.json").is_file():
            raise PrlmBenchError(
                f"no base model in {run}", "it was not made by this training; name it by transformers:"
            )
    else:
        artefact = read_artefact(run / stage, stage)
        folder, identity = artefact.folder / MODEL, artefact.manifest["identity"]
        # Trainings that do not say read LaMP's own prompts as plain text.
        max_completion, chat = identity["max_completion"], identity.get("chat", "by-protocol")
    made: Generator = context.build(
        "generator",
        {
            "name": "prlm-bench/transformers",
            "model": str(folder),
            "max_new_tokens": max_new_tokens or max_completion,
            "temperature": temperature,
            "batch_tokens": batch_tokens,
            "overflow": "cut-items",
            "dtype": dtype,
            "chat": chat,
        },
    )
    return made
