"""Trains the policy by GRPO. One step, from top to bottom of this file:

1. `make_policy` lays out the questions of all steps as prompts; trl takes `batch` of them, `group` times each.
2. `Rollout` samples a completion for each row. A prompt is read once for all completions of its group.
3. `RewardSet` parses each completion once and scores the batch by the recipe's rewards.
4. trl subtracts the group's mean of the weighted rewards and divides by its standard deviation: the advantages. It
   computes the clipped policy-gradient loss, with log-probabilities from `_prefix_sharing`, and takes the step.

Sources: PrLM (arXiv 2508.07342); GRPO as in DeepSeekMath (arXiv 2402.03300), by trl. By default the loss is the mean
over all tokens of a step (DAPO, arXiv 2503.14476); `loss_type: grpo` is the paper's. Prompts are those of the reasoner
that a run uses, so that training and evaluation ask in the same words.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from prlm_bench import Completion, Prompt, Sample
from prlm_bench.cli.plugin_api import write_whole
from prlm_bench.errors import RunError
from prlm_bench.interfaces import Reasoner, Reward

from .._hf import chat_text, decode_answer, encode_prompts, stated_settings, turns
from .._training import (
    COMPLETIONS,
    TRAIN,
    VALIDATION,
    Artefact,
    is_main_process,
    read_completions,
    read_log,
    world_size,
)
from ._callbacks import FLAT_GROUPS, GENERATED, TRAINED, SpreadCallback, finding
from ._context import TrainingContext, parsed_sample
from ._recipe import GrpoSettings, RewardModelSettings, required
from ._reward_training import make_reward
from ._rewards import build_rewards, needs_reward_model, reward_names, spread_of_groups
from ._rollout import Rollout, Validation, can_repeat_cache, gathered, validated
from ._tuning import (
    adapter,
    building,
    epoch_orders,
    fit,
    last_values,
    load_model,
    training_arguments,
    training_cost,
)

#: Figures of the manifest, and trl's names for them.
_FIGURES = {
    "reward": "reward",
    "completion_length": "completions/mean_length",
    "share_clipped": "completions/clipped_ratio",
    "entropy": "entropy",
    "kl": "kl",
    "share_of_groups_without_spread": FLAT_GROUPS,
}


def make_policy(
    ctx: TrainingContext,
    settings: GrpoSettings | None = None,
    name: str = "policy",
    reward_settings: RewardModelSettings | None = None,
) -> Artefact:
    """The policy of a recipe, after the reward model where that is needed and missing.

    Args:
        ctx: the training.
        settings: of another policy than the recipe's, as in an ablation.
        name: of its folder.
        reward_settings: of another reward model than the recipe's, which is made in the folder NAME-reward.
    """
    chosen = settings or required(ctx.recipe.policy, "policy")
    reward: Artefact | None = None
    if needs_reward_model(chosen.rewards):
        own = reward_settings is not None and reward_settings != ctx.recipe.reward
        reward = make_reward(ctx, reward_settings, f"{name}-reward") if own else make_reward(ctx)

    def work(folder: Path) -> Mapping[str, Any]:
        return _fit(ctx, chosen, folder, name, reward.folder if reward else None)

    builds_on = [reward] if reward else []
    return ctx.stage(name, chosen, work, builds_on=builds_on, reward=reward.manifest["files"] if reward else None)


def _fit(
    ctx: TrainingContext, settings: GrpoSettings, folder: Path, name: str, reward_model: Path | None
) -> Mapping[str, Any]:
    reasoner = ctx.reasoner(settings.reasoner)
    train, too_long = ctx.training_prompts(reasoner, settings.questions)
    validation, _ = ctx.training_prompts(reasoner, settings.judged, validation=True)
    rows = epoch_orders(train, settings, ctx.seed)
    prompts = {prompt.example.id: prompt for prompt in [*train, *validation]}
    built = build_rewards(ctx, settings.rewards, reward_model)
    permuted = permuted_names(settings)
    rewards = RewardSet(
        built, reasoner, prompts, folder, settings.keep_every, settings.group, permuted=permuted, seed=ctx.seed
    )
    label = f"training {name}"
    with building(label, folder):
        trainer = _trainer(ctx, settings, folder, rows, validation, rewards)
    trainer.add_callback(SpreadCallback(ctx.progress, label, folder))
    figures = fit(ctx, folder, label, settings, trainer, rewards.keep_until)
    # The rollout draws from the model's own distribution, whatever the checkpoint asks of `generate()`.
    ignored = stated_settings(trainer.model.generation_config.to_dict())
    return {
        "task": ctx.task.name,
        "reasoner": settings.reasoner,
        "questions": len(train),
        "too_long": too_long,
        **({"rollout_ignores": ignored} if ignored else {}),
        **figures,
        **training_cost(read_log(folder), evaluation_batches(settings, len(validation))),
        **finding(read_log(folder)),
        "last_steps": last_values(folder, {**_FIGURES, **_reward_figures(settings.rewards)}),
    }


def _trainer(
    ctx: TrainingContext,
    settings: GrpoSettings,
    folder: Path,
    rows: Sequence[Prompt],
    validation: Sequence[Prompt],
    rewards: RewardSet,
) -> Any:
    from trl.trainer.grpo_config import GRPOConfig

    from ._prefix_sharing import PrefixSharingGRPOTrainer, disable_telemetry

    model, tokenizer = load_model(ctx.base)
    rewards.tokenizer = tokenizer
    config = GRPOConfig(
        num_generations=settings.group,
        max_completion_length=ctx.recipe.max_completion,
        temperature=settings.temperature,
        beta=settings.beta,
        loss_type=settings.loss_type,
        scale_rewards=settings.scale_rewards,
        reward_weights=rewards.weights,
        shuffle_dataset=False,
        metric_for_best_model=Validation.selected_by,
        greater_is_better=True,
        **training_arguments(ctx, folder, settings, len(rows)),
    )
    # How several processes share a model is trl's own, and vLLM generates by itself.
    own_rollout = world_size() == 1 and not config.use_vllm and can_repeat_cache(model)
    reasoner = ctx.reasoner(settings.reasoner)
    judged = Validation(ctx, [(reasoner, prompt) for prompt in validation], config.per_device_eval_batch_size)
    return disable_telemetry(validated(PrefixSharingGRPOTrainer, judged))(
        model=model,
        processing_class=tokenizer,
        reward_funcs=rewards.functions,
        args=config,
        train_dataset=dataset(rows, TRAIN),
        eval_dataset=dataset(validation, VALIDATION),
        peft_config=adapter(settings.lora),
        rollout_func=Rollout(ctx.recipe.max_completion, settings.temperature) if own_rollout else None,
    )


def dataset(prompts: Sequence[Prompt], part: str) -> Any:
    """Rows as trl and `RewardSet` read them: the prompt, the question's id, and the part of the data."""
    from datasets import Dataset

    return Dataset.from_list([{"prompt": turns(p), "question": p.example.id, "part": part} for p in prompts])


