"""Tokenizers for prompt budgets: blank-separated words, or any tokenizer that transformers can load."""

from __future__ import annotations

import hashlib
import json
from array import array
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .errors import DataError, MissingDependencyError
from .interfaces import Tokenizer
from .quiet import quiet_transformers

#: Texts whose ids are remembered; items recur in prompts far more often than this many apart.
_REMEMBERED = 1 << 14


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
        with quiet_transformers():
            try:
                self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
            except Exception as error:  # the Rust library raises plain ones
                hint = "give a folder, a hub name, or `words`"
                raise DataError(f"no tokenizer at {name!r}: {_reason(name, error)}", hint) from None
            self._text(self._tokenizer("")["input_ids"])  # what it says only once, it says here
        self._identity = _identity(self._tokenizer)
        self._ids = lru_cache(_REMEMBERED)(self._tokenize)
        self._whole = lru_cache(_REMEMBERED)(self._decode)

    def fingerprint(self) -> str:
        """The class, a hash of the vocabulary with its settings, and the releases of the libraries."""
        return self._identity

    def count(self, text: str) -> int:
        """The number of ids, special tokens included."""
        return len(self._ids(text))

    def truncate(self, text: str, room: int) -> tuple[str, int]:
        """Cut by the tokenizer itself and decode without special tokens.

        The cut is taken from the tokenizer, not from the remembered ids, wherever it cuts at all:
        special tokens and their places are its business. A room that is not negative and yet too small for
        them is no error to the library, which then cuts nothing; LaMP's prompts have that text whole.
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

    def _tokenize(self, text: str) -> array[int]:
        # Four bytes an id: thousands of texts are remembered. `verbose` would complain of long ones.
        return array("i", self._tokenizer(text, verbose=False)["input_ids"])

    def _decode(self, text: str) -> str:
        return self._text(self._ids(text).tolist())

    def _text(self, ids: list[int]) -> str:
        decoded: list[str] = self._tokenizer.batch_decode([ids], skip_special_tokens=True)
        return decoded[0]


def _reason(name: str, error: Exception) -> str:
    if Path(name).is_dir():
        return "the folder holds no tokenizer that transformers can load"
    if name.startswith(("/", ".", "~")):
        return "there is no such folder"
    return str(error).partition("\n")[0] or type(error).__name__


def _identity(tokenizer: Any) -> str:
    settings = {"side": tokenizer.truncation_side, "clean": tokenizer.clean_up_tokenization_spaces}
    if tokenizer.is_fast:
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        # The last call's settings, which the next call replaces.
        state |= {"truncation": None, "padding": None}
    else:
        state = {"vocabulary": tokenizer.get_vocab(), "special": tokenizer.all_special_tokens}
    content = json.dumps([state, settings], sort_keys=True).encode()
    releases = " ".join(f"{package} {version(package)}" for package in ("transformers", "tokenizers"))
    return f"{type(tokenizer).__name__}:{hashlib.sha256(content).hexdigest()[:16]} {releases}"


def load_tokenizer(name: str | Path) -> Tokenizer:
    """`words`, or what transformers loads from a hub name or folder.

    Raises:
        PrlmBenchError: transformers is missing, or there is no such tokenizer.
    """
    return WordTokenizer() if str(name) == "words" else HubTokenizer(str(name))
