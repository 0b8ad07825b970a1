"""Completions of the model that is being trained: sampled for the steps of GRPO, and greedy for the validation users.

`Rollout` reads a prompt once for all of its completions. `Validation` answers the questions of the validation users as
a run does, greedily, and scores the answers by the reward `accuracy`, whatever the model is trained on: the checkpoints
of all arms are chosen by this one figure. (Only the start, with which they all begin, asks first for answers that can
be read; see `_start`.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from prlm_bench import Completion, Prompt
from prlm_bench.interfaces import Reasoner

from .._hf import chat_text, decode_answer, encode_prompts, pad_ids, turns
from .._training import world_size
from ._context import TrainingContext, parsed_sample
from ._recipe import TuningSettings
from ._rewards import is_readable

if TYPE_CHECKING:
    from ..transformers_lm.rollouts import GroupSampler

#: Ended rows are removed from the batch once they are this share of it.
_ENDED_SHARE = 0.25
#: The figure that checkpoints of arms are chosen by, as a name of the log; transformers puts `eval_` before it.
SELECTED_BY = "accuracy"
#: Share of these answers that cannot be read.
UNREADABLE = "unreadable"
#: Tokens of the greedy answers of one evaluation.
ANSWER_TOKENS = "answer_tokens"


@dataclass(frozen=True)
class Rollout:
    """Samples the completions of a step, as trl's `rollout_func`.

    trl reads a prompt again for each completion of its group, and continues ended rows until the longest ends. Here a
    prompt is read once for its group, and rows are sampled by the static engine that also runs models (see
    `transformers_lm.rollouts`), in CUDA graphs on a GPU. Models that it does not take go through `sample_groups`.

    Args:
        max_tokens: maximum number of tokens in a completion.
        temperature: of the sampling; 0 takes the most likely token each time.
    """

    max_tokens: int
    temperature: float
    #: The sampler of the model, which holds its CUDA graphs; None where the static engine does not take the model.
    _samplers: dict[int, GroupSampler | None] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        """Token ids of prompts and completions, in the order of the rows."""
        distinct, counts = run_lengths(prompts)
        ids = encode_prompts(trainer.processing_class, distinct)
        completions = self.complete(trainer, ids, counts)
        repeated = [row for row, count in zip(ids, counts, strict=True) for _ in range(count)]
        return {"prompt_ids": repeated, "completion_ids": completions, "logprobs": None}

    def complete(
        self, trainer: Any, ids: Sequence[Sequence[int]], counts: Sequence[int], rows: int | None = None
    ) -> list[list[int]]:
        """Completions of the trainer's model, in the order of the prompts.

        Args:
            trainer: of transformers.
            ids: token ids of the prompts.
            counts: number of completions of each.
            rows: prompts in a forward pass, where the static engine does not take the model; None for all.
        """
        if not ids:
            return []
        model = trainer.accelerator.unwrap_model(trainer.model)
        training = model.training
        model.eval()
        try:
            sampler = self._sampler(model, trainer)
            if sampler is not None:
                return sampler.sample(ids, counts)
            found: list[list[int]] = []
            size = rows or len(ids)
            for start in range(0, len(ids), size):
                part = slice(start, start + size)
                found += self._sample(model, trainer, ids[part], counts[part])
            return found
        finally:
            model.train(training)

    def _sample(self, model: Any, trainer: Any, ids: Sequence[Sequence[int]], counts: Sequence[int]) -> list[list[int]]:
        precision = {"bf16": trainer.args.bf16, "fp16": trainer.args.fp16}
        ends, pad = end_tokens(trainer), trainer.processing_class.pad_token_id
        if can_repeat_cache(model):
            return sample_groups(model, ids, counts, self.max_tokens, self.temperature, ends, pad, **precision)
        return _generate(model, ids, counts, self.max_tokens, self.temperature, ends, pad, **precision)

    def _sampler(self, model: Any, trainer: Any) -> GroupSampler | None:
        if id(model) not in self._samplers:
            from ..transformers_lm.rollouts import GroupSampler

            inner = model.get_base_model() if hasattr(model, "get_base_model") else model
            limits = (self.max_tokens, self.temperature, end_tokens(trainer), trainer.args.bf16)
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


def end_tokens(trainer: Any) -> list[int]:
    """Ids of the tokens that end a completion, as trl finds them for GRPO."""
    known: list[int] | None = getattr(trainer, "eos_token_ids", None)
    if known is not None:
        return known
    model = trainer.accelerator.unwrap_model(trainer.model)
    ends = model.generation_config.eos_token_id
    found = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    own = trainer.processing_class.eos_token_id
    return found if own in found else [own, *found]


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
        temperature: 0 takes the most likely token each time.
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
            token = _next_tokens(logits, temperature)
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


def _next_tokens(logits: Any, temperature: float) -> Any:
    import torch

    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    return torch.multinomial(torch.softmax(logits.float() / temperature, -1), 1)


def _generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    counts: Sequence[int],
    max_tokens: int,
    temperature: float,
    end_ids: Sequence[int],
    pad_id: int,
    bf16: bool,
    fp16: bool,
) -> list[list[int]]:
    """As `sample_groups`, by the model's own `generate()`, for caches that cannot be repeated."""
    import torch
    from transformers import GenerationConfig

    repeated = [row for row, count in zip(prompts, counts, strict=True) for _ in range(count)]
    ids, mask = (tensor.to(model.device) for tensor in pad_ids(repeated, pad_id, left=True))
    make: Any = GenerationConfig
    drawing = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    config = make(max_new_tokens=max_tokens, eos_token_id=list(end_ids), pad_token_id=pad_id, **drawing)
    dtype = torch.float16 if fp16 else torch.bfloat16
    with torch.no_grad(), torch.autocast(model.device.type, dtype, enabled=bf16 or fp16):
        out = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    rows = [row[ids.shape[1] :].tolist() for row in out]
    return [row[: next((place + 1 for place, token in enumerate(row) if token in end_ids), len(row))] for row in rows]


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


