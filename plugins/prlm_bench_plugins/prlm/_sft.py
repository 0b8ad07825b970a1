"""Supervised fine-tuning: on gold answers (SFT), on reasoning made by rule, and on the base's best completions (RFT).

SFT on gold answers may be a grid of settings, of which the best is taken.

Sources: LaMP (Salemi et al. 2024) fine-tunes on the question with its items; rejection-sampling fine-tuning is
from Yuan et al. 2023 (arXiv 2308.01825).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prlm_bench import Prompt, Sample
from prlm_bench.errors import RunError

from .._hf import encode_completions, encode_prompts, turns
from .._training import Artefact
from ._context import TrainingContext
from ._recipe import RftSettings, SftChoice, SftGrid, SftSettings, SftTracesSettings, StartSettings, required
from ._reward_training import make_reward
from ._rewards import build_rewards, needs_reward_model
from ._rollout import Validation
from ._trace_rules import TraceRules
from ._tuning import fit_rows

#: Label of tokens that the loss ignores.
_IGNORED = -100


@dataclass(frozen=True)
class TrainingExample:
    """A prompt with the completion to learn."""

    prompt: Prompt
    completion: str


def make_sft(ctx: TrainingContext) -> Artefact:
    """The model fine-tuned on gold answers."""
    return _make_on_golds(ctx, required(ctx.recipe.sft, "sft"), "sft")


def _make_on_golds(ctx: TrainingContext, settings: SftSettings, name: str) -> Artefact:
    return ctx.stage(name, settings, lambda folder: tune(ctx, settings, folder, name, _golds(ctx, settings)))


def make_sft_traces(ctx: TrainingContext) -> Artefact:
    """The model fine-tuned on reasoning made by rule, and the gold answers."""
    settings, rules = required(ctx.recipe.sft_traces, "sft_traces"), TraceRules(ctx.task)

    def work(folder: Path) -> Mapping[str, Any]:
        return tune(ctx, settings, folder, "sft-traces", _golds_after_traces(ctx, settings, rules))

    return ctx.stage("sft-traces", settings, work, rules=rules.identity())


@dataclass(frozen=True)
class GridOutcome:
    """What a grid of SFT has given."""

    #: The best training.
    best: Artefact
    chosen: SftChoice
    #: Steps, learning rate and accuracy on the validation users of each training.
    table: list[dict[str, Any]]
    #: That the choice lies at the edge of the grid.
    findings: list[str]


def make_sft_grid(ctx: TrainingContext) -> GridOutcome:
    """Each training of the grid, as a stage of its own, and the one that is best on the validation users.

    Among equals it is the one with fewer steps, then with the lower learning rate. With `sft_grid.chosen` only that
    one is trained.
    """
    grid = required(ctx.recipe.sft_grid, "sft_grid")
    made = [(point, make_sft_point(ctx, point.stage)) for point in grid.points]
    scores = [selected_value(artefact.manifest) for _, artefact in made]
    chosen, best = made[scores.index(max(scores))]
    table = [
        {
            "steps": artefact.manifest["steps"],
            "learning_rate": point.learning_rate,
            "accuracy": score,
            **artefact.manifest["cost"],
        }
        for (point, artefact), score in zip(made, scores, strict=True)
    ]
    return GridOutcome(best, chosen, table, at_edge(grid, chosen))


def make_sft_point(ctx: TrainingContext, stage: str) -> Artefact:
    """One training of the grid, by the name of its stage."""
    grid, sft = required(ctx.recipe.sft_grid, "sft_grid"), required(ctx.recipe.sft, "sft")
    point = next(each for each in grid.points if each.stage == stage)
    return _make_on_golds(ctx, grid.settings(sft, point), stage)


def selected_value(manifest: Mapping[str, Any]) -> float:
    """The figure on the validation users by which a training's checkpoint was chosen."""
    curve = dict(map(tuple, manifest["held_back"]["curve"]))
    return float(curve[manifest["best_step"]])


def at_edge(grid: SftGrid, chosen: SftChoice) -> list[str]:
    """Sentences that say where a better setting may lie outside of the grid.

    Fewer steps than the fewest are in it: the checkpoints of that training.
    """
    if grid.chosen is not None:
        return []
    found = []
    rates = sorted(set(grid.learning_rates))
    what = f"best-sft has {chosen.steps} times the steps of sft and learning rate {chosen.learning_rate:g}"
    if chosen.learning_rate in (rates[0], rates[-1]):
        where = "higher" if chosen.learning_rate == rates[-1] else "lower"
        found.append(f"{what}: the grid ends at this rate, and a {where} one may be better")
    if chosen.steps == max(grid.steps):
        found.append(f"{what}: the grid ends at these steps, and more may be better")
    return found


def make_rft(ctx: TrainingContext) -> Artefact:
    """The model fine-tuned on its own best completions, after the reward model where that is needed and missing."""
    settings = required(ctx.recipe.rft, "rft")
    reward = make_reward(ctx) if needs_reward_model(settings.rewards) else None

    def work(folder: Path) -> Mapping[str, Any]:
        splits, tokens = _best_completions(ctx, settings)
        return tune(ctx, settings, folder, "rft", splits, tokens)

    builds_on = [reward] if reward else []
    return ctx.stage("rft", settings, work, builds_on=builds_on, reward=reward.manifest["files"] if reward else None)


