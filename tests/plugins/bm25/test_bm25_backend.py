"""The two indexes of `bm25`: which is built when, and what only the compiled one could get wrong."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from prlm_bench_plugins.bm25 import BM25, IndexBuilder, OkapiIndex, _retriever, compiled_index

from prlm_bench.errors import MissingDependencyError
from prlm_bench.host import PluginHost

with_numba = pytest.mark.skipif(compiled_index() is None, reason="needs numba: pip install 'prlm-bench[fast]'")


def same(texts: list[str], *queries: str) -> None:
    compiled = compiled_index()
    assert compiled is not None
    ours, reference = compiled(texts, 1.5, 0.75, 0.25), OkapiIndex(texts)
    for query in queries:
        assert ours.scores(query).tobytes() == reference.scores(query).tobytes()


CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1)]


@with_numba
def test_tokens_end_at_the_white_space_of_python() -> None:
    white = [character for character in CHARACTERS if not character.split()]
    assert len(white) > 20
    same([f"a{character}b" for character in white], "a", "b", *(f"a{character}b" for character in white))


@with_numba
@pytest.mark.slow
def test_tokens_end_at_no_other_character() -> None:
    others = [character for character in CHARACTERS if character.split()]
    for start in range(0, len(others), 5000):
        part = [f"a{character}b" for character in others[start : start + 5000]]
        same([*part, "a b"], "a b", " ".join(part))


@with_numba
@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=8), st.text(st.characters()))
@settings(max_examples=300, deadline=None)
def test_any_text(texts: list[str], query: str) -> None:
    same([*texts, query], query, " ".join(texts))


@with_numba
@given(st.lists(st.text("ab", min_size=1, max_size=24), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_tokens_longer_than_their_keys(words: list[str]) -> None:
    """A key holds eight bytes: many of these tokens share one."""
    turned = [word[place:] + word[:place] for word in words for place in (8, 16)]
    same([" ".join(words), " ".join(turned), *words, *turned], " ".join(words + turned))


@with_numba
def test_keys_that_collide_are_told_apart() -> None:
    """The mixture of a long token's bytes is the same for these."""
    collisions = ["abcdefgh" + "ABCDEFGH", "ABCDEFGH" + "abcdefgh", "abcdEFGH" + "ABCDefgh"]
    same([*collisions, "abcdefgh", "\x00" * 9, "\x00" * 8, "\x00"], *collisions, "\x00", "\x00" * 8, "\x00" * 9)


@with_numba
def test_a_table_that_has_to_grow() -> None:
    words = [chr(code) for code in range(0x21, 0x7F)]
    dense = " ".join(a + b for a in words for b in words[:40])
    same([dense, " ".join(words), "aa"], dense, "aa ab zz")


@with_numba
def test_whole_numbers_as_options() -> None:
    compiled = compiled_index()
    assert compiled is not None
    texts = ["a b c", "a", "b b"]
    (ranking,) = BM25(k1=2, b=1, epsilon=0, backend="numba").rank([_ask("a b", texts)])
    expected = OkapiIndex(texts, 2.0, 1.0, 0.0).scores("a b")
    assert sorted(ranking.scores) == sorted(expected.tolist())


def _ask(query: str, texts: list[str]) -> Any:
    from prlm_bench.records import Document, Example

    return Example("1", "1", query, query, tuple(Document(str(i), text, {}) for i, text in enumerate(texts)))


@with_numba
def test_auto_changes_over_when_there_is_enough_to_do() -> None:
    builder = IndexBuilder("auto")
    assert type(builder.build(["a"], 1.5, 0.75, 0.25)) is OkapiIndex
    assert type(IndexBuilder("auto", patience=0.0).build(["a"], 1.5, 0.75, 0.25)) is compiled_index()
    assert type(IndexBuilder("numpy", patience=0.0).build(["a"], 1.5, 0.75, 0.25)) is OkapiIndex


@with_numba
def test_texts_beyond_the_compiled_index_s_numbers() -> None:
    builder = IndexBuilder("numba", max_characters=5)
    assert type(builder.build(["abc"], 1.5, 0.75, 0.25)) is compiled_index()
    assert type(builder.build(["abc", "de"], 1.5, 0.75, 0.25)) is OkapiIndex


def test_without_numba_auto_is_silent_and_numba_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_retriever, "compiled_index", lambda: None)
    assert type(IndexBuilder("auto", patience=0.0).build(["b", "a", "c"], 1.5, 0.75, 0.25)) is OkapiIndex
    (ranking,) = BM25().rank([_ask("a", ["b", "a", "c"])])
    assert [item.id for item in ranking.items] == ["1", "0", "2"]
    with pytest.raises(MissingDependencyError, match="bm25:backend=numba needs the package 'numba'") as caught:
        BM25(backend="numba")
    assert caught.value.hint == "pip install 'prlm-bench[fast]'"


def test_a_numba_that_cannot_be_imported_counts_as_none() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from prlm_bench_plugins.bm25 import compiled_index\n"
        "assert compiled_index() is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@with_numba
@pytest.mark.slow
def test_code_that_cannot_be_kept_is_compiled_all_the_same() -> None:
    """Neither beside the file nor in a folder of the user's: then in each process."""
    code = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "from prlm_bench_plugins.bm25._compiled import CompiledIndex\n"
        "print(CompiledIndex(['a b', 'b']).scores('a').tolist())"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == str(OkapiIndex(["a b", "b"]).scores("a").tolist())


def test_the_backend_is_no_part_of_what_a_retriever_is(host: PluginHost) -> None:
    plain = host.registry.choose("retriever", "bm25")
    chosen = host.registry.choose("retriever", "bm25:backend=numpy,k1=1.2")
    assert str(chosen) == "bm25:k1=1.2"
    assert chosen.options["backend"] == "numpy"
    same_results = host.registry.choose("retriever", {"name": "bm25", "backend": "numpy"})
    assert same_results.identity(same_results.make()) == plain.identity(plain.make())
