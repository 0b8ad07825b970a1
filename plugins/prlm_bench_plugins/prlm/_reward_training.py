"""Trains the personalization reward model on preference pairs and evaluates it on the validation users.

Source: PrLM (arXiv 2508.07342): loss -log sigmoid(s(better) - s(worse)), the Bradley-Terry model of a preference.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from prlm_bench.results import ClusterEstimates, as_mean

from .._training import CHECKPOINTS, MODEL, Artefact, file_hashes, remove_folder
from ._callbacks import last_complete_checkpoint, report_progress
from ._context import TrainingContext
from ._preference_pairs import Pair, make_pairs, read_pairs
from ._recipe import EncoderConfig, RewardModelSettings
from ._reward_model import RewardModel, load_reward_model, new_reward_model, question_text
from ._tuning import explained, silenced

_CALIBRATION_BINS = 10


def make_reward(ctx: TrainingContext, settings: RewardModelSettings | None = None, folder: str = "reward") -> Artefact:
    """The reward model of a recipe, after the pairs where they are missing.

    Args:
        ctx: the training.
        settings: of another reward model than the recipe's, as in an ablation.
        folder: its name.
    """
    pairs, chosen = make_pairs(ctx), settings or ctx.recipe.reward

    def work(place: Path) -> Mapping[str, Any]:
        return _make(ctx, chosen, pairs, place)

    inputs = {"pairs": pairs.manifest["files"]}
    return ctx.stage("reward", chosen, work, folder=folder, one_process=True, builds_on=[pairs], **inputs)


def _make(ctx: TrainingContext, settings: RewardModelSettings, artefact: Artefact, folder: Path) -> Mapping[str, Any]:
    pairs = read_pairs(artefact)
    train = [pair for pair in pairs if not pair.held_back]
    validation = [pair for pair in pairs if pair.held_back]
    model = _initial_model(ctx, settings, train)
    trained = _fit(ctx, settings, model, train, folder)
    remove_folder(folder / CHECKPOINTS)
    remove_folder(folder / MODEL)
    model.save(folder / MODEL)
    # Evaluates the files that a run will load, rather than the model in memory.
    saved = load_reward_model(folder / MODEL, settings.max_length)
    return {
        "task": ctx.task.name,
        "profile": settings.profile,
        "max_length": saved.max_length,
        "train_pairs": len(train),
        "held_back_pairs": len(validation),
        "figures": evaluate(saved, train, validation, profile=settings.profile),
        "files": file_hashes(folder / MODEL),
        "cost": {"tokens_generated": 0, "tokens_trained": trained},
    }


def _initial_model(ctx: TrainingContext, settings: RewardModelSettings, train: Sequence[Pair]) -> RewardModel:
    if not isinstance(settings.base, EncoderConfig):
        return load_reward_model(settings.base, settings.max_length)
    texts = [text for pair in train for text in (pair.query, pair.better, pair.worse, *pair.items)]
    return new_reward_model(settings.base, texts, settings.max_length, ctx.seed)


def _fit(
    ctx: TrainingContext, settings: RewardModelSettings, model: RewardModel, train: Sequence[Pair], folder: Path
) -> int:
    """Train in place, from the last complete checkpoint if there is one; returns the tokens that the loss reads."""
    import torch
    import transformers

    steps = max(1, round(settings.epochs * len(train) / settings.batch))
    cpu = not torch.cuda.is_available()
    make: Any = transformers.TrainingArguments
    arguments = make(
        output_dir=str(folder / CHECKPOINTS),
        per_device_train_batch_size=settings.batch,
        max_steps=steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup,
        save_steps=max(1, steps // 3),
        save_total_limit=1,
        logging_steps=1,
        seed=ctx.seed,
        use_cpu=cpu,
        bf16=ctx.recipe.precision == "bf16",
        dataloader_pin_memory=not cpu,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=[],
    )
    rows = _encoded(model, train, settings, steps, ctx.seed)
    trainer = _pair_trainer()(
        model=model.model,
        args=arguments,
        train_dataset=rows,
        data_collator=lambda rows: model.collate([row[side] for side in (0, 1) for row in rows]),
    )
    label = "training the reward model"
    report_progress(trainer, ctx.progress, label, folder, ctx.stopwatch)
    with explained(label, folder), silenced():
        trainer.train(resume_from_checkpoint=last_complete_checkpoint(folder))
    return sum(len(side["input_ids"]) for row in rows for side in row)


def _encoded(
    model: RewardModel, pairs: Sequence[Pair], settings: RewardModelSettings, steps: int, seed: int
) -> list[tuple[dict[str, list[int]], dict[str, list[int]]]]:
    """Better and worse answer of each pair as ids, in the order of all epochs."""
    texts = [question_text(pair.query, pair.items, profile=settings.profile) for pair in pairs]
    better = model.encode(texts, [pair.better for pair in pairs])
    worse = model.encode(texts, [pair.worse for pair in pairs])
    rng = random.Random(f"reward {seed}")
    order: list[int] = []
    while len(order) < steps * settings.batch:
        order += rng.sample(range(len(pairs)), len(pairs))
    return [(better[place], worse[place]) for place in order[: steps * settings.batch]]


def _pair_trainer() -> Any:
    """transformers' Trainer with the Bradley-Terry loss; the better half of a batch comes first."""
    import torch
    import transformers
    from torch.utils.data import SequentialSampler

    trainer: Any = transformers.Trainer

    class PairTrainer(trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            outputs = model(**inputs)
            better, worse = outputs.logits[:, 0].chunk(2)
            loss = -torch.nn.functional.logsigmoid(better - worse).mean()
            return (loss, outputs) if return_outputs else loss

        def _get_train_sampler(self, *_: Any) -> Any:
            return SequentialSampler(self.train_dataset)  # `_encoded` has laid out all epochs

    return PairTrainer


def evaluate(model: RewardModel, train: Sequence[Pair], validation: Sequence[Pair], *, profile: bool) -> dict[str, Any]:
    """Figures on the pairs of the validation users, by which nothing was chosen.

    `accuracy` is the share of pairs whose better answer scores higher, with a 95 % interval over users. To compare:
    `accuracy_of_length`, that of the rule "longer is better" (or shorter, whichever holds in the training pairs), and
    `beats_echo`, the share of better answers that score above the question's own text. `calibration_error` is the
    expected calibration error of sigmoid(margin) in ten bins (Guo et al. 2017, section 2).
    """
    texts = [question_text(pair.query, pair.items, profile=profile) for pair in validation]
    better = np.array(model.score(texts, [pair.better for pair in validation]))
    worse = np.array(model.score(texts, [pair.worse for pair in validation]))
    echo = np.array(model.score(texts, [pair.query for pair in validation]))
    users = [pair.user for pair in validation]
    sign = 1.0 if _longer(train).mean() >= 0.5 else -1.0
    lengths = [len(text) for pair in validation for text in (pair.better, pair.worse)]
    scores = [value for pair in zip(better, worse, strict=True) for value in pair]
    return {
        "held_back_users": len(set(users)),
        "accuracy": _share(_wins(better - worse), users),
        "accuracy_of_length": _share(_longer(validation) if sign > 0 else 1 - _longer(validation), users),
        "beats_echo": _share(_wins(better - echo), users),
        "rank_correlation_with_length": _correlation(scores, lengths),
        "calibration_error": round(_calibration_error(better - worse), 4),
    }


def _wins(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where positive, 0 where negative, a half where 0."""
    won: NDArray[np.float64] = (np.sign(margins) + 1) / 2
    return won


def _longer(pairs: Sequence[Pair]) -> NDArray[np.float64]:
    return _wins(np.array([len(pair.better) - len(pair.worse) for pair in pairs], dtype=np.float64))


def _share(values: NDArray[np.float64], users: Sequence[str]) -> dict[str, float | None]:
    """The mean with a 95 % interval over users."""
    figures = ClusterEstimates(users)
    figures.add("share", as_mean(values.tolist()))
    found = figures.estimates()["share"]
    ends = {"value": found.value, "low": found.low, "high": found.high}
    return {name: None if end is None else round(end, 4) for name, end in ends.items()}


def _correlation(scores: Sequence[float], lengths: Sequence[int]) -> float | None:
    if len(set(scores)) < 2 or len(set(lengths)) < 2:
        return None
    return round(float(spearmanr(scores, lengths).statistic), 4)


def _calibration_error(margins: NDArray[np.float64]) -> float:
    confidence = 1 / (1 + np.exp(-np.abs(margins)))
    bins = np.minimum(((confidence - 0.5) * 2 * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    right = _wins(margins)
    gaps = [abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in set(bins)]
    return float(sum(gaps))
