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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from prlm_bench import Completion, Prompt, Sample
from prlm_bench.cli.plugin_api import write_whole
from prlm_bench.errors import RunError
from prlm_bench.interfaces import Reasoner, Reward

from .._hf import chat_text, decode_answer, encode_prompts, pad_ids, stated_settings, turns
from .._training import COMPLETIONS, TRAIN, VALIDATION, Artefact, is_main_process, read_log, world_size
from ._callbacks import FLAT_GROUPS, SpreadCallback, finding
from ._context import TrainingContext, parsed_sample
from ._recipe import GrpoSettings, required
from ._reward_training import make_reward
from ._rewards import build_rewards, needs_reward_model, reward_names, spread_of_groups
from ._tuning import adapter, building, epoch_orders, fit, last_values, load_model, training_arguments

if TYPE_CHECKING:
    from ..transformers_lm.rollouts import GroupSampler

#: Figures of the manifest, and trl's names for them.
_FIGURES = {
    "reward": "reward",
    "completion_length": "completions/mean_length",
    "share_clipped": "completions/clipped_ratio",
    "entropy": "entropy",
    "kl": "kl",
    "share_of_groups_without_spread": FLAT_GROUPS,
}
#: Ended rows are removed from the batch once they are this share of it.
_ENDED_SHARE = 0.25


def make_policy(ctx: TrainingContext, settings: GrpoSettings | None = None, name: str = "policy") -> Artefact:
    """The policy of a recipe, after the reward model where that is needed and missing.

    Args:
        ctx: the training.
        settings: of another policy than the recipe's, as in an ablation.
        name: of its folder.
    """
    settings = settings or required(ctx.recipe.policy, "policy")
    reward = make_reward(ctx).manifest["files"] if needs_reward_model(settings.rewards) else None
    return ctx.stage(name, settings, lambda folder: _fit(ctx, settings, folder, name), reward=reward)


