"""How answers are written: the options of the generator, and what a checkpoint's own generation_config.json adds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._hf import FOLLOWED, ModelError, has_effect, one_line, read_json

#: Fields that the generator's options or its engine decide, and fields without any effect on an answer.
DECIDED_HERE = frozenset({
    "cache_config", "cache_implementation", "compile_config", "continuous_batching_config", "disable_compile",
    "do_sample", "epsilon_cutoff", "eta_cutoff", "low_memory", "max_cache_len", "max_length", "max_new_tokens", "min_p",
    "num_beams", "num_return_sequences", "output_attentions", "output_hidden_states", "output_logits", "output_scores",
    "prefill_chunk_size", "return_dict_in_generate", "return_legacy_cache", "temperature", "top_h", "top_k", "top_p",
    "transformers_version", "typical_p", "use_cache", "use_mtp",
    # Those of speculative decoding, which writes the same.
    "assistant_confidence_threshold", "assistant_early_exit", "assistant_ensemble_weight", "assistant_lookbehind",
    "is_assistant", "max_matching_ngram_size", "num_assistant_tokens", "num_assistant_tokens_schedule",
    "prompt_lookup_num_tokens", "speculation_type", "target_lookbehind",
})  # fmt: skip
_TOKENS = ("_token_id", "_tokens")
#: Fields whose effect depends on where an answer began, which an engine that resumes does not tell.
_PLACED = ("begin_suppress_tokens", "exponential_decay_length_penalty", "forced_bos_token_id", "min_new_tokens")
#: Fields that look back at the tokens of the prompt, padding included.
_LOOKING_BACK = ("no_repeat_ngram_size", "repetition_penalty")
#: Fields that look at what an encoder has read, padding included.
_LOOKING_AT_ENCODER = ("encoder_no_repeat_ngram_size", "encoder_repetition_penalty")


@dataclass(frozen=True)
class Decoding:
    """How answers are written.

    Args:
        max_new_tokens: of an answer.
        temperature: 0 takes the most likely token each time.
        top_p: the most likely tokens with this share of the probability together may be drawn.
        beams: of a beam search; 1 for none.
        seed: of the sampling.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    beams: int = 1
    seed: str = ""


def own_settings(folder: Path, label: str) -> tuple[Any, list[str]]:
    """What a checkpoint's generation_config.json sets: the fields that are followed, and the names of those left out.

    Left out are `stop_strings`, `penalty_alpha`, `guidance_scale`, `watermarking_config` and whatever a later release
    brings, unless the value does nothing.

    Args:
        folder: of the checkpoint.
        label: the model, for messages.

    Returns:
        A GenerationConfig, or None where the checkpoint has no such file; and names.

    Raises:
        ModelError: the file cannot be read, or a field that is followed has an impossible value.
    """
    path = folder / "generation_config.json"
    if not path.is_file():
        return None, []
    content = read_json(path)
    ignored = sorted(
        name
        for name, value in content.items()
        if name not in FOLLOWED | DECIDED_HERE and not name.startswith("_") and has_effect(name, value)
    )
    return followed(content, label), ignored


def followed(content: Mapping[str, Any], label: str) -> Any:
    """A GenerationConfig of the fields that are followed.

    Raises:
        ModelError: one has an impossible value.
    """
    import transformers

    make: Any = transformers.GenerationConfig
    fields = {name: value for name, value in content.items() if name in FOLLOWED}
    try:
        wrong = next((name for name in fields if name.endswith(_TOKENS) and not _are_ids(fields[name])), None)
        if wrong is not None:
            raise ValueError(f"{wrong} is {fields[wrong]!r}, which is no token id")
        return make(**fields)
    except Exception as error:  # values of any type
        message = f"generation_config.json of {label} cannot be used: {one_line(error)}"
        raise ModelError(message, "correct or remove the field") from None


def _are_ids(value: Any) -> bool:
    members = value if isinstance(value, list) else [value]
    return value is None or all(isinstance(member, int) for member in members)


def can_resume(config: Any) -> bool:
    """Whether an answer may be continued by another call of `generate()`."""
    return not any(getattr(config, name, None) for name in _PLACED)


def looks_back(config: Any) -> bool:
    """Whether tokens of the prompt change which token comes next, beyond what the model makes of them."""
    return any(getattr(config, name, None) not in (None, 0, 1, 1.0) for name in _LOOKING_BACK)


def changes_scores(config: Any) -> bool:
    """Whether settings that are followed change which token comes next, beyond which tokens end an answer."""
    without = {"early_stopping", "length_penalty", "remove_invalid_values", "renormalize_logits"}  # beams, or nothing
    ones = {"repetition_penalty", "encoder_repetition_penalty"}
    names = {name for name in FOLLOWED - without if not name.endswith("_token_id") or name.startswith("forced")}
    values = {name: getattr(config, name, None) for name in names}
    neutral: tuple[Any, ...] = (None, False, 0, [], {})
    return any(value not in neutral and (name not in ones or value != 1) for name, value in values.items())


def reads_padding(config: Any) -> bool:
    """Whether the padding of a batch changes which token comes next, whatever it is filled with."""
    return any(getattr(config, name, None) not in (None, 0, 1, 1.0) for name in _LOOKING_AT_ENCODER)


def padding_id(tokenizer: Any, end_ids: Collection[int], config: Any) -> int:
    """The id that fills up shorter prompts.

    Where the settings look back, it is none that can end an answer: padding would make its end less likely.
    """
    own = tokenizer.pad_token_id
    if own is None:
        own = next(iter(end_ids), 0)
    if own in end_ids and looks_back(config):
        own = next((number for number in tokenizer.all_special_ids if number not in end_ids), own)
    return int(own)
