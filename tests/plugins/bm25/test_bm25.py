"""`bm25` against rank_bm25 0.2.2: the same bits, the same order; and what the reference cannot do at all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from prlm_bench_plugins.bm25 import BM25, IndexBuilder, IndexCache, OkapiIndex, compiled_index
from rank_bm25 import BM25Okapi

from prlm_bench.data import Dataset, open_dataset
from prlm_bench.errors import SpecError
from prlm_bench.host import PluginHost
from prlm_bench.records import Document, Example, Ranking
from prlm_bench.tasks import TaskRegistry

#: All that `str.split` takes for white space and that tokenizers treat otherwise, and what looks like it and is none.
BLANKS = [" ", "  ", "\n", "\t", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\xa0", "\u2003", "\u2028", "\u3000"]
WORDS = ["a", "b", "A", "the", "aa", "\x00", "\x00\x00", "\u200b", "\ufeff", "😀", "é", "e\u0301", "日本", "'a'", "-"]
PIECES = st.one_of(st.sampled_from(WORDS), st.sampled_from(BLANKS))
TEXTS = st.lists(PIECES, max_size=25).map("".join)
PLAIN = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)

#: Both indexes where numba is installed.
INDEXES = [index for index in (OkapiIndex, compiled_index()) if index]
BACKENDS: list[Any] = ["numpy", "numba"][: len(INDEXES)]


def ask(query: str, texts: list[str], name: str = "1") -> Example:
    return Example(name, name, query, query, tuple(Document(str(i), text, {}) for i, text in enumerate(texts)))


def places(ranking: Ranking) -> list[int]:
    return [int(item.id) for item in ranking.items]


def reference_scores(
    query: str, texts: list[str], k1: float = 1.5, b: float = 0.75, epsilon: float = 0.25
) -> np.ndarray:
    index = BM25Okapi([text.split() for text in texts], k1=k1, b=b, epsilon=epsilon)
    return np.asarray(index.get_scores(query.split()))


def check(query: str, texts: list[str]) -> None:
    expected = reference_scores(query, texts)
    for index in INDEXES:
        found = index(texts).scores(query)
        assert found.dtype == np.float64
        assert found.tobytes() == expected.tobytes()
    order = np.argsort(expected)[::-1].tolist()
    for name in BACKENDS:
        (ranking,) = BM25(ties="numpy", backend=name).rank([ask(query, texts)])
        assert places(ranking) == order
        assert list(ranking.scores) == expected[order].tolist()
        (stable,) = BM25(backend=name).rank([ask(query, texts)])
        assert places(stable) == sorted(range(len(texts)), key=lambda place: (-expected[place], place))


@given(st.lists(st.one_of(TEXTS, PLAIN), min_size=1, max_size=40), st.one_of(TEXTS, PLAIN))
@example(["a a b", "a", "b"], "a a b a zz")
@example(["the a", "the b", "the", "the the", ""], "the the a")
@example(["x"], "x")
@settings(max_examples=400, deadline=None)
def test_every_bit_is_the_reference_s(texts: list[str], query: str) -> None:
    if any(text.split() for text in texts):
        check(query, texts)
        check(query, texts * 3)


@given(
    st.lists(PLAIN, min_size=1, max_size=12).filter(lambda texts: any(texts)),
    PLAIN,
    st.floats(0.01, 10),
    st.floats(0, 0.99),
    st.floats(0, 4),
)
@settings(max_examples=150, deadline=None)
def test_options_as_in_the_reference(texts: list[str], query: str, k1: float, b: float, epsilon: float) -> None:
    expected = reference_scores(query, texts, k1, b, epsilon)
    for index in INDEXES:
        assert index(texts, k1, b, epsilon).scores(query).tolist() == expected.tolist()


@pytest.mark.parametrize("documents", [700, 1500])
def test_many_tokens(documents: int) -> None:
    """More tokens than 16 bits can number, with the frequencies of a language."""
    random = np.random.default_rng(documents)
    share = 1 / np.arange(1, 3001)
    drawn = random.choice(3000, (documents, 100), p=share / share.sum())
    texts = [" ".join(f"w{number}" for number in row) for row in drawn]
    check(texts[3], texts)
    check("w0 w1 w2 w2999 none", texts)


def real_dataset(shared_data: Path, name: str) -> Dataset:
    return open_dataset(TaskRegistry().get(name.lower().removesuffix("_arxiv")), shared_data / name, "dev")


def check_real(shared_data: Path, name: str, count: int) -> None:
    dataset = real_dataset(shared_data, name)
    retrievers = [BM25(ties="numpy", backend=name) for name in BACKENDS]
    for examples in dataset.batches(64, 0, count):
        for question, *rankings in zip(examples, *(bm25.rank(examples) for bm25 in retrievers), strict=True):
            expected = reference_scores(question.query, [item.text for item in question.profile])
            order = np.argsort(expected)[::-1]
            for ranking in rankings:
                assert [id(item) for item in ranking.items] == [id(question.profile[place]) for place in order]
                assert list(ranking.scores) == expected[order].tolist()


REAL = ["LaMP_7", "LaMP_4", "LaMP_3", "LaMP_5_time_arxiv"]


@pytest.mark.parametrize("name", REAL)
def test_real_questions(shared_data: Path, name: str) -> None:
    check_real(shared_data, name, 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_all_real_questions(shared_data: Path, name: str) -> None:
    check_real(shared_data, name, 1000)


def test_ties_are_in_profile_order() -> None:
    texts = ["x", "cat", "y", "cat", "z", "v", "w"]
    (ranking,) = BM25().rank([ask("cat", texts)])
    assert places(ranking) == [1, 3, 0, 2, 4, 5, 6]
    assert ranking.scores[0] == ranking.scores[1] > ranking.scores[2] == 0.0


def test_k_is_the_beginning() -> None:
    questions = [ask("cat", ["x", "a cat", "cat", "dog"]), ask("dog", ["x", "a cat", "cat", "dog"], "2")]
    for ties in ("profile", "numpy"):
        whole = BM25(ties=ties).rank(questions)
        for k in (0, 1, 3, 9):
            cut = BM25(ties=ties).rank(questions, k)
            assert [r.items for r in cut] == [r.items[:k] for r in whole]
            assert [r.scores for r in cut] == [r.scores[:k] for r in whole]


@pytest.mark.parametrize("texts", [[], [""], ["", " \n", "\u3000"]])
def test_what_the_reference_divides_by_zero_for_stays_as_it_stands(texts: list[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        reference_scores("cat", texts)
    for name in BACKENDS:
        (ranking,) = BM25(backend=name).rank([ask("cat", texts)])
        assert places(ranking) == list(range(len(texts)))
        assert ranking.scores == (0.0,) * len(texts)


@pytest.mark.parametrize("query", ["", "  ", "unknown words"])
def test_a_query_that_matches_nothing(query: str) -> None:
    for name in BACKENDS:
        (ranking,) = BM25(backend=name).rank([ask(query, ["b", "a"])])
        assert (places(ranking), ranking.scores) == ([0, 1], (0.0, 0.0))


def test_extreme_options_give_finite_scores() -> None:
    """Where the reference divides zero by zero (k1 = 0; b = 1 with an empty text), absent terms score 0."""
    for options in ({"k1": 0.0}, {"b": 1.0}, {"k1": 0.0, "b": 1.0, "epsilon": 0.0}):
        for name in BACKENDS:
            (ranking,) = BM25(**options, backend=name).rank([ask("cat a", ["cat", "", "a cat", "b c d"])])
            assert all(math.isfinite(score) for score in ranking.scores)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": -0.1}, "k1 is -0.1, but must be a finite number, 0 or more"),
        ({"k1": math.nan}, "k1 is nan, but must be a finite number, 0 or more"),
        ({"k1": math.inf}, "k1 is inf, but must be a finite number, 0 or more"),
        ({"b": -1.0}, "b is -1.0, but must be a finite number, from 0 to 1"),
        ({"b": 1.5}, "b is 1.5, but must be a finite number, from 0 to 1"),
        ({"b": math.nan}, "b is nan, but must be a finite number, from 0 to 1"),
        ({"epsilon": -0.25}, "epsilon is -0.25, but must be a finite number, 0 or more"),
        ({"epsilon": math.nan}, "epsilon is nan, but must be a finite number, 0 or more"),
    ],
)
def test_options_are_checked(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BM25(**options)


def test_wrong_options_on_the_command_line(host: PluginHost) -> None:
    from types import SimpleNamespace

    with pytest.raises(SpecError, match=r"retriever bm25:b=2\.0: b is 2\.0, but must be"):
        host.registry.choose("retriever", "bm25:b=2").make(SimpleNamespace())
    with pytest.raises(SpecError, match="ties='random'"):
        host.registry.choose("retriever", "bm25:ties=random")


class Counted(IndexBuilder):
    """Remembers the sizes of all indexes that it builds."""

    def __init__(self) -> None:
        super().__init__("numpy")
        self.sizes: list[int] = []

    def build(self, texts: Any, k1: float, b: float, epsilon: float) -> Any:
        self.sizes.append(len(texts))
        return super().build(texts, k1, b, epsilon)


def test_a_shared_profile_is_indexed_once() -> None:
    texts, built = ["a cat", "a dog", "x"], Counted()
    bm25 = BM25()
    bm25._indexes = IndexCache(built, (1.5, 0.75, 0.25))
    rankings = bm25.rank([ask(query, list(texts), query) for query in ("cat", "dog", "x", "cat dog")])
    rankings += bm25.rank([ask("dog", list(texts), "later")])
    assert built.sizes == [3]
    assert [places(ranking)[0] for ranking in rankings] == [0, 1, 2, 0, 1]


def sizes_built(*profiles: str, capacity: int = 64) -> list[int]:
    built = Counted()
    indexes = IndexCache(built, (1.5, 0.75, 0.25), capacity)
    for texts in profiles:
        assert len(indexes.get(tuple(texts.split("|"))).scores("a")) == len(texts.split("|"))
    return built.sizes


def test_an_index_is_known_by_all_its_texts() -> None:
    assert sizes_built("a|b", "b|a", "a|b|b", "a b", "a|b") == [2, 2, 3, 1]


def test_the_least_recently_used_index_is_dropped_first() -> None:
    assert sizes_built("a", "a|b", "a", "a|b|c", "a", "a|b", capacity=2) == [1, 2, 3, 2]


def test_the_fingerprint_names_numpy_where_it_decides() -> None:
    assert BM25().fingerprint() == ""
    assert BM25(ties="numpy").fingerprint() == f"numpy {np.__version__}"
