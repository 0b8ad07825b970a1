"""Texts and token ids of one model: its chat template, continuations, answers, and a tokenizer for budgets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from prlm_bench import Prompt
from prlm_bench.prompting import open_reasoning, reasoning_marks

from .._hf import Chat, ModelError, Turns, one_line, plain_text, turns, turns_named
from ._files import GgufFile
from ._model import LlamaModel
from ._template import render

#: Maximum number of cached texts, as in `HubTokenizer`.
_REMEMBERED = 1 << 14
_ROLES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


@dataclass(frozen=True)
class Encoded:
    """A prompt as the model reads it.

    Args:
        prompt: of a reasoner.
        text: in its chat template, where it is a turn.
        ids: its tokens, at least one.
        framed: whether it is in the chat template.
    """

    prompt: Prompt
    text: str
    ids: list[int]
    framed: bool


@dataclass(frozen=True)
class Texts:
    """Encodes and decodes.

    Args:
        file: of the model.
        model: loads it, which is needed for its tokenizer.
        chat: which prompts are turns, see `Chat`.
        day: what the chat template prints as today, as YYYY-MM-DD.
        arguments: of the chat template.
    """

    file: GgufFile
    model: Callable[[], LlamaModel] = field(hash=False)
    chat: Chat
    day: str
    arguments: Mapping[str, Any] = field(hash=False)

    def encode(self, prompt: Prompt) -> Encoded:
        """A prompt as the model reads it.

        Raises:
            ModelError: the template refuses the turn.
        """
        return self._encoded(prompt, turns(prompt, self.chat))

    def _encoded(self, prompt: Any, read: Turns) -> Encoded:
        framed = not isinstance(read, str) and self.file.header.template is not None
        text = self._framed(read) if framed else plain_text(read)
        # A chat template brings its own special tokens.
        return Encoded(prompt, text, self._ids(text, special=not framed), framed)

    def _ids(self, text: str, special: bool) -> list[int]:
        return self.model().tokenize(text, special) or [self._first]

    @property
    def _first(self) -> int:
        """What a model reads where there is no text."""
        begin, end = self.file.token_id("bos"), self.file.token_id("eos")
        return begin if begin is not None else end or 0

    def _framed(self, chat: Any) -> str:
        values = {name: self.file.token(role) or "" for name, role in _ROLES.items()}
        try:
            return render(self.file.header.template or "", chat, self.day, {**values, **self.arguments})
        except Exception as error:  # a template may raise anything
            message = f"the chat template of {self.file.label} refuses {turns_named(chat)}: {one_line(error)}"
            raise ModelError(message, "chat=never reads prompts as plain text") from None

    @cached_property
    def template_tokens(self) -> int:
        """The tokens that the chat template puts around a user's turn, one more at most; 0 where none is used."""
        if self.chat == "never" or self.file.header.template is None:
            return 0
        return max(len(self._encoded(None, [{"role": "user", "content": text}]).ids) for text in ("a", ""))

    def continuations(self, encoded: Encoded, wanted: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        """Token ids of a prompt and of its continuations, as lm_eval splits them.

        White space at the end of the prompt counts with the continuation. The tokens of a continuation are those of
        both together behind as many as the prompt alone has; if none are left, those of the continuation alone.
        """
        text, special = encoded.text.rstrip(), not encoded.framed
        space = encoded.text[len(text) :]
        tokenize = self.model().tokenize
        ids = tokenize(text, special) if text else []
        found = []
        for continuation in wanted:
            tail = space + continuation
            joined = tokenize(text + tail, special)[len(ids) :] if text else []
            found.append((joined or tokenize(tail, False)) if continuation else [])
        return ids or [self._first], found

    @cached_property
    def marks(self) -> Mapping[str, str]:
        """How special tokens that mark reasoning are written."""
        return reasoning_marks(self.file.special)

    def answer(self, encoded: Encoded, text: str) -> str:
        """A completion with the marks of reasoning, also with one that its chat template has opened."""
        for mark, written in self.marks.items():
            begins = text.startswith(mark)
            text = text.replace(mark, written)
            text = text.lstrip() if begins else text
        return open_reasoning(encoded.text, text) if encoded.framed else text

    @property
    def identity(self) -> list[str]:
        """What of this changes an answer besides the file: the day, where the template prints it."""
        template = self.file.header.template or ""
        used = self.chat != "never" and "strftime_now" in template
        return [f"date={self.day}"] if used else []


class LlamaTokenizer:
    """A model's own tokenizer, for the budgets of prompts.

    Args:
        file: of the model.
        digest: SHA-256 of the file.
        version: of xllamacpp.
        model: loads the model.
    """

    def __init__(self, file: GgufFile, digest: str, version: str, model: Callable[[], LlamaModel]) -> None:
        self._special = frozenset(file.special.values())
        self._identity = f"gguf={digest} xllamacpp={version}"
        self._model = model
        self._ids = lru_cache(_REMEMBERED)(lambda text: tuple(self._model().tokenize(text, True)))

    def fingerprint(self) -> str:
        """The hash of the file and the version of the library."""
        return self._identity

    def count(self, text: str) -> int:
        """The number of ids, special tokens included."""
        return len(self._ids(text))

    def truncate(self, text: str, room: int) -> tuple[str, int]:
        """The first `room` ids, decoded without special tokens; a character that is cut through is left out."""
        if room < 0:
            raise ValueError(f"cannot cut to {room} tokens")
        ids = self._ids(text)[:room]
        decoded = self._model().detokenize([number for number in ids if number not in self._special])
        return (decoded if len(ids) == len(self._ids(text)) else decoded.rstrip("\N{REPLACEMENT CHARACTER}")), len(ids)


def template_arguments(enable_thinking: bool | None, more: Mapping[str, Any] | None) -> dict[str, Any]:
    """The arguments of a chat template from the options of a generator.

    Raises:
        ValueError: they are no JSON.
    """
    json.dumps(more)
    return {**(more or {}), **({} if enable_thinking is None else {"enable_thinking": enable_thinking})}
