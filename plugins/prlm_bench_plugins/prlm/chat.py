"""Prompts and completions as token ids, just as the `transformers` generator reads and writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prlm_bench import Prompt


def turns(prompt: Prompt) -> Any:
    """A prompt as trl's datasets have it: the user's turn of a chat, or plain text."""
    return [{"role": "user", "content": prompt.text}] if prompt.chat else prompt.text


def encode_prompts(tokenizer: Any, prompts: Sequence[Any]) -> list[list[int]]:
    """Token ids of what `turns` gives; a chat template brings its own special tokens."""
    chats = [not isinstance(prompt, str) for prompt in prompts]
    texts = [
        tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False) if chat else prompt
        for prompt, chat in zip(prompts, chats, strict=True)
    ]
    found: list[list[int]] = tokenizer(texts, add_special_tokens=not all(chats))["input_ids"] if texts else []
    return found


def encode_completions(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of completions, each with the token that ends it.

    They are not put into the chat template: those of reasoning models drop the reasoning of an answer.
    """
    found: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return [[*ids, tokenizer.eos_token_id] for ids in found]
