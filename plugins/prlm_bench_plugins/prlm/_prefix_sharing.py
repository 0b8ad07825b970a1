"""GRPO's forward pass with each prompt read once for its group; the only module that uses trl's private parts.

The completions of a group share their prompt, and the prompt is most of what a model reads: here its keys and values
are computed once, with their gradients, and repeated for the completions. Checkpointed layers keep no cache; with them
a group is one row, in which no completion sees another. Log-probabilities equal those that trl computes up to
rounding; the tests compare them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache
from trl.trainer import grpo_trainer
from trl.trainer.grpo_trainer import GRPOTrainer

from .._training import world_size

#: Architectures that keep a plain cache in all layers and have one matrix as their head; the tests compare them.
_SUPPORTED = ("llama", "qwen2", "qwen3")
#: Positions that are projected onto the vocabulary at a time.
_CHUNK = 1024


def disable_telemetry(trainer: Any) -> Any:
    """A trainer class of trl that neither writes a model card nor reports its use."""
    nothing = {"create_model_card": lambda self, **_: None, "_send_telemetry": lambda self: None}
    return type(trainer.__name__, (trainer,), nothing)


class PrefixSharingGRPOTrainer(GRPOTrainer):
    """trl's trainer, which reads each prompt once where the model allows it."""

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As trl, but without cuDNN's attention where trl's own forward pass reads prompts padded on the left."""
        with nullcontext() if self.can_share_prefix() else without_cudnn_attention():
            return super().train(*args, **kwargs)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        with kept_in_order() if self.can_share_prefix() and self._is_accumulating() else nullcontext():
            return super()._prepare_inputs(generation_batch)

    def _is_accumulating(self) -> bool:
        """Whether all parts of a generated batch go into one optimizer step, in which their order does not matter."""
        args: Any = self.args
        return bool(1 < args.steps_per_generation == args.gradient_accumulation_steps)

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any, None]:
        if not self.can_share_prefix():
            found: tuple[Any, Any, None] = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
            return found
        with self.accelerator.autocast():
            inner = model.get_base_model() if hasattr(model, "get_base_model") else model
            logps, entropies = log_probabilities(inner, input_ids, attention_mask, logits_to_keep, self.temperature)
        return logps, entropies if kwargs.get("compute_entropy") else None, None

    def can_share_prefix(self) -> bool:
        """Whether this model, trained as it is, gives the same gradients with a shared prompt."""
        model: Any = self.model
        config = model.config
        kinds = getattr(config, "layer_types", None) or ["full_attention"]
        supported = config.model_type in _SUPPORTED and set(kinds) == {"full_attention"}
        # With several processes gradients are summed by the wrapper that trl calls.
        alone = world_size() == 1 and not self.is_deepspeed_enabled and not self.is_fsdp_enabled
        # A group in one row needs a mask of its own, which flash attention does not take.
        masked = not self.args.gradient_checkpointing or config._attn_implementation == "sdpa"
        return supported and alone and masked


@contextmanager
def kept_in_order() -> Iterator[None]:
    """Have trl divide a batch as it is, so that a group stays together; it shuffles the rows first."""
    module: Any = grpo_trainer
    shuffle, module.shuffle_sequence_dict = module.shuffle_sequence_dict, lambda batch: batch
    try:
        yield
    finally:
        module.shuffle_sequence_dict = shuffle


@contextmanager
def without_cudnn_attention() -> Iterator[None]:
    """Attention by torch's other kernels.

    For queries that the mask lets attend to nothing, such as padding before a prompt, cuDNN's backward pass gave NaN
    even for an incoming gradient of 0 (cuDNN 9.19, torch 2.11, H200, bfloat16, 320 positions).
    """
    kernels: Any = torch.backends.cuda
    before = kernels.cudnn_sdp_enabled()
    kernels.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        kernels.enable_cudnn_sdp(before)


def log_probabilities(
    model: Any, input_ids: Any, attention_mask: Any, keep: int, temperature: float
) -> tuple[Any, Any]:
    """Log-probability and entropy of each completion token.

    Padding is moved behind the prompts, where it attends to the prompt. On the left it would attend to nothing, and
    kernels may give any gradient for such queries (see `without_cudnn_attention`). Only tokens are projected onto the
    vocabulary, so no value at padding enters the loss.

    Args:
        model: a causal model of transformers.
        input_ids: shape (rows, prompt + keep): prompts padded on the left, completions on the right.
        attention_mask: 1 for tokens, of the same shape.
        keep: number of tokens of the longest completion.
        temperature: divides the logits.

    Returns:
        Two tensors of shape (rows, keep) in nats, 0 at padding.
    """
    width = input_ids.shape[1] - keep
    written = attention_mask[:, width:].bool()
    longest = max(1, int(written.sum(-1).max()))  # of these rows; others of the batch may be longer
    ids, written_mask = input_ids[:, width : width + longest], attention_mask[:, width : width + longest]
    prompts, mask, row_of = _distinct(input_ids[:, :width], attention_mask[:, :width])
    read = _read_in_one_row if model.is_activation_checkpointing and model.training else _read_with_cache
    real = written_mask.bool()
    hidden = read(model, prompts, mask, row_of, ids, written_mask)[real]
    pairs = [
        checkpoint(_project, model.lm_head, part, target, temperature, use_reentrant=False)
        for part, target in zip(torch.split(hidden, _CHUNK), torch.split(ids[real], _CHUNK), strict=True)
    ]
    logps, entropies = (torch.cat(column) for column in zip(*pairs, strict=True))
    zeros = logps.new_zeros(written.shape)
    return zeros.masked_scatter(written, logps), zeros.masked_scatter(written, entropies)


def _read_with_cache(model: Any, prompts: Any, mask: Any, row_of: Any, ids: Any, written: Any) -> Any:
    """The states that each completion token is predicted from, of shape (rows, tokens, hidden).

    Args:
        model: a causal model of transformers.
        prompts, mask, row_of: see `_distinct`.
        ids, written: tokens of the completions and their mask, padded on the right.
    """
    lengths = mask.sum(-1)
    cache = DynamicCache(config=model.config)
    positions = torch.arange(prompts.shape[1], device=prompts.device).expand_as(prompts)
    read = model.model(
        input_ids=prompts, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
    )
    last = read.last_hidden_state[row_of, lengths[row_of] - 1]
    cache.batch_select_indices(row_of)
    answer = model.model(
        input_ids=ids,
        attention_mask=torch.cat([mask[row_of], written], 1),
        position_ids=lengths[row_of, None] + torch.arange(ids.shape[1], device=ids.device),
        past_key_values=cache,
        use_cache=True,
    )
    return torch.cat([last[:, None], answer.last_hidden_state[:, :-1]], 1)


def _read_in_one_row(model: Any, prompts: Any, mask: Any, row_of: Any, ids: Any, written: Any) -> Any:
    """As `_read_with_cache`, in one forward pass: a prompt and all of its completions, one behind the other.

    A completion sees the prompt and itself. Its positions go on from the end of the prompt.
    """
    device, keep, longest = ids.device, ids.shape[1], prompts.shape[1]
    counts = torch.bincount(row_of, minlength=len(prompts))
    order = row_of.argsort(stable=True)
    slot = torch.empty_like(row_of)
    slot[order] = torch.arange(len(row_of), device=device) - (counts.cumsum(0) - counts)[row_of[order]]
    tokens, slots = torch.arange(keep, device=device), int(counts.max())
    size = longest + slots * keep
    place, row = longest + slot[:, None] * keep + tokens, row_of[:, None]

    def in_one_row(of_prompts: Any, of_completions: Any) -> Any:
        found = of_prompts.new_zeros(len(prompts), size)
        found[:, :longest] = of_prompts
        found[row, place] = of_completions
        return found

    lengths, at = mask.sum(-1), torch.arange(size, device=device)
    part = torch.where(at < longest, 0, 1 + (at - longest) // keep)
    seen = (at[:, None] >= at) & ((part == 0) | (part[:, None] == part))
    # Padding sees itself, so that no query sees nothing.
    seen = (seen & in_one_row(mask, written).bool()[:, None]) | torch.eye(size, dtype=torch.bool, device=device)
    read = model.model(
        input_ids=in_one_row(prompts, ids),
        attention_mask=seen[:, None],
        position_ids=in_one_row(at[:longest].expand_as(prompts), lengths[row] + tokens),
        use_cache=False,
    ).last_hidden_state
    return torch.cat([read[row_of, lengths[row_of] - 1][:, None], read[row, place][:, :-1]], 1)


def _distinct(input_ids: Any, attention_mask: Any) -> tuple[Any, Any, Any]:
    """Each prompt once, its tokens first and padding behind them: ids, mask, and which prompt each row has."""
    order = attention_mask.argsort(dim=-1, descending=True, stable=True)
    mask = attention_mask.gather(-1, order)
    ids = input_ids.gather(-1, order).masked_fill(mask == 0, 0)
    found, row_of = torch.unique(torch.cat([ids, mask], 1), dim=0, return_inverse=True)
    ids, mask = found.chunk(2, 1)
    longest = int(mask.sum(-1).max())
    return ids[:, :longest], mask[:, :longest], row_of


def _project(head: Any, hidden: Any, target: Any, temperature: float) -> tuple[Any, Any]:
    """Computed again in the backward pass, so that no (positions, vocabulary) tensor is kept."""
    log_probs = (head(hidden).float() / temperature).log_softmax(-1)
    return log_probs.gather(-1, target[:, None])[:, 0], -(log_probs.exp() * log_probs).sum(-1)
