"""Prompts and completions as text and token ids, the same in training and in a run.

A tokenizer is one of transformers. A prompt is what `turns` gives: a chat, or plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prlm_bench import Prompt

from ._files import ModelError, one_line

#: A chat as a list of `{"role": ..., "content": ...}`, or plain text.
Turns = str | list[dict[str, str]]


def turns(prompt: Prompt) -> Turns:
    """A prompt as trl's datasets hold it: the user's turn of a chat, or plain text."""
    return [{"role": "user", "content": prompt.text}] if prompt.chat else prompt.text


def chat_text(tokenizer: Any, prompt: Turns, name: str = "the model", *, begin: bool = True) -> str:
    """What the model reads: a chat in its chat template, which opens the answer; else the text itself.

    Args:
        tokenizer: of the model; where it has no template, a chat is read as plain text.
        prompt: see `turns`.
        name: of the model, for messages.
        begin: keep the token that begins each text where the template writes it; without it, the text can be given
            to a tokenizer that adds special tokens.

    Raises:
        ModelError: the template refuses the chat.
    """
    if isinstance(prompt, str):
        return prompt
    if not tokenizer.chat_template:
        return "\n".join(turn["content"] for turn in prompt)
    try:
        text: str = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    except Exception as error:  # a template may raise anything
        raise ModelError(f"the chat template of {name} refuses a user's turn: {one_line(error)}") from None
    if not begin and tokenizer.bos_token and tokenizer("")["input_ids"]:
        return text.removeprefix(tokenizer.bos_token)
    return text


def encode_prompts(tokenizer: Any, prompts: Sequence[Turns], name: str = "the model") -> list[list[int]]:
    """Token ids of each prompt; a chat template brings its own special tokens.

    Raises:
        ModelError: the template refuses a chat.
    """
    found: list[list[int]] = [[] for _ in prompts]
    for framed in (False, True):
        places = [place for place, prompt in enumerate(prompts) if _is_framed(tokenizer, prompt) is framed]
        if places:
            texts = [chat_text(tokenizer, prompts[place], name) for place in places]
            encoded = tokenizer(texts, add_special_tokens=not framed)["input_ids"]
            for place, ids in zip(places, encoded, strict=True):
                found[place] = ids
    return found


def encode_completions(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of completions, each with the token that ends it.

    They are not put into the chat template: templates of reasoning models drop the reasoning of an answer.
    """
    found: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return [[*ids, tokenizer.eos_token_id] for ids in found]


def template_tokens(tokenizer: Any, name: str = "the model") -> int:
    """The tokens that the chat template puts around a user's turn, one more at most; 0 where there is no template.

    Raises:
        ModelError: the template refuses a turn.
    """
    if not tokenizer.chat_template:
        return 0
    chats: list[Turns] = [[{"role": "user", "content": text}] for text in ("a", "")]
    return max(map(len, encode_prompts(tokenizer, chats, name)))


def _is_framed(tokenizer: Any, prompt: Turns) -> bool:
    return not isinstance(prompt, str) and bool(tokenizer.chat_template)