class RewardSet:
    """The recipe's rewards as functions that trl calls with whole batches; each completion is parsed once.

    Args:
        rewards: with their weights, by name.
        reasoner: parses the completions.
        prompts: by question id; training and validation questions.
        folder: of the stage, where completions are stored.
        keep_every: store the completions of every n-th step.
        group: number of completions of a question.
        permuted: names of rewards whose scores are given to other completions of the batch: placebos, which have the
            distribution of the reward and say nothing of the completion.
        seed: of the permutations, with the step.
    """

    def __init__(
        self,
        rewards: Mapping[str, tuple[Reward, float]],
        reasoner: Reasoner,
        prompts: Mapping[str, Prompt],
        folder: Path,
        keep_every: int,
        group: int,
        *,
        permuted: Collection[str] = (),
        seed: int = 0,
    ) -> None:
        self._reasoner, self._prompts, self._keep_every, self._group = reasoner, prompts, keep_every, group
        self._rewards = {name: reward for name, (reward, _) in rewards.items()}
        self.weights = [weight for _, weight in rewards.values()]
        self._path = folder / COMPLETIONS
        self._permuted, self._seed = frozenset(permuted), seed
        self._lengths: dict[str, int] = {}
        self._batch: Any = None
        self._samples: list[Sample] = []
        self._scores: dict[str, list[float]] = {}
        #: Of the model; trl decodes without special tokens, also without those that mark reasoning.
        self.tokenizer: Any = None

    @property
    def functions(self) -> list[Any]:
        """A function for each reward and named like it; trl calls them in this order for each batch."""
        return [self._function(name) for name in self._rewards]

    def keep_until(self, step: int) -> None:
        """Remove stored completions of later steps, which the resumed training writes again.

        Args:
            step: the training resumes after it; -1 removes all.
        """
        if is_main_process() and self._path.is_file():
            kept = (row for row in read_completions(self._path.parent) if _is_before(row, step))
            write_whole(self._path, b"".join(orjson.dumps(row) + b"\n" for row in kept))

    def _function(self, name: str) -> Callable[..., list[float]]:
        def score(
            completions: Any, question: Sequence[str], trainer_state: Any, part: Sequence[str], **more: Any
        ) -> list[float]:
            if completions is not self._batch:
                self._batch, self._scores = completions, {}
                texts = self._texts(completions, question, more.get("completion_ids"))
                self._samples = [self._parse(name, text) for name, text in zip(question, texts, strict=True)]
            self._scores[name] = self._score(name, trainer_state.global_step)
            if name in self._permuted:
                rng = random.Random(f"placebo {self._seed} {trainer_state.global_step} {os.environ.get('RANK', '0')}")
                self._scores[name] = displaced(self._scores[name], rng)
            if len(self._scores) == len(self._rewards):
                self._log_tokens(question, more.get("completion_ids"), more.get("log_metric"))
                rows = gathered(self._rows(trainer_state.global_step, part))
                self._log_spread(rows, more.get("log_metric"))
                self._store(trainer_state.global_step, rows)
            return self._scores[name]

        score.__name__ = name
        return score

    def _texts(self, completions: Sequence[Any], questions: Sequence[str], ids: Any) -> list[str]:
        if self.tokenizer is None or ids is None:
            return [text if isinstance(text, str) else text[0]["content"] for text in completions]
        prompts = [chat_text(self.tokenizer, turns(self._prompts[name])) for name in questions]
        return [decode_answer(self.tokenizer, row, text) for row, text in zip(ids, prompts, strict=True)]

    def _parse(self, question: str, text: str) -> Sample:
        return parsed_sample(self._reasoner, self._prompts[question], Completion(text))

    def _score(self, name: str, step: int) -> list[float]:
        try:
            scores = [float(score) for score in self._rewards[name].score(self._samples)]
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise RunError(f"reward {name} failed at step {step}: {type(error).__name__}: {reason}") from error
        if len(scores) != len(self._samples) or not all(map(math.isfinite, scores)):
            raise RunError(f"reward {name} gave no finite number for each completion at step {step}")
        return scores

    def _rows(self, step: int, part: Sequence[str]) -> list[dict[str, Any]]:
        rows = []
        for place, (done, of) in enumerate(zip(self._samples, part, strict=True)):
            scores = {name: values[place] for name, values in self._scores.items()}
            row = {"step": step, "part": of, "id": done.prompt.example.id, "completion": done.completion.text}
            rows.append({**row, "parsed": done.answer.parsed, "answer": done.answer.text, "rewards": scores})
        return rows

    def _log_spread(self, rows: Sequence[Mapping[str, Any]], log: Callable[[str, float], None] | None) -> None:
        if log is None or len(rows) % self._group:
            return
        scores = {name: [row["rewards"][name] for row in rows] for name in self._rewards}
        shares, flat = spread_of_groups(scores, self.weights, self._group)
        log(FLAT_GROUPS, flat)
        for name, share in shares.items():
            log(f"rewards/{name}/share", share)

    def _log_tokens(self, questions: Sequence[str], ids: Any, log: Callable[[str, float], None] | None) -> None:
        """Tokens of the completions, and of what the loss is over: these with each prompt once for its group."""
        if log is None or ids is None or self.tokenizer is None:
            return
        new = [name for name in dict.fromkeys(questions) if name not in self._lengths]
        encoded = encode_prompts(self.tokenizer, [turns(self._prompts[name]) for name in new])
        self._lengths |= {name: len(row) for name, row in zip(new, encoded, strict=True)}
        read = sum(self._lengths[name] for name in questions) / self._group
        counts = gathered([{"generated": sum(map(len, ids)), "read": read}])
        generated = float(sum(row["generated"] for row in counts))
        log(GENERATED, generated)
        log(TRAINED, generated + sum(row["read"] for row in counts))

    def _store(self, step: int, rows: Sequence[dict[str, Any]]) -> None:
        if not is_main_process() or step % self._keep_every:
            return
        for row in rows:
            row["rewards"] = {name: round(score, 4) for name, score in row["rewards"].items()}
        with self._path.open("ab") as file:
            file.write(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def displaced(scores: Sequence[float], rng: random.Random) -> list[float]:
    """The same scores in another order, in which none keeps its place (Sattolo 1986); one score alone stays."""
    order = list(range(len(scores)))
    for last in range(len(order) - 1, 0, -1):
        other = rng.randrange(last)
        order[last], order[other] = order[other], order[last]
    return [scores[place] for place in order]


def permuted_names(settings: GrpoSettings) -> list[str]:
    """Names in figures of the rewards that are permuted."""
    names = reward_names(settings.rewards)
    return [names[spec] for spec in settings.permuted]


def evaluation_batches(settings: GrpoSettings, questions: int) -> int:
    """Forward passes of trl's sampling in one evaluation, each of which logs its tokens."""
    _, rows = settings.batch_sizes()
    return math.ceil(questions * settings.group / (rows * world_size()))


def _is_before(row: Mapping[str, Any], step: int) -> bool:
    """A step's training rows are stored after the checkpoint of that step, its validation rows before it."""
    kept: bool = row["step"] < step or (row["step"] == step and row["part"] != TRAIN)
    return kept


def _reward_figures(rewards: Mapping[str, float]) -> dict[str, str]:
    figures = {"": "mean", "_spread": "std", "_share_of_variance": "share"}
    names = reward_names(rewards).values()
    return {name + suffix: f"rewards/{name}/{figure}" for suffix, figure in figures.items() for name in names}