def _fit(ctx: TrainingContext, settings: GrpoSettings, folder: Path, name: str) -> Mapping[str, Any]:
    reasoner = ctx.reasoner(settings.reasoner)
    train, too_long = ctx.training_prompts(reasoner, settings.questions)
    validation, _ = ctx.training_prompts(reasoner, settings.judged, validation=True)
    rows = epoch_orders(train, settings, ctx.seed)
    prompts = {prompt.example.id: prompt for prompt in [*train, *validation]}
    built = build_rewards(ctx, settings.rewards)
    rewards = RewardSet(built, reasoner, prompts, folder, settings.keep_every, settings.group)
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
        metric_for_best_model="reward",
        greater_is_better=True,
        **training_arguments(ctx, folder, settings, len(rows)),
    )
    # How several processes share a model is trl's own, and vLLM generates by itself.
    own_rollout = world_size() == 1 and not config.use_vllm and can_repeat_cache(model)
    return disable_telemetry(PrefixSharingGRPOTrainer)(
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


@dataclass(frozen=True)
class Rollout:
    """Samples the completions of a step, as trl's `rollout_func`.

    trl reads a prompt again for each completion of its group, and continues ended rows until the longest ends. Here a
    prompt is read once for its group, and rows are sampled by the static engine that also runs models (see
    `transformers_lm.rollouts`), in CUDA graphs on a GPU. Models that it does not take go through `sample_groups`.

    Args:
        max_tokens: maximum number of tokens in a completion.
        temperature: of the sampling.
    """

    max_tokens: int
    temperature: float
    #: The sampler of the model, which holds its CUDA graphs; None where the static engine does not take the model.
    _samplers: dict[int, GroupSampler | None] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        """Token ids of prompts and completions, in the order of the rows."""
        tokenizer = trainer.processing_class
        distinct, counts = run_lengths(prompts)
        ids = encode_prompts(tokenizer, distinct)
        model = trainer.accelerator.unwrap_model(trainer.model)
        training = model.training
        model.eval()
        try:
            sampler = self._sampler(model, trainer)
            if sampler is not None:
                completions = sampler.sample(ids, counts)
            else:
                limits = (self.max_tokens, self.temperature, trainer.eos_token_ids, tokenizer.pad_token_id)
                precision = {"bf16": trainer.args.bf16, "fp16": trainer.args.fp16}
                completions = sample_groups(model, ids, counts, *limits, **precision)
        finally:
            model.train(training)
        repeated = [row for row, count in zip(ids, counts, strict=True) for _ in range(count)]
        return {"prompt_ids": repeated, "completion_ids": completions, "logprobs": None}

    def _sampler(self, model: Any, trainer: Any) -> GroupSampler | None:
        if id(model) not in self._samplers:
            from ..transformers_lm.rollouts import GroupSampler

            inner = model.get_base_model() if hasattr(model, "get_base_model") else model
            limits = (self.max_tokens, self.temperature, trainer.eos_token_ids, trainer.args.bf16)
            # The engine knows no autocast to float16, whose numbers are too small for some models.
            takes = not trainer.args.fp16 and GroupSampler.takes(inner, trainer.processing_class)
            self._samplers.clear()
            self._samplers[id(model)] = GroupSampler(inner, *limits) if takes else None
        return self._samplers[id(model)]


def can_repeat_cache(model: Any) -> bool:
    """Whether each layer of a model's cache can be repeated for the completions of a group.

    Those of hybrid models (Qwen3.5, Qwen3-Next, LFM2) cannot; trl then generates by the model's own `generate()`.
    """
    from transformers import DynamicCache

    return all(hasattr(layer, "batch_select_indices") for layer in DynamicCache(config=model.config).layers)


def run_lengths(prompts: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """Prompts without repetitions, and the number of times that each is repeated in a row."""
    runs = [(prompt, len(list(same))) for prompt, same in groupby(prompts)]
    return [prompt for prompt, _ in runs], [count for _, count in runs]


def sample_groups(
    model: Any,
    prompts: Sequence[Sequence[int]],
    counts: Sequence[int],
    max_tokens: int,
    temperature: float,
    end_ids: Sequence[int],
    pad_id: int,
    bf16: bool = False,
    fp16: bool = False,
) -> list[list[int]]:
    """Sampled completions of any causal model, in the order of the prompts, each up to its end token or `max_tokens`.

    The keys and values of a prompt are computed once and repeated, and ended rows are removed from the batch.

    Args:
        model: a causal model of transformers.
        prompts: token ids.
        counts: number of completions of each prompt.
        max_tokens: maximum number of tokens in a completion.
        temperature: above 0.
        end_ids: tokens that end a completion.
        pad_id: token that pads.
        bf16: compute in bfloat16 where autocast does.
        fp16: compute in float16 where autocast does, as the training does then.
    """
    import torch

    device = model.device
    ending = torch.tensor(list(end_ids), device=device)
    rows: list[list[int]] = [[] for _ in range(sum(counts))]
    training = model.training
    model.eval()
    with torch.no_grad(), torch.autocast(device.type, torch.float16 if fp16 else torch.bfloat16, enabled=bf16 or fp16):
        cache, logits, mask, position = _read_prompts(model, prompts, counts, pad_id)
        alive = torch.arange(len(rows), device=device)
        ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
        for step in range(max_tokens):
            token = torch.multinomial(torch.softmax(logits.float() / temperature, -1), 1)
            for row, value, over in zip(alive.tolist(), token[:, 0].tolist(), ended.tolist(), strict=True):
                if not over:
                    rows[row].append(value)
            ended = ended | torch.isin(token[:, 0], ending)
            if bool(ended.all()) or step + 1 == max_tokens:
                break
            if float(ended.float().mean()) >= _ENDED_SHARE:
                kept = (~ended).nonzero()[:, 0]
                cache.batch_select_indices(kept)
                alive, token, mask, position, ended = (t[kept] for t in (alive, token, mask, position, ended))
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
            out = model(input_ids=token, attention_mask=mask, position_ids=position, past_key_values=cache)
            logits, position = out.logits[:, -1], position + 1
    model.train(training)
    return rows


def _read_prompts(
    model: Any, prompts: Sequence[Sequence[int]], counts: Sequence[int], pad_id: int
) -> tuple[Any, Any, Any, Any]:
    """Read each prompt once and repeat the result for the completions of its group.

    Returns:
        The key-value cache, the logits of the first token, the attention mask, and the position of the first token;
        all with a row for each completion.
    """
    import torch
    from transformers import DynamicCache

    ids, mask = (tensor.to(model.device) for tensor in pad_ids(prompts, pad_id, left=True))
    cache = DynamicCache(config=model.config)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    out = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1)
    repeats = torch.tensor(list(counts), device=model.device)
    rows = torch.repeat_interleave(torch.arange(len(prompts), device=model.device), repeats)
    cache.batch_select_indices(rows)
    return cache, out.logits[rows, -1], mask[rows], positions[rows, -1:] + 1


class RewardSet:
    """The recipe's rewards as functions that trl calls with whole batches; each completion is parsed once.

    Args:
        rewards: with their weights, by name.
        reasoner: parses the completions.
        prompts: by question id; training and validation questions.
        folder: of the stage, where completions are stored.
        keep_every: store the completions of every n-th step.
        group: number of completions of a question.
    """

    def __init__(
        self,
        rewards: Mapping[str, tuple[Reward, float]],
        reasoner: Reasoner,
        prompts: Mapping[str, Prompt],
        folder: Path,
        keep_every: int,
        group: int,
    ) -> None:
        self._reasoner, self._prompts, self._keep_every, self._group = reasoner, prompts, keep_every, group
        self._rewards = {name: reward for name, (reward, _) in rewards.items()}
        self.weights = [weight for _, weight in rewards.values()]
        self._path = folder / COMPLETIONS
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
            lines = [row for row in self._path.read_bytes().splitlines(keepends=True) if row.endswith(b"\n")]
            write_whole(self._path, b"".join(line for line in lines if _is_before(orjson.loads(line), step)))

    def _function(self, name: str) -> Callable[..., list[float]]:
        def score(
            completions: Any, question: Sequence[str], trainer_state: Any, part: Sequence[str], **more: Any
        ) -> list[float]:
            if completions is not self._batch:
                self._batch, self._scores = completions, {}
                texts = self._texts(completions, question, more.get("completion_ids"))
                self._samples = [self._parse(name, text) for name, text in zip(question, texts, strict=True)]
            self._scores[name] = self._score(name, trainer_state.global_step)
            if len(self._scores) == len(self._rewards):
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

    def _store(self, step: int, rows: Sequence[dict[str, Any]]) -> None:
        if not is_main_process() or step % self._keep_every:
            return
        for row in rows:
            row["rewards"] = {name: round(score, 4) for name, score in row["rewards"].items()}
        with self._path.open("ab") as file:
            file.write(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def gathered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all processes, in their order: each scores a part of the batch."""
    if world_size() == 1:
        return rows
    import torch

    parts: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(parts, rows)
    return [row for part in parts for row in part]


def _is_before(row: Mapping[str, Any], step: int) -> bool:
    """A step's training rows are stored after the checkpoint of that step, its validation rows before it."""
    kept: bool = row["step"] < step or (row["step"] == step and row["part"] != TRAIN)
    return kept


def _reward_figures(rewards: Mapping[str, float]) -> dict[str, str]:
    figures = {"": "mean", "_spread": "std", "_share_of_variance": "share"}
    names = reward_names(rewards).values()
    return {name + suffix: f"rewards/{name}/{figure}" for suffix, figure in figures.items() for name in names}
