"""PrLM (arXiv 2508.07342): explicit reasoning over retrieved items, trained by GRPO against a personalization reward.

`_recipe` has all hyperparameters, `_context` what stages share, `_stages` the trainers by name, and `_arms` the arms of
an experiment. The stages in order: `_start` with `_trace_rules` (optional), `_preference_pairs`, `_reward_training` (of
a `_reward_model`), and `_grpo` with `_rewards` and `_prefix_sharing`; `_sft` and `_dpo` are baselines on the same data.
All trainings of the language model share `_tuning` and `_callbacks`. The prompt is that of the reasoner `prlm`, in
training as in a run.
"""

from __future__ import annotations

from typing import Any

from prlm_bench import hookimpl

_LM = {"torch": "prlm-bench[lm]", "transformers": "prlm-bench[lm]"}
_TRAINING = {**_LM, "accelerate": "prlm-bench[prlm]", "datasets": "prlm-bench[prlm]", "trl": "prlm-bench[prlm]"}


@hookimpl
def prlm_bench_register_trainers(register: Any) -> None:
    """prlm, its stages, its baselines, and prlm.ablation, which makes all of them."""
    register("prlm", "._stages:prlm", requires=_TRAINING, needs={"train"})
    stages = ("start", "pairs", "reward", "policy", "sft", "sft-grid", "sft-traces", "rft", "dpo", "ablation")
    for stage in stages:
        register(f"prlm.{stage}", f"._stages:{stage.replace('-', '_')}", requires=_TRAINING, needs={"train"})


@hookimpl
def prlm_bench_register_rewards(register: Any) -> None:
    """accuracy, closed-reasoning and personalization."""
    register("accuracy", "._rewards:Accuracy")
    register("closed-reasoning", "._rewards:ClosedReasoning")
    register("personalization", "._rewards:Personalization", requires=_LM)


@hookimpl
def prlm_bench_register_generators(register: Any) -> None:
    """trained."""
    register("trained", "._stages:trained", requires=_LM, cached=True)


@hookimpl
def prlm_bench_register_methods(register: Any) -> None:
    """The trained models and their base, each with the prompts that it was trained on."""
    direct = "direct:protocol=chat"
    register("prlm", retriever="bm25", reasoner="prlm", generator="trained:checkpoint={checkpoint}")
    register("start", retriever="bm25", reasoner="prlm", generator="trained:checkpoint={checkpoint},stage=start")
    register("sft", retriever="bm25", reasoner=direct, generator="trained:checkpoint={checkpoint},stage=sft")
    register(
        "sft-traces", retriever="bm25", reasoner="prlm", generator="trained:checkpoint={checkpoint},stage=sft-traces"
    )
    register("rft", retriever="bm25", reasoner="prlm", generator="trained:checkpoint={checkpoint},stage=rft")
    register("dpo", retriever="bm25", reasoner="prlm", generator="trained:checkpoint={checkpoint},stage=dpo")
    register("rag", retriever="bm25", reasoner=direct, generator="transformers:model={model}")
    register("zero-shot", reasoner=direct, generator="transformers:model={model}")
    register("think", retriever="bm25", reasoner="think", generator="transformers:model={model}")


@hookimpl
def prlm_bench_register_commands(register: Any) -> None:
    """prlm: recipes, curves and completions of trainings."""
    register("prlm", "._cli:app")
