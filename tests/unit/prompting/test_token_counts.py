"""Counting by words, tokenizing batches and cutting remembered ids: the same as the library does text by text."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings, strategies as st
from support.hub_tokenizers import CORPUS, KINDS
from tokenizers import AddedToken, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from prlm_bench.prompting import HubTokenizer, _token_counts as token_counts
from prlm_bench.prompting._token_counts import word_counts

PIECES = [
    *" ".join(CORPUS).split(),
    " ",
    "  ",
    "\n",
    "\t",
    "\u00a0",
    "\u0301",
    "e\u0301",
    "\u2581",
    "日本",
    "😀",
    "'t",
    "</s>",
    "<pad",
    ">",
    "<",
    "＜pad＞",
    "＜/s＞",
    "[PAD",
    "［PAD］",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=24).flatmap(
    lambda pieces: st.sampled_from(["", " "]).map(lambda joint: joint.join(pieces))
)


def first(corpus: list[str]) -> Any:
    """Like `unigram`, but only what a text begins with gets a mark; other parts of it do not."""
    tokenizer = KINDS["unigram"](corpus)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    return tokenizer


def spaced(corpus: list[str]) -> Any:
    """Like RoBERTa: byte pairs that put a blank before a text, with an added token that takes blanks along."""
    tokenizer = KINDS["bytes"](corpus)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    mask = AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False, special=True)
    tokenizer.add_special_tokens({"eos_token": "<|end|>", "mask_token": mask})
    return tokenizer


def marked(corpus: list[str]) -> Any:
    """Like `spaced`, with no other added token."""
    tokenizer = KINDS["bytes"](corpus)
    tokenizer.add_special_tokens({"mask_token": AddedToken("<mask>", rstrip=True, normalized=False, special=True)})
    return tokenizer


def untidied(corpus: list[str]) -> Any:
    """Like `wordpiece`; what it decodes is left as it is."""
    tokenizer = KINDS["wordpiece"](corpus)
    tokenizer.clean_up_tokenization_spaces = False
    return tokenizer


ALL = {**KINDS, "first": first, "spaced": spaced, "marked": marked, "untidied": untidied}
SEPARATORS = {
    "unigram": "<pad>",
    "wordpiece": "[PAD]",
    "bytes": None,
    "first": None,
    "spaced": "<|end|>",
    "marked": None,
    "untidied": "[PAD]",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizers")


@cache
def both(folder: Path, kind: str) -> tuple[HubTokenizer, Any]:
    target = folder / kind
    ALL[kind](CORPUS).save_pretrained(target)
    return HubTokenizer(str(target)), AutoTokenizer.from_pretrained(target)


@pytest.mark.parametrize("kind", ALL)
@given(st.lists(TEXTS, min_size=1, max_size=5), st.integers(1, 30), st.booleans())
@example(["a \u0301b", "\u2581a b", " a", "a  b", "a\u2581 b", "x </s> y", ""], 4, True)
@settings(max_examples=150, deadline=None)
def test_as_the_library_does(folder: Path, kind: str, texts: list[str], room: int, prepared: bool) -> None:
    ours, library = both(folder, kind)
    if prepared:
        ours.prepare(texts)
    for text in texts:
        ids = library(text)["input_ids"]
        assert ours.count(text) == len(ids)
        try:
            cut = library(text, max_length=room, truncation=True)["input_ids"] if len(ids) > room else ids
        except BaseException:
            with pytest.raises(ValueError):
                ours.truncate(text, room)
            continue
        assert ours.truncate(text, room) == (library.batch_decode([cut], skip_special_tokens=True)[0], len(cut))


def alone(folder: Path, kind: str) -> Any:
    """The Rust library's part, which forgets where it cut the last text."""
    backend = both(folder, kind)[1].backend_tokenizer
    backend.no_truncation()
    return backend


@pytest.mark.parametrize("kind", SEPARATORS)
@given(st.lists(TEXTS, min_size=1, max_size=9), st.integers(1, 5))
@example(["a <", "pad> b", "＜pad＞ c", "［PAD］ c", "", " ", "a"], 5)
@settings(max_examples=150, deadline=None)
def test_words_that_are_new_together(folder: Path, kind: str, texts: list[str], together: int) -> None:
    """Handed over as parts of one text, they are tokenized as each alone."""
    backend = alone(folder, kind)
    counts = word_counts(backend)
    assert counts is not None
    texts = [text for text in texts if counts.counts(text)]
    assume(texts)
    expected = [backend.encode(text, add_special_tokens=False).ids for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_counts, "_TOGETHER", together)
        assert counts.sizes(texts) == [len(ids) for ids in expected]
    assert [counts.ids(text, len(ids)) for text, ids in zip(texts, expected, strict=True)] == expected
    assert [counts.ids(text, 3) for text in texts] == [ids[:3] for ids in expected]


@pytest.mark.parametrize("kind", SEPARATORS)
def test_what_words_are_joined_by(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that a text can hold beside others without a change to either; then they cost one call."""
    backend = alone(folder, kind)
    calls: list[int] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(backend, name)

        def encode(self, text: str, add_special_tokens: bool) -> Any:
            calls.append(1)
            return backend.encode(text, add_special_tokens=add_special_tokens)

        def encode_batch_fast(self, texts: list[str], add_special_tokens: bool) -> Any:
            calls.append(len(texts))
            return backend.encode_batch_fast(texts, add_special_tokens=add_special_tokens)

    counts = word_counts(Counting())
    assert counts is not None
    assert counts.sizes(["the old library", "the new one"]) == [
        len(backend.encode(text, add_special_tokens=False)) for text in ("the old library", "the new one")
    ]
    assert calls == [1] * (5 if SEPARATORS[kind] is None else 1)
    del calls[:]
    counts.sizes(["the old one"])
    assert calls == []


def test_a_separator_that_another_token_could_hide(folder: Path) -> None:
    backend = alone(folder, "unigram")
    for name in ("x<", "<pad>x"):
        changed = type(backend).from_str(backend.to_str())
        changed.add_tokens([AddedToken(name, normalized=False)])
        counts = word_counts(changed)
        assert counts is not None
        # One separator would be lost to that token, and another is made by the normalizer.
        texts = ["ax", "x", "＜pad＞", "a"] if name == "<pad>x" else ["ax", "a", "＜pad＞"]
        assert counts.sizes(texts) == [len(changed.encode(text, add_special_tokens=False)) for text in texts]


def test_words_are_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = alone(folder, "unigram")
    counts = word_counts(backend)
    assert counts is not None
    monkeypatch.setattr(token_counts, "_KEPT", 3)
    for text in (*CORPUS, *CORPUS):
        ids = backend.encode(text, add_special_tokens=False).ids
        assert counts.sizes([text]) == [len(ids)]
        assert counts.ids(text, len(ids)) == ids
        assert len(counts._ids) <= 3 + len(text.split())


def test_which_tokenizers_count_by_words(folder: Path) -> None:
    backend = both(folder, next(iter(KINDS)))[1].backend_tokenizer
    assert word_counts(backend) is not None
    for splitter in (None, pre_tokenizers.Metaspace(split=False), pre_tokenizers.Split(" ", "isolated")):
        changed = type(backend).from_str(backend.to_str())
        if splitter is None:
            changed.normalizer = normalizers.Sequence([normalizers.Prepend("_"), normalizers.Replace(" ", "_")])
        else:
            changed.pre_tokenizer = splitter
        assert word_counts(changed) is None
