"""Counting by words, tokenizing batches and cutting remembered ids: the same as the library does text by text."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hub_tokenizers import CORPUS, KINDS, saved
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers
from transformers import AutoTokenizer

from prlm_bench.token_counts import counts_by_words
from prlm_bench.tokenizers import HubTokenizer

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
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=24).flatmap(
    lambda pieces: st.sampled_from(["", " "]).map(lambda joint: joint.join(pieces))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizers")


@cache
def both(folder: Path, kind: str) -> tuple[HubTokenizer, Any]:
    target = saved(kind, folder / kind)
    return HubTokenizer(str(target)), AutoTokenizer.from_pretrained(target)


@pytest.mark.parametrize("kind", KINDS)
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


def test_which_tokenizers_count_by_words(folder: Path) -> None:
    backend = both(folder, next(iter(KINDS)))[1].backend_tokenizer
    assert counts_by_words(backend)
    for splitter in (None, pre_tokenizers.Metaspace(split=False), pre_tokenizers.Split(" ", "isolated")):
        changed = type(backend).from_str(backend.to_str())
        if splitter is None:
            changed.normalizer = normalizers.Sequence([normalizers.Prepend("_"), normalizers.Replace(" ", "_")])
        else:
            changed.pre_tokenizer = splitter
        assert not counts_by_words(changed)
