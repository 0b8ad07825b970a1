"""Prompts as a model reads them: in its chat template or as plain text, as tokens, within its window."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from prlm_bench import Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.profiling import timed

from .._hf import Chat, begin_completion, chat_text, encode_texts, is_framed, turns
from ._files import ModelFiles

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as a model reads it.

    Args:
        prompt: as the reasoner built it.
        text: as the model reads it, with the beginning of its answer if there is one.
        framed: the same where it is in the chat template; "" for plain text.
        ids: its tokens.
        seed: of the answer's random numbers, in place of the decoding's.
    """

    prompt: Prompt
    text: str
    framed: str
    ids: list[int]
    seed: str | None = None


class PromptEncoder:
    """Encodes the prompts of a generator.

    Args:
        files: the model's, for messages and its window.
        tokenizer: gives the model's tokenizer, of transformers.
        chat: which prompts go into the chat template.
        room: tokens that a prompt may have; None for any number.
        max_input: prompts are cut behind so many tokens; None cuts none.
        cuts_items: reasoners are told the limit already, so that a hint need not name that option.
    """

    def __init__(
        self,
        files: ModelFiles,
        tokenizer: Callable[[], Any],
        chat: Chat,
        room: int | None,
        max_input: int | None,
        cuts_items: bool,
    ) -> None:
        self._files, self._tokenizer, self._chat = files, tokenizer, chat
        self._room, self._max_input, self._cuts_items = room, max_input, cuts_items
        self._told = False

    def windows(
        self,
        prompts: Iterator[Prompt],
        size: int,
        seeds: Sequence[str | None],
        beginnings: Sequence[str] = (),
    ) -> Iterator[list[EncodedPrompt]]:
        """Prompts, `size` at a time, each once for each seed.

        Args:
            prompts: drawn as they are asked for.
            size: of a window.
            seeds: of the answers of each prompt.
            beginnings: of the answers, one for each prompt if there are any.

        Raises:
            PrlmBenchError: a prompt is too long, the template refuses it, or it would be cut where an answer is begun.
        """
        start = 0
        while some := list(islice(prompts, size)):
            encoded = self._encode(some, beginnings[start : start + len(some)])
            start += len(some)
            yield [replace(one, seed=seed) for one in encoded for seed in seeds]

    def texts(self, prompts: Sequence[Prompt]) -> tuple[list[str], list[bool]]:
        """What the model reads, and whether that is in the chat template."""
        tokenizer, label = self._tokenizer(), self._files.label
        chats = [turns(prompt, self._chat) for prompt in prompts]
        return [chat_text(tokenizer, chat, label) for chat in chats], [is_framed(tokenizer, chat) for chat in chats]

    def render(self, prompt: Prompt) -> str:
        """What the model reads, with special tokens."""
        (one,) = self._encode([prompt])
        text: str = self._tokenizer().decode(one.ids, skip_special_tokens=False)
        return text

    def check_lengths(
        self,
        prompts: Sequence[Prompt],
        ids: Sequence[Sequence[int]],
        room: int | None,
        beside: Sequence[int] | None = None,
    ) -> None:
        """Refuse prompts with more tokens than there is room for, where `beside` others are read with them.

        Raises:
            PrlmBenchError: one is too long.
        """
        if room is None:
            return
        for prompt, row, others in zip(prompts, ids, beside or [0] * len(ids), strict=True):
            if len(row) > room - others:
                message = (
                    f"the prompt of question {prompt.example.id} has {len(row)} tokens, and the window of "
                    f"{self._files.name!r} has room for {room - others} ({self._files.window} in all)"
                )
                hint = "a smaller max_length of the reasoner or max_new_tokens"
                raise PrlmBenchError(message, hint if self._cuts_items else f"{hint}, or overflow=cut-items")

    def _encode(self, prompts: Sequence[Prompt], beginnings: Sequence[str] = ()) -> list[EncodedPrompt]:
        tokenizer, label = self._tokenizer(), self._files.label
        chats = [turns(prompt, self._chat) for prompt in prompts]
        texts = [chat_text(tokenizer, chat, label) for chat in chats]
        if beginnings:
            if self._max_input is not None:
                message = f"max_input={self._max_input} cuts the ends of prompts, where answers are begun"
                raise PrlmBenchError(message, "leave it out")
            texts = [begin_completion(text, begun) for text, begun in zip(texts, beginnings, strict=True)]
        with timed("tokenizing"):
            rows = encode_texts(tokenizer, texts, [not is_framed(tokenizer, chat) for chat in chats])
            ids = [self._cut(*each) for each in zip(prompts, rows, strict=True)]
        self.check_lengths(prompts, ids, self._room)
        framed = ["" if isinstance(chat, str) else text for chat, text in zip(chats, texts, strict=True)]
        return [EncodedPrompt(*each) for each in zip(prompts, texts, framed, ids, strict=True)]

    def _cut(self, prompt: Prompt, ids: list[int]) -> list[int]:
        """The tokens of plain text, cut as tokenizers truncate: the special ones at the end stay."""
        limit = self._max_input
        if limit is None or len(ids) <= limit:
            return ids
        if not self._told:
            self._told = True
            where = f"such as that of question {prompt.example.id} with {len(ids)}"
            _log.warning("%s: prompts are cut behind %d tokens, %s", self._files.label, limit, where)
        found: list[int] = self._tokenizer()(prompt.text, truncation=True, max_length=limit)["input_ids"]
        return found
