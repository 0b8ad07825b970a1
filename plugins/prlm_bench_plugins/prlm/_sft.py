"""Supervised fine-tuning: on gold answers (SFT), and on the base model's own best completions (RFT).

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
from ._recipe import RftSettings, SftSettings, required
from ._reward_training import make_reward
from ._rewards import build_rewards, needs_reward_model
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
    settings = required(ctx.recipe.sft, "sft")
    return ctx.stage("sft", settings, lambda folder: _fit(ctx, settings, folder, "sft", _golds(ctx, settings)))


def make_rft(ctx: TrainingContext) -> Artefact:
    """The model fine-tuned on its own best completions, after the reward model where that is needed and missing."""
    settings = required(ctx.recipe.rft, "rft")
    reward = make_reward(ctx).manifest["files"] if needs_reward_model(settings.rewards) else None

    def work(folder: Path) -> Mapping[str, Any]:
        return _fit(ctx, settings, folder, "rft", _best_completions(ctx, settings))

    return ctx.stage("rft", settings, work, reward=reward)


def _golds(ctx: TrainingContext, settings: SftSettings) -> list[list[TrainingExample]]:
    """Examples of the training users, and of the validation users."""
    reasoner = ctx.reasoner(settings.reasoner)
    splits = []
    for validation, limit in ((False, settings.questions), (True, settings.judged)):
        prompts, _ = ctx.training_prompts(reasoner, limit, validation=validation)
        golds = [p.example.gold or "" if p.key is None else repr({p.key: p.example.gold}) for p in prompts]
        splits.append([TrainingExample(prompt, gold) for prompt, gold in zip(prompts, golds, strict=True)])
    return splits


def _best_completions(ctx: TrainingContext, settings: RftSettings) -> list[list[TrainingExample]]:
    """Each question's best completion of several, for the training users and for the validation users."""
    splits = []
    for validation, limit in ((False, settings.questions), (True, settings.judged)):
        splits.append(_sample_best(ctx, settings, limit, validation))
    if not all(splits):
        raise RunError("rft: no completion reaches the minimum score rft.least", "reduce rft.least, or raise rft.draws")
    return splits


def _sample_best(
    ctx: TrainingContext, settings: RftSettings, limit: int | None, validation: bool
) -> list[TrainingExample]:
    reasoner = ctx.reasoner(settings.reasoner)
    prompts, _ = ctx.training_prompts(reasoner, limit, validation=validation)
    rewards = build_rewards(ctx, settings.rewards).values()
    best: dict[str, tuple[float, Sample]] = {}
    for draw in range(settings.draws):
        generator = ctx.base_model(settings.temperature, draw)
        samples = ctx.answers(f"sampling {draw + 1} of {settings.draws}", reasoner, prompts, generator)
        samples = [each for each in samples if each.answer.parsed is not None]
        columns = [(reward.score(samples), weight) for reward, weight in rewards]
        for place, each in enumerate(samples):
            score = sum(weight * scores[place] for scores, weight in columns)
            known = best.get(each.prompt.example.id)
            if score >= settings.least and (known is None or score > known[0]):
                best[each.prompt.example.id] = (score, each)
    return [TrainingExample(each.prompt, each.completion.text) for _, each in best.values()]


def _fit(
    ctx: TrainingContext,
    settings: SftSettings | RftSettings,
    folder: Path,
    name: str,
    splits: Sequence[Sequence[TrainingExample]],
) -> Mapping[str, Any]:
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    train, validation = splits
    kind = (SFTTrainer, SFTConfig)
    figures = fit_rows(ctx, folder, f"training {name}", settings, kind, _dataset, (train, validation), packing=False)
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