def _golds(ctx: TrainingContext, settings: SftSettings | SftTracesSettings) -> list[list[TrainingExample]]:
    """Examples of the training users, and of the validation users."""
    reasoner = ctx.reasoner(settings.reasoner)
    splits = []
    for validation, limit in ((False, settings.questions), (True, settings.judged)):
        prompts, _ = ctx.training_prompts(reasoner, limit, validation=validation)
        splits.append([TrainingExample(prompt, gold_answer(prompt)) for prompt in prompts])
    return splits


def gold_answer(prompt: Prompt) -> str:
    """The gold as the prompt asks for it: an answer object, or the text alone."""
    return prompt.example.gold or "" if prompt.key is None else repr({prompt.key: prompt.example.gold})


def reasoned_answer(
    ctx: TrainingContext, settings: SftTracesSettings | StartSettings, rules: TraceRules, prompt: Prompt
) -> str:
    """Reasoning made by rule from the items that the prompt shows, and the gold.

    Raises:
        RunError: the prompt does not ask for reasoning.
    """
    if not prompt.reasons:
        message = f"{settings.section}.reasoner={settings.reasoner} does not ask for reasoning"
        raise RunError(message, "take prlm or think")
    trace = rules.trace([*prompt.shown_items.values()], settings.statements, f"{ctx.seed} {prompt.example.id}")
    return f"{trace}\n</think>\n{gold_answer(prompt)}"


def _golds_after_traces(
    ctx: TrainingContext, settings: SftTracesSettings, rules: TraceRules
) -> list[list[TrainingExample]]:
    """As `_golds`, with reasoning made by rule before the gold."""
    splits = []
    for split in _golds(ctx, settings):
        prompts = [each.prompt for each in split]
        own = rules.among([*prompt.shown_items.values()] for prompt in prompts)
        splits.append([TrainingExample(p, reasoned_answer(ctx, settings, own, p)) for p in prompts])
    return splits


def _best_completions(ctx: TrainingContext, settings: RftSettings) -> tuple[list[list[TrainingExample]], int]:
    """Each question's best completion of several, for the training users and for the validation users.

    Returns:
        Examples of both, and the tokens of all completions.
    """
    splits, tokens = [], 0
    for validation, limit in ((False, settings.questions), (True, settings.judged)):
        best, drawn = _sample_best(ctx, settings, limit, validation)
        splits.append(best)
        tokens += drawn
    if not all(splits):
        raise RunError("rft: no completion reaches the minimum score rft.least", "reduce rft.least, or raise rft.draws")
    return splits, tokens


def _sample_best(
    ctx: TrainingContext, settings: RftSettings, limit: int | None, validation: bool
) -> tuple[list[TrainingExample], int]:
    reasoner = ctx.reasoner(settings.reasoner)
    prompts, _ = ctx.training_prompts(reasoner, limit, validation=validation)
    rewards = build_rewards(ctx, settings.rewards).values()
    best: dict[str, tuple[float, Sample]] = {}
    tokens = 0
    for draw in range(settings.draws):
        generator = ctx.base_model(settings.temperature, draw)
        samples = ctx.answers(f"sampling {draw + 1} of {settings.draws}", reasoner, prompts, generator)
        tokens += sum(each.completion.tokens or 0 for each in samples)
        samples = [each for each in samples if each.answer.parsed is not None]
        columns = [(reward.score(samples), weight) for reward, weight in rewards]
        for place, each in enumerate(samples):
            score = sum(weight * scores[place] for scores, weight in columns)
            known = best.get(each.prompt.example.id)
            if score >= settings.least and (known is None or score > known[0]):
                best[each.prompt.example.id] = (score, each)
    return [TrainingExample(each.prompt, each.completion.text) for _, each in best.values()], tokens


def tune(
    ctx: TrainingContext,
    settings: SftSettings | SftTracesSettings | RftSettings | StartSettings,
    folder: Path,
    name: str,
    splits: Sequence[Sequence[TrainingExample]],
    generated: int = 0,
    judged: Validation | None = None,
) -> Mapping[str, Any]:
    """Fine-tune on the first of two splits, and return figures for the manifest (see `fit_rows`).

    Without `judged`, the checkpoint is chosen by the answers to questions that the stage's reasoner asks.
    """
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    train, validation = splits
    figures = fit_rows(
        ctx,
        folder,
        f"training {name}",
        settings,
        (SFTTrainer, SFTConfig),
        _dataset,
        (train, validation),
        judged or Validation.asked_by(ctx, settings, settings.reasoner),
        generated,
        packing=False,
    )
    return {"task": ctx.task.name, "reasoner": settings.reasoner, "questions": len(train), **figures}


def _dataset(tokenizer: Any, examples: Sequence[TrainingExample]) -> Any:
    """Token ids and labels: the loss covers the completion and its end token only."""
    from datasets import Dataset

    prompts = encode_prompts(tokenizer, [turns(each.prompt) for each in examples])
    completions = encode_completions(tokenizer, [each.completion for each in examples])
    return Dataset.from_list(
        [
            {"input_ids": prompt + completion, "labels": [_IGNORED] * len(prompt) + completion}
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
    )
