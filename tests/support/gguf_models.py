"""GGUF files made of tiny checkpoints of transformers, by default in single precision, as llama.cpp computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quantize
from transformers import AutoModelForCausalLM, AutoTokenizer

from support.checkpoints import make_random

#: Names of transformers and of llama.cpp, within a layer.
_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write_gguf(
    folder: Path,
    path: Path,
    kind: str = "F32",
    rope_factor: float | None = None,
    rope_freqs: Any = None,
    begins: bool = False,
    **changed: Any,
) -> Path:
    """Write a checkpoint as a GGUF file.

    Args:
        folder: of the checkpoint, a Qwen2 or a Llama.
        path: of the file.
        kind: of the matrices, such as Q4_1.
        rope_factor, rope_freqs: how positions are scaled: by one factor, or by one for each frequency.
        begins: the vocabulary puts its first token before each text, where the checkpoint's does not.
        **changed: strings of the metadata with `__` for dots, such as `tokenizer__chat_template`; None leaves one out.
    """
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    config: Any = model.config
    writer = GGUFWriter(path, config.model_type)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, tokenizer, config.vocab_size, begins)
    texts = {"tokenizer__chat_template": tokenizer.chat_template, "tokenizer__ggml__pre": "gpt-2", **changed}
    for name, text in texts.items():
        if text is not None:
            writer.add_string(name.replace("__", "."), text)
    if rope_factor is not None:
        writer.add_rope_scaling_factor(rope_factor)
    if rope_freqs is not None:
        writer.add_tensor("rope_freqs.weight", np.asarray(rope_freqs, dtype=np.float32))
    for name, weights in model.state_dict().items():
        values = _ordered(name, weights.float(), config).numpy()
        packed = GGMLQuantizationType[kind if values.ndim > 1 else "F32"]
        writer.add_tensor(_renamed(name), quantize(values, packed), raw_dtype=packed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: GGUFWriter, tokenizer: Any, size: int, begins: bool) -> None:
    added = tokenizer.added_tokens_decoder
    texts = [tokenizer.convert_ids_to_tokens(number) or f"[unused{number}]" for number in range(size)]
    kinds = [
        TokenType.NORMAL
        if number not in added
        else TokenType.CONTROL
        if added[number].special
        else TokenType.USER_DEFINED
        for number in range(size)
    ]
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_add_bos_token(begins or bool(tokenizer("")["input_ids"]))


def _ordered(name: str, weights: Any, config: Any) -> Any:
    """In the order of llama.cpp, which pairs neighbours where transformers pairs halves of a head, for Llama."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if config.model_type != "llama" or heads is None:
        return weights
    return weights.reshape(heads, 2, -1, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def _renamed(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if stem.startswith("model.layers."):
        number, _, part = stem.removeprefix("model.layers.").partition(".")
        return f"blk.{number}.{_LAYER[part]}.{kind}"
    return f"{_WHOLE[stem]}.{kind}"


def random_gguf(folder: Path, **changed: Any) -> tuple[Path, Path]:
    """A Qwen2 with random weights: its folder for transformers, and its GGUF file."""
    checkpoint = make_random(folder / "checkpoint")
    return checkpoint, write_gguf(checkpoint, folder / "model.gguf", **changed)
