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
        self._warned = False

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
        extra: Sequence[int] | None = None,
    ) -> None:
        """Refuse prompts with more tokens than there is room for, where `extra` others are read with them.

        Raises:
            PrlmBenchError: one is too long.
        """
        if room is None:
            return
        for prompt, row, others in zip(prompts, ids, extra or [0] * len(ids), strict=True):
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
            encoded = encode_texts(tokenizer, texts, [not is_framed(tokenizer, chat) for chat in chats])
            ids = [self._cut(prompt, row) for prompt, row in zip(prompts, encoded, strict=True)]
        self.check_lengths(prompts, ids, self._room)
        framed = ["" if isinstance(chat, str) else text for chat, text in zip(chats, texts, strict=True)]
        return [EncodedPrompt(*each) for each in zip(prompts, texts, framed, ids, strict=True)]

    def _cut(self, prompt: Prompt, ids: list[int]) -> list[int]:
        """The tokens of plain text, cut as tokenizers truncate: the special ones at the end stay."""
        limit = self._max_input
        if limit is None or len(ids) <= limit:
            return ids
        if not self._warned:
            self._warned = True
            where = f"such as that of question {prompt.example.id} with {len(ids)}"
            _log.warning("%s: prompts are cut behind %d tokens, %s", self._files.label, limit, where)
        found: list[int] = self._tokenizer()(prompt.text, truncation=True, max_length=limit)["input_ids"]
        return found


def encode_pairs(
    tokenizer: Any, texts: Sequence[str], framed: Sequence[bool], continuations: Sequence[Sequence[str]], apart: bool
) -> list[tuple[list[int], list[list[int]]]]:
    """Token ids of prompts and of their continuations, as lm_eval splits them (`_encode_pair` of its models).

    White space at the end of a prompt counts with the continuation. The tokens of a continuation are those of
    prompt and continuation together behind as many as the prompt alone has. If none are left, because the text
    melts into the prompt's last token, they are those of the continuation alone.

    Args:
        tokenizer: of transformers.
        texts: what the model reads before the continuations, in its chat template.
        framed: whether a text is in a chat template, which brings its own special tokens.
        continuations: of each text.
        apart: prompt and continuation are read by an encoder and a decoder, and share no token.

    Returns:
        For each text its ids, and those of each continuation.
    """
    bare = [text.rstrip() for text in texts]
    tails = [
        [text[len(short) :] + continuation for continuation in wanted]
        for text, short, wanted in zip(texts, bare, continuations, strict=True)
    ]
    special = [not is_framed for is_framed in framed]
    before = encode_texts(tokenizer, bare, special)
    joined = [(place, tail) for place, row in enumerate(tails) for tail in row if bare[place] and not apart]
    whole = encode_texts(tokenizer, [bare[place] + tail for place, tail in joined], [special[p] for p, _ in joined])
    behind = {pair: ids[len(before[pair[0]]) :] for pair, ids in zip(joined, whole, strict=True)}
    begins = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    found: list[tuple[list[int], list[list[int]]]] = []
    for place, (row, wanted) in enumerate(zip(tails, continuations, strict=True)):
        rows = [
            (behind.get((place, tail)) or encode_texts(tokenizer, [tail], [False])[0]) if continuation else []
            for tail, continuation in zip(row, wanted, strict=True)
        ]
        found.append((before[place] if bare[place] else [begins] if begins is not None else [], rows))
    return found
