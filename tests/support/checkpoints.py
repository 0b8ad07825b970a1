"""Tiny checkpoints of transformers: random weights, or a completion written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

#: Sizes of a model that computes within a moment, as options of its configuration.
SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"


def make_tokenizer(**settings: Any) -> Any:
    """A tokenizer of bytes and a few longer pieces."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<end>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["generate a headline for the following article"] * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{"eos_token": "<end>", "pad_token": "<pad>", **settings}
    )


def set_generation(folder: Path, **fields: Any) -> None:
    """Change fields of generation_config.json."""
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def make_random(folder: Path, seed: int = 0, *, tie: bool = False, spare: int = 0) -> Path:
    """A Qwen2 with random weights, with an embedding for each token of its tokenizer and `spare` more."""
    folder.mkdir(parents=True, exist_ok=True)
    make_tokenizer(chat_template=TEMPLATE).save_pretrained(folder)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=count_tokens(folder) + spare,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=700,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
        tie_word_embeddings=tie,
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        if tie:  # the layers have to outweigh the token itself, which would be repeated
            for name, weights in model.named_parameters():
                weights *= 12 if name.endswith("_proj.weight") else 1
        else:
            model.lm_head.weight *= 8
    model.save_pretrained(folder)
    return folder


def count_tokens(folder: Path) -> int:
    """Tokens of a checkpoint: its class may add some to those that were saved."""
    if not (folder / "config.json").exists():
        (folder / "config.json").write_text('{"model_type": "qwen2"}')
    return len(AutoTokenizer.from_pretrained(folder))


def make_scripted(
    folder: Path,
    completion: Sequence[str],
    *,
    special: Sequence[str] = (),
    template: str = TEMPLATE,
    starts: Sequence[str] = (">", "\n"),
    chain: Mapping[str, str] | None = None,
    added: Sequence[str] = (),
) -> Path:
    """A Llama whose next token depends on the last one alone, so that it writes `completion` and ends.

    Args:
        folder: where it is saved.
        completion: its pieces, each a token of its own and each only once.
        special: those that are special tokens.
        template: its chat template.
        starts: tokens that a prompt may end with.
        chain: more tokens by the one before them.
        added: more tokens, such as those of the template.
    """
    tokenizer = make_tokenizer(chat_template=template)
    pieces = dict.fromkeys([*completion, *special, *added, *(chain or {}), *(chain or {}).values()])
    known = tokenizer.get_vocab()
    new = [AddedToken(text, special=text in special, normalized=False) for text in pieces if text not in known]
    tokenizer.add_tokens(new)
    size = len(tokenizer) + (-len(tokenizer)) % 8
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=size,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=4096,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    follow = dict(zip([*completion], [*completion[1:], "<end>"], strict=True)) | dict.fromkeys(starts, completion[0])
    with torch.no_grad():
        for weights in model.parameters():
            weights.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.model.norm.weight.fill_(1)
        for layer in model.model.layers:
            layer.input_layernorm.weight.fill_(1)
            layer.post_attention_layernorm.weight.fill_(1)
        for before, after in (follow | dict(chain or {})).items():
            row, column = (tokenizer.convert_tokens_to_ids(_as_token(text, known)) for text in (after, before))
            model.lm_head.weight[row, column] = 10 / size**0.5
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _as_token(text: str, known: Mapping[str, int]) -> str:
    return {"\n": "Ċ", " ": "Ġ"}.get(text, text) if text not in known else text
