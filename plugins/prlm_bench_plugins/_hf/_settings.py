"""What a checkpoint's generation_config.json says about decoding, and what a row says of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ._files import read_json

#: Fields of generation_config.json that are followed: they decide which token comes next, and greedily too.
FOLLOWED = frozenset({
    "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "decoder_start_token_id", "early_stopping",
    "encoder_no_repeat_ngram_size", "encoder_repetition_penalty", "eos_token_id", "exponential_decay_length_penalty",
    "forced_bos_token_id", "forced_eos_token_id", "length_penalty", "min_length", "min_new_tokens",
    "no_repeat_ngram_size", "pad_token_id", "remove_invalid_values", "renormalize_logits", "repetition_penalty",
    "sequence_bias", "suppress_tokens",
})  # fmt: skip
#: Of these, tokens of the format and what only beams read: they are no choice among likely tokens.
_FORMAT = frozenset({
    "bos_token_id", "decoder_start_token_id", "early_stopping", "eos_token_id", "length_penalty", "pad_token_id",
    "remove_invalid_values", "renormalize_logits",
})  # fmt: skip
_NO_EFFECT: tuple[Any, ...] = (None, False, 0, 0.0, [], {}, "")
#: Other values that do nothing.
_NEUTRAL: Mapping[str, Any] = {
    "encoder_repetition_penalty": 1,
    "guidance_scale": 1,
    "num_beam_groups": 1,
    "num_beams": 1,
    "repetition_penalty": 1,
}
#: Characters of a value that a row shows.
_SHOWN = 60


def has_effect(name: str, value: Any) -> bool:
    """Whether a field of generation_config.json with this value changes anything."""
    return value not in _NO_EFFECT and value != _NEUTRAL.get(name)


def stated_settings(source: Path | Mapping[str, Any], more: Collection[str] = ()) -> str:
    """What greedy decoding follows of a checkpoint's generation_config.json, as `repetition_penalty=1.1`; "" for none.

    Tokens that begin, end or pad are not named.

    Args:
        source: the checkpoint's folder, or the content of the file.
        more: further fields that are followed.

    Raises:
        ModelError: the file cannot be read.
    """
    if isinstance(source, Path):
        path = source / "generation_config.json"
        source = read_json(path) if path.is_file() else {}
    content = source
    names = sorted(
        (FOLLOWED - _FORMAT | {*more}) & {name for name, value in content.items() if has_effect(name, value)}
    )
    values = [json.dumps(content[name], separators=(",", ":")) for name in names]
    shown = [value if len(value) <= _SHOWN else f"({len(value)} characters)" for value in values]
    return ", ".join(f"{name}={value}" for name, value in zip(names, shown, strict=True))
