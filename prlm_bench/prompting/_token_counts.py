"""Counts the tokens of texts from cached counts of their words, where that is exact."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, filterfalse, islice
from typing import Any

#: A blank between two printable ASCII characters. With the normalizers and pre-tokenizers below, no token or grapheme
#: spans it, so both sides can be counted separately; the blank belongs to the right side. `re` searches fast for
#: patterns that begin with a literal.
_JOINT = re.compile(r" (?=[!-~])(?<=[!-~] )")
#: Marks the first word of a text, which has no blank before it; no other word can begin with it.
_START = "\n"
#: Normalizers that change characters or graphemes in place.
_NORMALIZERS = {"Precompiled", "BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "StripAccents"}
#: Pre-tokenizers that split at or after such a blank.
_SPLITTERS = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
#: Maximum number of cached words.
_KEPT = 1 << 17
#: Words tokenized as one text; the overhead of a text is about that of a word.
_TOGETHER = 64


class WordCounts:
    """Token counts of texts, without special tokens.

    Args:
        backend: a tokenizer of the library `tokenizers` for which this is exact (see `word_counts`).
        separator: content and id of an added token that splits a text into independently tokenized parts; without
            one (None) counting is slower.
    """

    def __init__(self, backend: Any, separator: tuple[str, int] | None = None) -> None:
        self._backend = backend
        self._separator = separator
        added = sorted(token.content for token in backend.get_added_tokens_decoder().values())
        # Added tokens are matched before words, so texts that contain one are not counted by words.
        self._added = re.compile("|".join(map(re.escape, added))) if added else None
        self._sizes: dict[str, int] = {}
        self._ids: dict[str, list[int]] = {}

    def counts(self, text: str) -> bool:
        """True if the text contains no added token."""
        return self._added is None or self._added.search(text) is None

    def sizes(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, all without added tokens. Unknown words are tokenized in batches."""
        split = [_words(text) for text in texts]
        self._learn(chain.from_iterable(split))
        size = self._sizes.__getitem__
        return [sum(map(size, words)) for words in split]

    def ids(self, text: str, limit: int) -> list[int]:
        """The first `limit` token ids of a text without added tokens."""
        words = _words(text)
        self._learn(words)
        return list(islice(chain.from_iterable(map(self._ids.__getitem__, words)), limit))

    def _learn(self, words: Iterable[str]) -> None:
        if len(self._ids) > _KEPT:
            self._sizes.clear()
            self._ids.clear()
        new = list(dict.fromkeys(filterfalse(self._ids.__contains__, words)))
        if not new:
            return
        self._backend.no_truncation()
        self._backend.no_padding()
        found = self._tokenize([word[1:] if word.startswith(_START) else f" {word}" for word in new])
        self._ids.update(zip(new, found, strict=True))
        self._sizes.update(zip(new, map(len, found), strict=True))

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        if self._separator is None or len(texts) == 1:
            return self._tokenize_alone(texts)
        content, mark = self._separator
        chunks = [texts[start : start + _TOGETHER] for start in range(0, len(texts), _TOGETHER)]
        joined = [content.join([*chunk, ""]) for chunk in chunks]
        found: list[list[int]] = []
        for chunk, encoding in zip(chunks, self._encode(joined), strict=True):
            ids: list[int] = encoding.ids
            # A normalizer may have produced the separator from other characters.
            found += _parts(ids, mark) if ids.count(mark) == len(chunk) else self._tokenize_alone(chunk)
        return found

    def _tokenize_alone(self, texts: list[str]) -> list[list[int]]:
        parts = [texts] if len(texts) > _TOGETHER else [[text] for text in texts]
        return [encoding.ids for part in parts for encoding in self._encode(part)]

    def _encode(self, texts: list[str]) -> list[Any]:
        if len(texts) == 1:
            # Avoids the threads of the library, after which it warns about every fork.
            return [self._backend.encode(texts[0], add_special_tokens=False)]
        encodings: list[Any] = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        return encodings


def _words(text: str) -> list[str]:
    words = _JOINT.split(text)
    words[0] = _START + words[0]
    return words


def _parts(ids: list[int], mark: int) -> Iterator[list[int]]:
    """The parts before each mark; `ids` ends with a mark."""
    start = 0
    while start < len(ids):
        end = ids.index(mark, start)
        yield ids[start:end]
        start = end + 1


def word_counts(backend: Any) -> WordCounts | None:
    """A word-based counter, or None if the count of a text is not the sum of the counts of its words.

    It is the sum if normalizer and pre-tokenizer are known to be independent across blanks, and no added token is
    matched in normalized text.

    Args:
        backend: a tokenizer of the library `tokenizers`.
    """
    state = json.loads(backend.to_str())
    normalizers = _steps(state["normalizer"], "normalizers")
    splitters = _steps(state["pre_tokenizer"], "pretokenizers")
    exact = (
        all(step["type"] in _NORMALIZERS for step in normalizers)
        and bool(splitters)
        and _splits(splitters[0])
        and all(_splits(step) or step["type"] in ("Punctuation", "Digits") for step in splitters)
        and not any(token["normalized"] for token in state["added_tokens"])
        and not state["model"].get("dropout")
    )
    if not exact:
        return None
    # Such a step treats the first part of a text differently.
    placed = any(step.get("prepend_scheme", "always") == "first" for step in splitters)
    return WordCounts(backend, None if placed else _separator(state))


def _separator(state: Mapping[str, Any]) -> tuple[str, int] | None:
    """An added token that is matched anywhere, takes no blanks with it, and is never produced by the model."""
    added = [token["content"] for token in state["added_tokens"]]
    unknown = (state["model"].get("unk_token"), state["model"].get("unk_id"))
    for token in state["added_tokens"]:
        content, number = token["content"], token["id"]
        others = [other for other in added if other != content]
        hidden = any(other.startswith(content) or content[0] in other[1:] for other in others)
        bound = token["single_word"] or token["lstrip"] or token["rstrip"]
        if not (hidden or bound or content in unknown or number in unknown):
            return content, number
    return None


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
