"""GRPO's forward pass with each prompt read once for its group; the only module that uses trl's private parts.

The completions of a group share their prompt, and the prompt is most of what a model reads: here its keys and values
are computed once, with their gradients, and repeated for the completions. Log-probabilities equal those that trl
computes up to rounding; the tests compare them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache
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
        return supported and alone and not model.is_activation_checkpointing


def log_probabilities(
    model: Any, input_ids: Any, attention_mask: Any, keep: int, temperature: float
) -> tuple[Any, Any]:
    """Log-probability and entropy of each completion token.

    Args:
        model: a causal model of transformers.
        input_ids: shape (rows, prompt + keep): prompts padded on the left, completions on the right.
        attention_mask: 1 for tokens, of the same shape.
        keep: number of tokens of the longest completion.
        temperature: divides the logits.

    Returns:
        Two tensors of shape (rows, keep) in nats; values at padding have no meaning.
    """
    width = input_ids.shape[1] - keep
    prompts, row_of = torch.unique(input_ids[:, :width], dim=0, return_inverse=True)
    first = torch.stack([(row_of == number).nonzero()[0, 0] for number in range(len(prompts))])
    mask = attention_mask[first, :width]
    cache = DynamicCache(config=model.config)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    read = model.model(
        input_ids=prompts, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
    )
    last = read.last_hidden_state[row_of, -1:]
    cache.batch_select_indices(row_of)
    written = model.model(
        input_ids=input_ids[:, width:],
        attention_mask=attention_mask,
        position_ids=positions[row_of, -1:] + attention_mask[:, width:].cumsum(-1),
        past_key_values=cache,
        use_cache=True,
    )
    hidden = torch.cat([last, written.last_hidden_state[:, :-1]], 1)
    shape = hidden.shape[:2]
    chunks = zip(
        torch.split(hidden.flatten(0, 1), _CHUNK), torch.split(input_ids[:, width:].flatten(), _CHUNK), strict=True
    )
    pairs = [
        checkpoint(_project, model.lm_head, part, target, temperature, use_reentrant=False) for part, target in chunks
    ]
    logps, entropies = (torch.cat(column).view(shape) for column in zip(*pairs, strict=True))
    return logps, entropies


def _project(head: Any, hidden: Any, target: Any, temperature: float) -> tuple[Any, Any]:
    """Computed again in the backward pass, so that no (positions, vocabulary) tensor is kept."""
    log_probs = (head(hidden).float() / temperature).log_softmax(-1)
    return log_probs.gather(-1, target[:, None])[:, 0], -(log_probs.exp() * log_probs).sum(-1)
