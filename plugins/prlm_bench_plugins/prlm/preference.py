"""DPO on the pairs: what the base wrote with the items is preferred to what it wrote without.

Source: Rafailov et al. 2023 (arXiv 2305.18290), by trl. The prompt is the one with items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prlm_bench.errors import RunError

from .artefact import Artefact
from .pairs import Pair, make_pairs, read_pairs
from .tuning import fit_rows, last_values
from .workshop import Workshop

_FIGURES = {"accuracy": "rewards/accuracies", "margin": "rewards/margins"}


def make_dpo(shop: Workshop) -> Artefact:
    """The model that prefers, and the pairs before it where they are not there yet."""
    pairs = make_pairs(shop)
    return shop.stage("dpo", shop.recipe.dpo, lambda folder: _fit(shop, pairs, folder), pairs=pairs.manifest["files"])


def _fit(shop: Workshop, artefact: Artefact, folder: Path) -> Mapping[str, Any]:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    settings = shop.recipe.dpo
    pairs = [pair for pair in read_pairs(artefact) if pair.prompt]
    train = [pair for pair in pairs if not pair.held_back][: settings.questions]
    judged = [pair for pair in pairs if pair.held_back][: settings.judged]
    if not train or not judged:
        raise RunError("dpo: no pairs of whole completions", "pairs.negatives without echo, or another base")
    kind = (DPOTrainer, DPOConfig)
    figures = fit_rows(shop, folder, "training dpo", settings, kind, _dataset, (train, judged), beta=settings.beta)
    return {
        "task": shop.task.name,
        "reasoner": shop.recipe.reasoner,
        "pairs": len(train),
        **figures,
        "last_steps": last_values(folder, _FIGURES),
    }


def _dataset(tokenizer: Any, pairs: Sequence[Pair]) -> Any:
    """Texts with the chat template around them; the tokenizer must not begin them a second time."""
    from datasets import Dataset

    begin = tokenizer.bos_token if tokenizer("")["input_ids"] else None

    def rendered(text: str) -> str:
        turn = [{"role": "user", "content": text}]
        found: str = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        return found.removeprefix(begin) if begin else found

    end = tokenizer.eos_token
    return Dataset.from_list(
        [{"prompt": rendered(p.prompt), "chosen": p.chosen + end, "rejected": p.rejected + end} for p in pairs]
    )
