"""Tokenizers for prompt budgets: blank-separated words, or any tokenizer that transformers can load."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import DataError, MissingDependencyError
from .interfaces import Tokenizer

#: Texts whose ids are remembered; items recur in prompts far more often than this many apart.
_REMEMBERED = 1 << 16


class WordTokenizer:
    """Counts blank-separated words; it needs no files, so it is the default."""

    def fingerprint(self) -> str:
        """Nothing outside the code matters."""
        return "words"

    def count(self, text: str) -> int:
        """The number of words."""
        return len(text.split())

    def truncate(self, text: str, room: int) -> tuple[str, int]:
        """The first `room` words, joined by blanks; the text as it is where it fits."""
        if room < 0:
            raise ValueError(f"cannot cut to {room} words")
        words = text.split()
        return (text, len(words)) if len(words) <= room else (" ".join(words[:room]), room)


class HubTokenizer:
    """A Hugging Face tokenizer by hub name or folder, used exactly as LaMP's code uses it.

    Args:
        name: hub name or local folder.

    Raises:
        MissingDependencyError: transformers is not installed.
        DataError: nothing can be loaded from `name`.
    """

    def __init__(self, name: str) -> None:
        try:
            from transformers import AutoTokenizer
        except ImportError:
            raise MissingDependencyError(f"tokenizer {name!r}", "transformers", "hf") from None
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"no tokenizer at {name!r}: {reason}", "give a folder, a hub name, or `words`") from None
        self._name = name
        self._ids = lru_cache(_REMEMBERED)(self._tokenize)
        self._whole = lru_cache(_REMEMBERED)(self._decode)

    def fingerprint(self) -> str:
        """The class and a hash of the vocabulary with its settings."""
        state = self._tokenizer.backend_tokenizer.to_str() if self._tokenizer.is_fast else self._name
        return f"{type(self._tokenizer).__name__}:{hashlib.sha256(state.encode()).hexdigest()[:16]}"

    def count(self, text: str) -> int:
        """The number of ids, special tokens included."""
        return len(self._ids(text))

    def truncate(self, text: str, room: int) -> tuple[str, int]:
        """Cut by the tokenizer itself and decode without special tokens.

        The cut is taken from the tokenizer, not from the remembered ids, wherever it cuts at all:
        special tokens and their places are its business.
        """
        ids = self._ids(text)
        if len(ids) <= room:
            return self._whole(text), len(ids)
        try:
            cut = self._tokenizer(text, max_length=room, truncation=True)["input_ids"]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of the Rust library is not an Exception
            raise ValueError(f"cannot cut to {room} ids: {error}") from None
        return self._text(cut), len(cut)

    def _tokenize(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text)["input_ids"])

    def _decode(self, text: str) -> str:
        return self._text(list(self._ids(text)))

    def _text(self, ids: list[int]) -> str:
        decoded: list[str] = self._tokenizer.batch_decode([ids], skip_special_tokens=True)
        return decoded[0]


def load_tokenizer(name: str | Path) -> Tokenizer:
    """`words`, or what transformers loads from a hub name or folder.

    Raises:
        PrlmBenchError: transformers is missing, or there is no such tokenizer.
    """
    return WordTokenizer() if str(name) == "words" else HubTokenizer(str(name))
