"""Trains the policy: GRPO on questions with their items, rewarded by registered rewards.

Source: PrLM (arXiv 2508.07342); GRPO as in DeepSeekMath (arXiv 2402.03300), by trl. Prompts are those of the
reasoner that a run uses, so training and evaluation ask in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prlm_bench import Prompt

from .artefact import Artefact
from .chat import turns
from .judging import Judge, needs_reward_model, reward_names
from .processes import world_size
from .recipe import Policy
from .records import HELD_BACK, TRAIN
from .reward_training import make_reward
from .tuning import adapter, arguments, building, fit, last_values, load_model, passes, plain
from .workshop import Workshop

#: Figures of the manifest, and trl's names for them.
_FIGURES = {
    "reward": "reward",
    "completion_length": "completions/mean_length",
    "share_clipped": "completions/clipped_ratio",
    "entropy": "entropy",
    "kl": "kl",
    "share_of_groups_without_spread": "frac_reward_zero_std",
}


def make_policy(shop: Workshop, settings: Policy | None = None, name: str = "policy") -> Artefact:
    """The policy of a recipe, and what its rewards stand on where that is not there yet.

    Args:
        shop: the training.
        settings: another policy than the recipe's, as in an ablation.
        name: of its folder.
    """
    settings = settings or shop.recipe.policy
    reward = make_reward(shop).manifest["files"] if needs_reward_model(settings.rewards) else None
    return shop.stage(name, settings, lambda folder: _make(shop, settings, folder, name), reward=reward)


def _make(shop: Workshop, settings: Policy, folder: Path, name: str) -> Mapping[str, Any]:
    reasoner = shop.reasoner(settings.reasoner)
    train, too_long = shop.asked(reasoner, settings.questions, held_back=False)
    judged, _ = shop.asked(reasoner, settings.judged, held_back=True)
    rows = passes(train, settings, shop.context.seed)
    asked = {prompt.example.id: prompt for prompt in [*train, *judged]}
    judge = Judge(shop, reasoner, asked, settings.rewards, folder, settings.keep_every)
    label = f"training {name}"
    with building(label, folder):
        trainer = _trainer(shop, settings, folder, rows, judged, judge)
    figures = fit(shop, folder, label, settings, trainer, judge.keep_until)
    return {
        "task": shop.task.name,
        "reasoner": settings.reasoner,
        "questions": len(train),
        "too_long": too_long,
        **figures,
        "last_steps": last_values(folder, {**_FIGURES, **_reward_figures(settings.rewards)}),
    }


def _trainer(
    shop: Workshop, settings: Policy, folder: Path, rows: Sequence[Prompt], judged: Sequence[Prompt], judge: Judge
) -> Any:
    from trl.trainer.grpo_config import GRPOConfig

    from .rollout import rollout
    from .sharing import SharingTrainer

    model, tokenizer = load_model(shop.base)
    config = GRPOConfig(
        num_generations=settings.group,
        max_completion_length=shop.recipe.max_completion,
        temperature=settings.temperature,
        beta=settings.beta,
        reward_weights=judge.weights,
        shuffle_dataset=False,
        metric_for_best_model="reward",
        greater_is_better=True,
        **arguments(shop, folder, settings, len(rows), settings.group),
    )
    # Several processes share a model in ways that only trl knows, and vLLM writes by itself.
    own = world_size() == 1 and not config.use_vllm
    writing = rollout(shop.recipe.max_completion, settings.temperature) if own else None
    return plain(SharingTrainer)(
        model=model,
        processing_class=tokenizer,
        reward_funcs=judge.functions,
        args=config,
        train_dataset=_dataset(rows, TRAIN),
        eval_dataset=_dataset(judged, HELD_BACK),
        peft_config=adapter(settings.lora),
        rollout_func=writing,
    )


def _dataset(prompts: Sequence[Prompt], part: str) -> Any:
    from datasets import Dataset

    return Dataset.from_list([{"prompt": turns(p), "question": p.example.id, "part": part} for p in prompts])


def _reward_figures(rewards: Mapping[str, float]) -> dict[str, str]:
    names = reward_names(rewards).values()
    return {name: f"rewards/{name}/mean" for name in names} | {
        f"{name}_spread": f"rewards/{name}/std" for name in names
    }
