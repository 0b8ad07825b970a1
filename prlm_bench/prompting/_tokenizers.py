"""Tokenizers for token budgets: blank-separated words, or any tokenizer that transformers can load."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .._util.silence import quiet_transformers as quiet_transformers
from ..errors import DataError, MissingDependencyError
from ..interfaces import Tokenizer
from ..threads import set_thread_defaults
from ._token_counts import WordCounts, word_counts

#: Maximum number of cached texts; items of a profile recur within far fewer texts.
_REMEMBERED = 1 << 14


class WordTokenizer:
    """Counts blank-separated words; it needs no files, so it is the default."""

    def fingerprint(self) -> str:
        """A constant: only the code matters."""
        return "words"

    def count(self, text: str) -> int:
        """The number of words."""
        return len(text.split())

    def truncate(self, text: str, room: int) -> tuple[str, int]:
        """The first `room` words, joined by blanks; the text unchanged if it fits."""
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
        set_thread_defaults()
        try:
            from transformers import AutoTokenizer
        except ImportError:
            raise MissingDependencyError(f"tokenizer {name!r}", "transformers", "hf") from None
        with quiet_transformers():
            try:
                self._tokenizer: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            except Exception as error:  # the Rust library raises plain exceptions
                hint = "give a folder, a hub name or `words`"
                raise DataError(f"no tokenizer at {name!r}: {_reason(name, error)}", hint) from None
            self._plain = _decodes_plainly(self._tokenizer)
            self._text(self._tokenizer("")["input_ids"])  # triggers warnings that are issued only once
        self._identity = _identity(self._tokenizer)
        self._words, self._special = _word_counts(self._tokenizer)
        self._sizes: dict[str, int] = {}
        self._ids = lru_cache(_REMEMBERED)(self._tokenize)
        self._whole = lru_cache(_REMEMBERED)(self._decode)
        self._cut = lru_cache(_REMEMBERED)(self._cut_off)

    def fingerprint(self) -> str:
        """The class, a hash of vocabulary and settings, and the versions of the libraries."""
        return self._identity

    def count(self, text: str) -> int:
        """The number of ids, special tokens included."""
        size = self._sizes.get(text)
        if size is None:
            self._remember([text])
            size = self._sizes[text]
        return size

    def truncate(self, text: str, room: int) -> tuple[str, int]:
        """Cut as the tokenizer cuts and decode without special tokens.

        If texts are not counted by words, the tokenizer itself cuts, since it places the special tokens. If `room` is
        not negative but too small for them, the library cuts nothing; LaMP's prompts then contain the whole text.
        """
        count = self.count(text)
        return (self._whole(text), count) if count <= room else self._cut(text, room)

    def prepare(self, texts: Sequence[str]) -> None:
        """Tokenize texts in a batch before they are counted and cut; affects only speed."""
        if self._words is not None:
            self._remember([text for text in dict.fromkeys(texts) if text not in self._sizes])

    def _remember(self, texts: list[str]) -> None:
        """Count texts that are not cached."""
        if len(self._sizes) + len(texts) > _REMEMBERED:
            self._sizes.clear()
        words = self._words
        by_words = [text for text in texts if words.counts(text)] if words is not None else []
        if words is not None:
            sizes = (size + self._special for size in words.sizes(by_words))
            self._sizes.update(zip(by_words, sizes, strict=True))
        if len(by_words) < len(texts):
            self._sizes.update((text, len(self._ids(text))) for text in texts if text not in self._sizes)

    def _cut_off(self, text: str, room: int) -> tuple[str, int]:
        if self._words and room > self._special and self._words.counts(text):
            return self._text(self._words.ids(text, room - self._special)), room
        try:
            cut = self._tokenizer(text, max_length=room, truncation=True)["input_ids"]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of the Rust library is not an Exception
            raise ValueError(f"cannot cut to {room} ids: {error}") from None
        return self._text(cut), len(cut)

    def _tokenize(self, text: str) -> array[int]:
        # `verbose` would warn about long texts.
        return array("i", self._tokenizer(text, verbose=False)["input_ids"])

    def _decode(self, text: str) -> str:
        if self._words is not None and self._words.counts(text):
            return self._text(self._words.ids(text, self.count(text)))
        return self._text(self._ids(text).tolist())

    def _text(self, ids: list[int]) -> str:
        if self._plain:
            plain: str = self._tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=True)
            return plain
        decoded: list[str] = self._tokenizer.batch_decode([ids], skip_special_tokens=True)
        return decoded[0]


def _word_counts(tokenizer: Any) -> tuple[WordCounts | None, int]:
    """A word-based counter, or None if it is not exact, and the number of special tokens around a text.

    It is not exact if the class calls the library in its own way, cuts on the left, or has special tokens elsewhere
    than at both ends.
    """
    from transformers import PreTrainedTokenizerFast

    own = tokenizer.is_fast and type(tokenizer)._encode_plus is PreTrainedTokenizerFast._encode_plus
    words = word_counts(tokenizer.backend_tokenizer) if own and tokenizer.truncation_side == "right" else None
    if words is None:
        return None, 0
    framed = tokenizer("a b c")["input_ids"]
    plain = words.ids("a b c", len(framed))
    special = len(framed) - len(plain)
    if not any(framed[start:][: len(plain)] == plain for start in range(special + 1)):
        return None, 0
    return words, special


def _decodes_plainly(tokenizer: Any) -> bool:
    """True if decoding is that of the Rust library: the class adds no steps and cleans nothing up."""
    from transformers import PreTrainedTokenizerFast

    steps = ("batch_decode", "decode", "_decode")
    own = any(getattr(type(tokenizer), step) is not getattr(PreTrainedTokenizerFast, step) for step in steps)
    return tokenizer.is_fast and not own and not tokenizer.clean_up_tokenization_spaces


def asks_for_code(error: Exception) -> bool:
    """Whether transformers refuses to load something without running Python code that comes with it."""
    return isinstance(error, ValueError) and "trust_remote_code" in str(error)


def _reason(name: str, error: Exception) -> str:
    if asks_for_code(error):
        return "it needs Python code that comes with it, which is not run"
    if Path(name).is_dir():
        return "the folder has no tokenizer that transformers can load"
    if name.startswith(("/", ".", "~")):
        return "no such folder"
    return str(error).partition("\n")[0] or type(error).__name__


def _identity(tokenizer: Any) -> str:
    settings = {"side": tokenizer.truncation_side, "clean": tokenizer.clean_up_tokenization_spaces}
    if tokenizer.is_fast:
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        # Settings of the last call, not of the tokenizer.
        state |= {"truncation": None, "padding": None}
    else:
        state = {"vocabulary": tokenizer.get_vocab(), "special": tokenizer.all_special_tokens}
    content = json.dumps([state, settings], sort_keys=True).encode()
    releases = " ".join(f"{package} {version(package)}" for package in ("transformers", "tokenizers"))
    return f"{type(tokenizer).__name__}:{hashlib.sha256(content).hexdigest()[:16]} {releases}"


def load_tokenizer(name: str | Path) -> Tokenizer:
    """Load a tokenizer: `words`, or a hub name or folder for transformers.

    Raises:
        PrlmBenchError: transformers is not installed, or the tokenizer cannot be loaded.
    """
    return WordTokenizer() if str(name) == "words" else HubTokenizer(str(name))
