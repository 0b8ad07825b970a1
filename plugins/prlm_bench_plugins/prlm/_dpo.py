"""DPO on the preference pairs: prefers what the base model wrote with the items to what it wrote without them.

Source: Rafailov et al. 2023 (arXiv 2305.18290), by trl. The prompt is the one with items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prlm_bench.errors import RunError

from .._hf import chat_text
from .._training import Artefact
from ._context import TrainingContext
from ._preference_pairs import Pair, make_pairs, read_pairs
from ._recipe import DpoSettings, required
from ._rollout import Validation
from ._tuning import fit_rows, last_values

#: Figures of the manifest, and trl's names for them.
_FIGURES = {"accuracy": "rewards/accuracies", "margin": "rewards/margins"}


def make_dpo(ctx: TrainingContext) -> Artefact:
    """The model trained by DPO, after the pairs where they are missing."""
    settings = required(ctx.recipe.dpo, "dpo")
    pairs = make_pairs(ctx)

    def work(folder: Path) -> Mapping[str, Any]:
        return _fit(ctx, settings, pairs, folder)

    return ctx.stage("dpo", settings, work, builds_on=[pairs], pairs=pairs.manifest["files"])


def _fit(ctx: TrainingContext, settings: DpoSettings, artefact: Artefact, folder: Path) -> Mapping[str, Any]:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    pairs = [pair for pair in read_pairs(artefact) if pair.prompt]
    train = [pair for pair in pairs if not pair.held_back][: settings.questions]
    validation = [pair for pair in pairs if pair.held_back][: settings.judged]
    if not train or not validation:
        raise RunError("dpo: no pairs of two completions", "leave echo out of pairs.negatives, or take another base")
    kind = (DPOTrainer, DPOConfig)
    splits = (train, validation)
    reasoner = ctx.recipe.reasoner
    judged = Validation.asked_by(ctx, settings, reasoner)
    figures = fit_rows(ctx, folder, "training dpo", settings, kind, _dataset, splits, judged, beta=settings.beta)
    return {
        "task": ctx.task.name,
        "reasoner": reasoner,
        "pairs": len(train),
        **figures,
        "last_steps": last_values(folder, _FIGURES),
    }


def _dataset(tokenizer: Any, pairs: Sequence[Pair]) -> Any:
    """Texts in the chat template, without the token that trl's tokenizer call puts at their beginning."""
    from datasets import Dataset

    def rendered(text: str) -> str:
        return chat_text(tokenizer, [{"role": "user", "content": text}], begin=False)

    end = tokenizer.eos_token
    return Dataset.from_list(
        [{"prompt": rendered(p.prompt), "chosen": p.chosen + end, "rejected": p.rejected + end} for p in pairs]
    )
