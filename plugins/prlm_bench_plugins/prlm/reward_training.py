"""Trains the personalization reward model on pairs of answers.

Source: PrLM (arXiv 2508.07342): loss -log sigmoid(s(better) - s(worse)), Bradley and Terry's model of a
preference. One artefact belongs to one task: what is personal in a headline is not what is personal in a tweet.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .artefact import MODEL, Artefact, clear
from .course import CHECKPOINTS, follow, last_whole_checkpoint
from .identity import hash_files
from .pairs import Pair, make_pairs, read_pairs
from .recipe import RewardModel, Scratch
from .reward_judging import judge_pairs
from .scorer import Scorer, load_scorer, new_scorer, question_text
from .tuning import explained, silently
from .workshop import Workshop


def make_reward(shop: Workshop) -> Artefact:
    """The reward model of a recipe, and the pairs before it where they are not there yet."""
    pairs = make_pairs(shop)
    inputs = {"pairs": pairs.manifest["files"]}
    return shop.stage("reward", shop.recipe.reward, lambda folder: _make(shop, pairs, folder), alone=True, **inputs)


def _make(shop: Workshop, artefact: Artefact, folder: Path) -> Mapping[str, Any]:
    settings = shop.recipe.reward
    pairs = read_pairs(artefact)
    train = [pair for pair in pairs if not pair.held_back]
    held_back = [pair for pair in pairs if pair.held_back]
    scorer = _scorer(shop, settings, train)
    _fit(shop, scorer, train, folder)
    clear(folder / CHECKPOINTS)
    clear(folder / MODEL)
    scorer.save(folder / MODEL)
    # What is judged is what a run will load: files that read otherwise than they were made show here.
    kept = load_scorer(folder / MODEL, settings.max_length)
    return {
        "task": shop.task.name,
        "profile": settings.profile,
        "max_length": kept.max_length,
        "train_pairs": len(train),
        "held_back_pairs": len(held_back),
        "figures": judge_pairs(kept, train, held_back, profile=settings.profile),
        "files": hash_files(folder / MODEL),
    }


def _scorer(shop: Workshop, settings: RewardModel, train: Sequence[Pair]) -> Scorer:
    if not isinstance(settings.base, Scratch):
        return load_scorer(settings.base, settings.max_length)
    texts = [text for pair in train for text in (pair.query, pair.better, pair.worse, *pair.items)]
    return new_scorer(settings.base, texts, settings.max_length, shop.context.seed)


def _fit(shop: Workshop, scorer: Scorer, train: Sequence[Pair], folder: Path) -> None:
    """Train in place, from the last whole checkpoint where there is one."""
    import torch
    import transformers

    settings = shop.recipe.reward
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
        seed=shop.context.seed,
        use_cpu=cpu,
        bf16=shop.recipe.precision == "bf16",
        dataloader_pin_memory=not cpu,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=[],
    )
    trainer = _pair_trainer()(
        model=scorer.model,
        args=arguments,
        train_dataset=_encoded(scorer, train, settings, steps, shop.context.seed),
        data_collator=lambda rows: scorer.collate([row[side] for side in (0, 1) for row in rows]),
    )
    label = "training the reward model"
    follow(trainer, shop.progress, label, folder)
    with explained(label, folder), silently():
        trainer.train(resume_from_checkpoint=last_whole_checkpoint(folder))


def _encoded(
    scorer: Scorer, pairs: Sequence[Pair], settings: RewardModel, steps: int, seed: int
) -> list[tuple[dict[str, list[int]], dict[str, list[int]]]]:
    """Better and worse of each pair as ids, in the order of all passes."""
    texts = [question_text(pair.query, pair.items, profile=settings.profile) for pair in pairs]
    better = scorer.encode(texts, [pair.better for pair in pairs])
    worse = scorer.encode(texts, [pair.worse for pair in pairs])
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
            return SequentialSampler(self.train_dataset)  # the passes are laid out already

    return PairTrainer