class Validation:
    """The questions of the validation users, answered greedily by the model that is being trained.

    Args:
        ctx: the training.
        asked: prompts of the validation users' questions, each with the reasoner that parses its answer.
        rows: prompts in a forward pass, where the static engine does not take the model.
    """

    #: The figure that checkpoints are chosen by, the higher the better.
    selected_by: ClassVar[str] = SELECTED_BY

    def __init__(self, ctx: TrainingContext, asked: Sequence[tuple[Reasoner, Prompt]], rows: int) -> None:
        self._asked, self._rows = asked, rows
        self._accuracy = ctx.context.build("reward", "prlm-bench/accuracy")
        self._rollout = Rollout(ctx.recipe.max_completion, 0.0)

    @classmethod
    def asked_by(cls, ctx: TrainingContext, settings: TuningSettings, reasoner: str) -> Validation:
        """All questions asked by one reasoner.

        Args:
            ctx: the training.
            settings: of the stage.
            reasoner: its spec.
        """
        made = ctx.reasoner(reasoner)
        prompts, _ = ctx.training_prompts(made, settings.judged, validation=True)
        return cls(ctx, [(made, prompt) for prompt in prompts], settings.batch_sizes()[1])

    def figures(self, trainer: Any) -> dict[str, float]:
        """The mean accuracy of all answers, the share that could not be read, and the number of generated tokens.

        Args:
            trainer: of transformers.
        """
        tokenizer, rank = trainer.processing_class, trainer.args.process_index
        own = self._asked[rank :: world_size()]
        asked = [turns(prompt) for _, prompt in own]
        completions = self._rollout.complete(trainer, encode_prompts(tokenizer, asked), [1] * len(own), self._rows)
        texts = [
            decode_answer(tokenizer, ids, chat_text(tokenizer, turn))
            for ids, turn in zip(completions, asked, strict=True)
        ]
        samples = [
            parsed_sample(reasoner, prompt, Completion(text))
            for (reasoner, prompt), text in zip(own, texts, strict=True)
        ]
        scores = self._accuracy.score(samples) if samples else []
        rows = gathered(
            [
                {"score": float(score), "read": is_readable(sample), "tokens": len(ids)}
                for score, sample, ids in zip(scores, samples, completions, strict=True)
            ]
        )
        return {
            SELECTED_BY: sum(row["score"] for row in rows) / len(rows),
            UNREADABLE: sum(not row["read"] for row in rows) / len(rows),
            ANSWER_TOKENS: float(sum(row["tokens"] for row in rows)),
        }


def validated(trainer: type[Any], validation: Validation) -> type[Any]:
    """A trainer class whose evaluations have the figures of `validation`, before a checkpoint is chosen by them."""

    def evaluation_loop(self: Any, *args: Any, metric_key_prefix: str = "eval", **options: Any) -> Any:
        output = trainer.evaluation_loop(self, *args, metric_key_prefix=metric_key_prefix, **options)
        found = validation.figures(self)
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in found.items()})
        return output

    return type(trainer.__name__, (trainer,), {"evaluation_loop": evaluation_loop})


def gathered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all processes, in their order: each scores a part of the batch."""
    if world_size() == 1:
        return rows
    import torch

    parts: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(parts, rows)
    return [row for part in parts for row in part]
