"""PrLM (arXiv 2508.07342): explicit reasoning over retrieved items, trained by GRPO against a personalization reward.

Read it in this order: `recipe` (every number), `pairs`, `scorer` and `reward_training`, `rewards`, `judging` and
`policy`; `imitation` and `preference` are the baselines on the same data. The prompt is that of the reasoner
`prlm`, in training as in a run.
"""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

from . import trainers
from .app import app
from .generator import trained
from .rewards import Accuracy, ClosedReasoning, Personalization

_LM = {"torch": "prlm-bench[lm]", "transformers": "prlm-bench[lm]"}
_TRAINING = {**_LM, "accelerate": "prlm-bench[prlm]", "datasets": "prlm-bench[prlm]", "trl": "prlm-bench[prlm]"}


@hookimpl
def prlm_bench_register_trainers(register: Any) -> None:
    """prlm and its stages, the baselines, and all of them for the table of ablations."""
    made = {
        "prlm": trainers.PrlmTrainer,
        "prlm.pairs": trainers.PairsTrainer,
        "prlm.reward": trainers.RewardTrainer,
        "prlm.policy": trainers.PolicyTrainer,
        "prlm.sft": trainers.SftTrainer,
        "prlm.rft": trainers.RftTrainer,
        "prlm.dpo": trainers.DpoTrainer,
        "prlm.ablation": trainers.AblationTrainer,
    }
    for name, factory in made.items():
        register(name, factory, requires=_TRAINING, needs={"train"})


@hookimpl
def prlm_bench_register_rewards(register: Any) -> None:
    """accuracy, closed-reasoning and personalization."""
    register("accuracy", Accuracy)
    register("closed-reasoning", ClosedReasoning)
    register("personalization", Personalization, requires=_LM)


@hookimpl
def prlm_bench_register_generators(register: Any) -> None:
    """trained."""
    register("trained", trained, requires=_LM, cached=True)


@hookimpl
def prlm_bench_register_methods(register: Any) -> None:
    """The trained models, and the base that they come from, each asked as it was trained to be."""
    direct = "direct:protocol=chat"
    register("prlm", retriever="bm25", reasoner="prlm", generator="trained:checkpoint={checkpoint}")
    register("sft", retriever="bm25", reasoner=direct, generator="trained:checkpoint={checkpoint},stage=sft")
    register("rft", retriever="bm25", reasoner="prlm", generator="trained:checkpoint={checkpoint},stage=rft")
    register("dpo", retriever="bm25", reasoner="prlm", generator="trained:checkpoint={checkpoint},stage=dpo")
    register("rag", retriever="bm25", reasoner=direct, generator="transformers:model={model}")
    register("zero-shot", reasoner=direct, generator="transformers:model={model}")
    register("think", retriever="bm25", reasoner="think", generator="transformers:model={model}")


@hookimpl
def prlm_bench_register_commands(register: Any) -> None:
    """prlm: recipes, curves and completions of trainings."""
    register("prlm", app)
