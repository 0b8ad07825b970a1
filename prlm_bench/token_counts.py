"""Counts the tokens of long texts out of words that were counted before, where that is exact."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: A blank between two printable ASCII characters. What stands around it never becomes one token or one grapheme
#: under the parts named below, so that both sides can be counted alone.
_JOINT = re.compile(r"(?<=[!-~])(?= [!-~])")
#: Normalizers that change characters or graphemes where they stand.
_NORMALIZERS = {"Precompiled", "BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "StripAccents"}
#: Pre-tokenizers that begin a new piece at such a blank or behind it.
_SPLITTERS = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
#: Words whose counts are kept.
_KEPT = 1 << 17
#: Texts that are sooner tokenized one by one than handed to the library's threads.
_FEW = 64


class WordCounts:
    """Token counts of texts, special tokens not included.

    Args:
        backend: a tokenizer of the library `tokenizers` that `counts_by_words` says yes to.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        added = sorted(token.content for token in backend.get_added_tokens_decoder().values())
        # Such a token is found before words are: a text that holds one is not counted by words.
        self._added = re.compile("|".join(map(re.escape, added))) if added else None
        self._known: dict[str, int] = {}
        self._ids: dict[str, list[int]] = {}

    def counts(self, text: str) -> bool:
        """True where the text holds no added token."""
        return self._added is None or self._added.search(text) is None

    def count(self, text: str) -> int | None:
        """The number of tokens; None where the text holds an added token."""
        if not self.counts(text):
            return None
        words = self._words(text)
        known = self._known
        return sum([known[word] for word in words])

    def ids(self, text: str) -> list[int]:
        """The tokens of a text that holds no added token, special tokens not included."""
        words = self._words(text)
        known = self._ids
        return [token for word in words for token in known[word]]

    def prepare(self, texts: Sequence[str]) -> None:
        """Tokenize the words of many texts at once."""
        self._learn(dict.fromkeys(word for text in texts for word in _JOINT.split(text)))

    def _words(self, text: str) -> list[str]:
        """The words of a text, all of them known."""
        words = _JOINT.split(text)
        if not self._known.keys() >= set(words):
            self._learn(words)
        return words

    def _learn(self, words: Iterable[str]) -> None:
        if len(self._known) > _KEPT:
            self._known.clear()
            self._ids.clear()
        new = [word for word in dict.fromkeys(words) if word not in self._known]
        self._backend.no_truncation()
        self._backend.no_padding()
        if len(new) < _FEW:
            found = [self._backend.encode(word, add_special_tokens=False) for word in new]
        else:
            found = self._backend.encode_batch_fast(new, add_special_tokens=False)
        for word, encoding in zip(new, found, strict=True):
            self._ids[word] = encoding.ids
            self._known[word] = len(self._ids[word])


def counts_by_words(backend: Any) -> bool:
    """True where the count of a text is the sum of its words' counts, whatever the text.

    So it is where normalizer and pre-tokenizer are known to see nothing across a blank, and no added token is
    sought in normalized text.
    """
    state = json.loads(backend.to_str())
    normalizers = _steps(state["normalizer"], "normalizers")
    splitters = _steps(state["pre_tokenizer"], "pretokenizers")
    return (
        all(step["type"] in _NORMALIZERS for step in normalizers)
        and bool(splitters)
        and _splits(splitters[0])
        and all(_splits(step) or step["type"] in ("Punctuation", "Digits") for step in splitters)
        and not any(token["normalized"] for token in state["added_tokens"])
        and not state["model"].get("dropout")
    )


def _steps(part: Mapping[str, Any] | None, members: str) -> list[Mapping[str, Any]]:
    if part is None:
        return []
    return list(part[members]) if part["type"] == "Sequence" else [part]


def _splits(step: Mapping[str, Any]) -> bool:
    match step["type"]:
        case "Metaspace":
            return bool(step.get("split", True))
        case "ByteLevel":
            return bool(step.get("use_regex", True))
        case kind:
            return kind in _SPLITTERS
