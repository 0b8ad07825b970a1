"""Retrievers made of retrievers: what they compute, how they are written, and that they pass on what is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from prlm_bench_plugins._hf import ModelError
from prlm_bench_plugins.fusion._composed import Pool, min_max
from prlm_bench_plugins.fusion._hybrid import Hybrid
from prlm_bench_plugins.fusion._reorder import MMR

from prlm_bench import Document, Example, Ranking
from prlm_bench.data import Dataset, open_split
from prlm_bench.errors import DataError, PrlmBenchError
from prlm_bench.host import Origin, PluginHost, parse_spec
from prlm_bench.host._registry import make_component
from prlm_bench.host._specs import bind, canonical
from prlm_bench.interfaces import Context
from prlm_bench.prompting import by_score
from prlm_bench.running import Components
from prlm_bench.testing import RetrieverContract

MINE = Origin("mine", "mine", "1", "mine.py")


class ByField:
    """Ranks by the number in a field; leaves out items where it is empty."""

    def __init__(self, field: str) -> None:
        self._field = field

    def fingerprint(self) -> str:
        return ""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        assert k is None
        found = []
        for example in examples:
            held = [item for item in example.profile if item.fields[self._field]]
            found.append(by_score(held, [float(item.fields[self._field]) for item in held]))
        return found


class TooFew(ByField):
    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        return super().rank(examples)[1:]


class Stored(ByField):
    """Keeps a number of bytes on disk, or reports nothing."""

    def __init__(self, size: int | None = None) -> None:
        super().__init__("a")
        self._size = size

    def cache_bytes(self) -> int | None:
        return self._size


@pytest.fixture
def context(host: PluginHost, tmp_path: Path) -> Callable[[int], Context]:
    for name, factory in (("by", ByField), ("few", TooFew), ("stored", Stored)):
        host.registry.add(make_component("retriever", MINE, name, factory))
    dataset = open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)
    return lambda seed: Components(host, dataset, tmp_path / "cache").context(seed)


@pytest.fixture
def build(context: Callable[[int], Context]) -> Callable[..., Any]:
    def make(spec: Any, seed: int = 0) -> Any:
        return context(seed).build("retriever", spec)

    return make


@pytest.fixture
def identify(context: Callable[[int], Context]) -> Callable[[Any], dict[str, str]]:
    """The identity under which results of a spec are stored."""
    return lambda spec: dict(context(0).identity_of("retriever", spec))


@pytest.fixture
def headlines(host: PluginHost) -> Dataset:
    return open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)


def example(*rows: tuple[Any, ...], names: str = "abc", query: str = "q", dates: Sequence[str | None] = ()) -> Example:
    """A question whose items have these numbers in the fields `names`; an item's text is its first field too."""
    days = [*dates, *[None] * (len(rows) - len(dates))]
    profile = tuple(
        Document(f"i{place}", str(row[0]), dict(zip(names, map(str, row), strict=False)), day)
        for place, (row, day) in enumerate(zip(rows, days, strict=True))
    )
    return Example("e", "u", query, query, profile)


def ids(ranking: Ranking) -> str:
    return " ".join(item.id.removeprefix("i") for item in ranking.items)


class TestHybridContract(RetrieverContract):
    spec = "hybrid:bm25+recency"


class TestWeightedSumContract(RetrieverContract):
    spec = "hybrid:of=bm25+recency+random,method=sum,weights=0.5+0.3+0.2,norm=z"


class TestMMRContract(RetrieverContract):
    spec = "mmr:of=bm25,lambda=0.5,depth=5"


class TestDecayContract(RetrieverContract):
    spec = "decay:of=bm25,half_life=30"


class TestRecencyBM25Contract(RetrieverContract):
    spec = "recency-bm25"


class TestShuffledContract(RetrieverContract):
    spec = "shuffled:of=bm25,k=4"


class TestNestedContract(RetrieverContract):
    spec: ClassVar = {
        "name": "mmr",
        "of": {"name": "hybrid", "of": ["bm25", {"name": "decay", "of": {"name": "bm25", "k1": 1.2, "b": 0.5}}]},
        "lambda": 0.6,
    }


# hybrid


def test_reciprocal_ranks_are_added(build: Callable[..., Any]) -> None:
    one = example((3, 1), (2, 3), (1, 2))  # ranks 1 3, 2 1, 3 2
    (found,) = build("hybrid:by:field=a+by:field=b").rank([one])
    assert ids(found) == "1 0 2"
    expected = [1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 63 + 1 / 62]
    assert found.scores == pytest.approx(expected, rel=1e-12)


def test_weights_and_constant(build: Callable[..., Any]) -> None:
    one = example((3, 1), (2, 3), (1, 2))
    (found,) = build('hybrid:of="by:field=a+by:field=b",weights=2+0.5,constant=10').rank([one])
    assert dict(zip(ids(found).split(), found.scores, strict=True)) == pytest.approx(
        {"0": 2 / 11 + 0.5 / 13, "1": 2 / 12 + 0.5 / 11, "2": 2 / 13 + 0.5 / 12}
    )


def test_an_item_that_a_retriever_leaves_out_gets_nothing_from_it(build: Callable[..., Any]) -> None:
    one = example((3, ""), (2, 1), ("", ""), ("", 5))
    (found,) = build("hybrid:by:field=a+by:field=b").rank([one])
    assert ids(found) == "1 0 3"  # 0 and 3 are tied at 1/61; nobody returned 2
    assert found.scores == pytest.approx([1 / 62 + 1 / 62, 1 / 61, 1 / 61])


def test_equal_sums_are_a_tie_whatever_the_order_of_their_terms(build: Callable[..., Any]) -> None:
    one = example((3, 1, 2), (2, 3, 1), (1, 2, 3))  # ranks 1 3 2, 2 1 3, 3 2 1
    for fields in ("abc", "acb", "bca"):
        of = "+".join(f"by:field={field}" for field in fields)
        (found,) = build(f"hybrid:{of}").rank([one])
        assert ids(found) == "0 1 2"
        assert len(set(found.scores)) == 1


def test_sums_of_scores_between_0_and_1(build: Callable[..., Any]) -> None:
    one = example((10, 0), (5, 100), (0, 50))
    (found,) = build('hybrid:of="by:field=a+by:field=b",method=sum,weights=0.6+0.4').rank([one])
    assert ids(found) == "1 0 2"
    assert found.scores == pytest.approx([0.6 * 0.5 + 0.4, 0.6, 0.4 * 0.5])


def test_sums_of_standard_scores(build: Callable[..., Any]) -> None:
    a, b = np.array([10.0, 5.0, 0.0]), np.array([0.0, 100.0, 50.0])
    one = example((10, 0), (5, 100), (0, 50))
    (found,) = build('hybrid:of="by:field=a+by:field=b",method=sum,norm=z').rank([one])
    expected = (a - a.mean()) / a.std() + (b - b.mean()) / b.std()
    assert {item.id: score for item, score in zip(found.items, found.scores, strict=True)} == pytest.approx(
        {f"i{place}": value for place, value in enumerate(expected)}
    )


@pytest.mark.parametrize("norm", ["min-max", "z"])
def test_equal_scores_say_nothing_in_a_sum(build: Callable[..., Any], norm: str) -> None:
    one = example((0.1, 1), (0.1, 3), (0.1, 2))
    (found,) = build(f'hybrid:of="by:field=a+by:field=b",method=sum,norm={norm},weights=9+1').rank([one])
    assert ids(found) == "1 2 0"


@pytest.mark.parametrize("norm", ["min-max", "z"])
def test_an_item_that_is_left_out_counts_as_the_lowest_in_a_sum(build: Callable[..., Any], norm: str) -> None:
    one = example((3, 1), (2, 1), ("", 1))
    (found,) = build(f'hybrid:of="by:field=a+by:field=b",method=sum,norm={norm}').rank([one])
    assert ids(found) == "0 1 2"
    assert found.scores[1] == found.scores[2]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("hybrid:bm25", "it fuses at least two retrievers"),
        ("hybrid", "needs the option 'of'"),
        ("hybrid:bm25+recency,weights=1", "1 weights for 2 retrievers"),
        ("hybrid:bm25+recency,weights=1+-1", "weights are 0 or more"),
        ("hybrid:bm25+recency,weights=0+0", "not all 0"),
        ("hybrid:bm25+recency,weights=1+nan", "weights are 0 or more"),
        ("hybrid:bm25+recency,constant=-1", "constant is 0 or more"),
        ("hybrid:bm25+recency,method=max", "'rrf' or 'sum'"),
        ("hybrid:bm25+recensy", "unknown retriever 'recensy' (did you mean recency"),
        ("hybrid:bm25+", "'' is not a component"),
        ("mmr:lambda=1.5", "lambda lies between 0 and 1"),
        ("mmr:depth=0", "depth is at least 1"),
        ("mmr:lamda=0.5", "did you mean lambda?"),
        ("decay:half_life=0", "half_life is a number of days above 0"),
        ("decay:half_life=inf", "half_life is a number of days above 0"),
        ("shuffled:k=0", "k is at least 1"),
        ("rerank:bm25", "needs the option 'model'"),
    ],
)
def test_a_mistake_is_one_line(build: Callable[..., Any], spec: str, said: str) -> None:
    with pytest.raises(PrlmBenchError) as caught:
        build(spec)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_scores_that_are_not_finite_are_refused(build: Callable[..., Any], bad: str) -> None:
    one = example((1, 1), (bad, 2))
    for spec in ("hybrid:by:field=a+by:field=b", "mmr:by:field=a", "shuffled:by:field=a", "decay:by:field=a"):
        with pytest.raises(DataError, match="retriever by:field=a gave question e a score that is not finite"):
            build(spec).rank([one])


def test_a_retriever_that_loses_questions_is_refused(build: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="gave 0 rankings for 1 questions"):
        build("hybrid:few:field=a+by:field=b").rank([example((1, 1))])


def test_an_item_that_a_profile_holds_twice_stays_twice(build: Callable[..., Any]) -> None:
    one = example((2, 1), (1, 2))
    one = replace(one, profile=(*one.profile, one.profile[0]))
    for spec in ("hybrid:by:field=a+by:field=b", "mmr:by:field=a"):
        (found,) = build(spec).rank([one])
        assert sorted(ids(found).split()) == ["0", "0", "1"]


def test_items_from_outside_the_profile_are_fused_by_id_and_text(build: Callable[..., Any], headlines: Dataset) -> None:
    first = headlines.example(0)
    (found,) = build('hybrid:of="other-user:by=bm25+other-user:by=recency"').rank([first])
    own = {item.id for item in first.profile}
    names = [item.id for item in found.items]
    assert names and not own & set(names) and len(set(names)) == len(names)


def test_a_pool_keeps_profile_order_and_drops_what_nobody_returned() -> None:
    one = example((1,), (2,), (3,))
    a, b, c = one.profile
    alien = Document("x", "alien", {})
    pool = Pool.of(one, [Ranking((c, alien), (2.0, 1.0)), Ranking((replace(alien), a), (2.0, 1.0))])
    assert [item.id for item in pool.items] == ["i0", "i2", "x"]
    assert [order.tolist() for order in pool.orders] == [[1, 2], [2, 0]]
    assert b not in pool.items


def test_the_identity_holds_what_is_inside(
    identify: Callable[[Any], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = ("hybrid:bm25+recency", "hybrid:bm25:k1=2+recency", "hybrid:recency+bm25", "hybrid:bm25+random")
    prints = [identify(spec)["fingerprint"] for spec in specs]
    assert len({*prints, ""}) == len(prints) + 1
    for spec in (
        "mmr:of=by:field=a",
        "decay:of=by:field=a",
        "shuffled:of=by:field=a",
        "hybrid:of=mmr:of=by:field=a+random",
    ):
        with monkeypatch.context() as patch:
            before = identify(spec)
            patch.setattr(ByField, "fingerprint", lambda self: "other")
            assert identify(spec) != before


def test_what_the_inner_retrievers_keep_on_disk_is_added_up(build: Callable[..., Any]) -> None:
    sizes = {
        "mmr:of=stored:size=3": 3,
        "decay:of=stored:size=0": 0,
        "shuffled:of=bm25": None,
        "mmr:of=stored": None,
        "hybrid:bm25+stored:size=3": 3,
        "hybrid:stored+bm25": None,
        "hybrid:of=\"stored:size=3+stored+mmr:of='stored:size=4'\"": 7,
    }
    assert {spec: build(spec).cache_bytes() for spec in sizes} == sizes


# mmr


def naive_mmr(texts: Sequence[str], relevance: Sequence[float], weight: float) -> list[int]:
    sets = [set(text.lower().split()) for text in texts]
    left, picked = list(range(len(texts))), list[int]()
    while left:
        values = [
            weight * relevance[i] - (1 - weight) * max((cosine(sets[i], sets[j]) for j in picked), default=0.0)
            for i in left
        ]
        picked.append(left.pop(values.index(max(values))))
    return picked


def cosine(a: set[str], b: set[str]) -> float:
    return len(a & b) / math.sqrt(len(a) * len(b)) if a and b else 0.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text("ab cd", max_size=9), st.integers(0, 4)), min_size=1, max_size=9),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
def test_mmr_is_the_formula(rows: list[tuple[str, int]], weight: float) -> None:
    one = example(*rows)
    scores = [float(score) for _, score in rows]
    mmr = MMR(context_of(lambda examples: [by_score(e.profile, scores) for e in examples]), lambda_=weight)
    (found,) = mmr.rank([one])
    expected = naive_mmr([text for text, _ in rows], min_max(np.array(scores)).tolist(), weight)
    assert ids(found).split() == [str(place) for place in expected]
    assert list(found.scores) == sorted(found.scores, reverse=True)


def context_of(rank: Callable[[Sequence[Example]], list[Ranking]]) -> Any:
    class Given:
        def fingerprint(self) -> str:
            return ""

        def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
            return rank(examples)

    return Context(None, None, 0, Path(), lambda kind, spec: Given(), None, None)  # type: ignore[arg-type]


def test_mmr_puts_a_copy_behind_something_new(build: Callable[..., Any]) -> None:
    one = example(("red green", 5), ("red green", 4), ("blue", 3), ("black", 0), names="tb")
    assert ids(build("mmr:of=by:field=b,lambda=0.5").rank([one])[0]) == "0 2 3 1"
    assert ids(build("mmr:of=by:field=b,lambda=1").rank([one])[0]) == "0 1 2 3"


def test_mmr_chooses_among_the_first_items_only(build: Callable[..., Any]) -> None:
    one = example(("red", 9), ("red", 8), ("red", 7), ("blue", 1), ("green", 0), names="tb")
    (found,) = build("mmr:of=by:field=b,lambda=0.1,depth=4").rank([one])
    assert ids(found) == "0 3 1 2 4"
    assert list(found.scores) == sorted(found.scores, reverse=True)


def test_mmr_of_a_large_profile_is_quick(build: Callable[..., Any]) -> None:
    rows = [(f"word{i} word{i % 7} word{i % 11}", i % 97) for i in range(10_000)]
    (found,) = build("mmr:of=by:field=b").rank([example(*rows, names="tb")])
    assert len(found.items) == 10_000


# decay


def test_a_half_life_halves(build: Callable[..., Any]) -> None:
    one = example((8,), (8,), (8,), dates=["2020-01-01", "2020-01-31", "2020-01-11T10:00:00"])
    (found,) = build("decay:of=by:field=a,half_life=10").rank([one])
    assert ids(found) == "1 2 0"
    assert found.scores == pytest.approx([8, 2, 1])


def test_negative_scores_are_moved_up_before_they_decay(build: Callable[..., Any]) -> None:
    one = example((-1,), (3,), dates=["2020-01-11", "2020-01-01"])
    (found,) = build("decay:of=by:field=a,half_life=10").rank([one])
    assert list(zip(ids(found).split(), found.scores, strict=True)) == [("1", pytest.approx(2)), ("0", 0)]


@pytest.mark.parametrize("dates", [["2020", "2019-12-31"], ["2020-01", "2019-12-31"], ["2020-1-1", "2019-12-31"]])
def test_a_date_without_a_day_is_the_first(build: Callable[..., Any], dates: list[str]) -> None:
    (found,) = build("decay:of=by:field=a,half_life=1").rank([example((8,), (8,), dates=dates)])
    assert found.scores == pytest.approx([8, 4])


@pytest.mark.parametrize("day", [None, "", "yesterday", "2020-02-30", "20200101"])
def test_an_item_without_a_calendar_day_is_one_line(build: Callable[..., Any], day: str | None) -> None:
    with pytest.raises(DataError, match=r"question e: item i0 has the date .*, which decay cannot count from"):
        build("decay:of=by:field=a").rank([example((8,), dates=[day])])


def test_recency_bm25_is_bm25_that_decays(build: Callable[..., Any], headlines: Dataset) -> None:
    examples = [e for batch in headlines.batches(64) for e in batch]
    assert build("recency-bm25").rank(examples) == build("decay:of=bm25,half_life=90").rank(examples)


# shuffled


def test_only_the_first_k_change_places(build: Callable[..., Any], headlines: Dataset) -> None:
    examples = [e for batch in headlines.batches(64) for e in batch]
    plain, mixed = build("bm25").rank(examples), build("shuffled:k=4").rank(examples)
    again, other = build("shuffled:k=4").rank(examples[::-1])[::-1], build("shuffled:k=4", seed=1).rank(examples)
    assert [m.items for m in mixed] == [a.items for a in again]
    assert [m.items for m in mixed] != [o.items for o in other]
    changed = 0
    for before, after in zip(plain, mixed, strict=True):
        assert {id(item) for item in before.items[:4]} == {id(item) for item in after.items[:4]}
        assert before.items[4:] == after.items[4:]
        changed += before.items != after.items
    assert changed > len(examples) / 2


# written forms


TREES = st.recursive(
    st.sampled_from(["bm25", "bm25:k1=1.2,b=0.5", "random"]).map(lambda text: dict(spec_of(text))),
    lambda inner: st.one_of(
        st.builds(lambda of: {"name": "hybrid", "of": of}, st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda of, weight: {"name": "mmr", "of": of, "lambda": weight}, inner, st.sampled_from([0.5, 0.25])),
        st.builds(lambda of: {"name": "shuffled", "of": of, "k": 2}, inner),
    ),
    max_leaves=8,
)


def spec_of(text: str) -> dict[str, Any]:
    parsed = parse_spec(text)
    return {"name": parsed.name, **parsed.options}


@settings(max_examples=40, deadline=None)
@given(TREES)
def test_any_tree_of_retrievers_can_be_written_as_one_text(tree: dict[str, Any]) -> None:
    host = CACHED_HOST
    chosen = host.registry.choose("retriever", tree)
    again = host.registry.choose("retriever", str(chosen))
    assert (again.component, str(again)) == (chosen.component, str(chosen))
    assert names_in(host, str(chosen)) == names_in_tree(tree)


def names_in(host: PluginHost, spec: str) -> list[str]:
    chosen = host.registry.choose("retriever", spec)
    default = "bm25" if chosen.component.name in ("mmr", "shuffled") else []
    of = chosen.options.get("of", default)
    inner = [of] if isinstance(of, str) else of
    return [chosen.component.name, *(name for text in inner for name in names_in(host, text))]


def names_in_tree(tree: dict[str, Any]) -> list[str]:
    of = tree.get("of", [])
    return [tree["name"], *(name for inner in ([of] if isinstance(of, dict) else of) for name in names_in_tree(inner))]


CACHED_HOST = PluginHost()


@pytest.mark.parametrize(
    ("spec", "of"),
    [
        ("hybrid:bm25+recency", ["bm25", "recency"]),
        ("hybrid:bm25:k1=1.2+recency", ["bm25:k1=1.2", "recency"]),
        ('hybrid:of="bm25:k1=1.2,b=0.5+recency",method=sum', ["bm25:k1=1.2,b=0.5", "recency"]),
        ("hybrid:of=\"mmr:of='bm25:k1=1,b=0',lambda=0.5+recency\"", ["mmr:of='bm25:k1=1,b=0',lambda=0.5", "recency"]),
        ("hybrid:of=\"mmr:of='hybrid:bm25+random'+recency\"", ["mmr:of='hybrid:bm25+random'", "recency"]),
        ("hybrid:\"'hybrid:bm25+random'+recency\"", ["hybrid:bm25+random", "recency"]),
        ({"name": "hybrid", "of": ["bm25", "recency"]}, ["bm25", "recency"]),
        ({"name": "hybrid", "of": [{"name": "bm25", "k1": 2, "b": 0.5}, "recency"]}, ["bm25:k1=2,b=0.5", "recency"]),
        (
            {"name": "hybrid", "of": ["recency", {"name": "mmr", "of": {"name": "hybrid", "of": ["bm25", "random"]}}]},
            ["recency", "mmr:of=hybrid:of=bm25+random"],
        ),
        ({"name": "hybrid", "of": [{"name": "none"}, {"name": "bm25", "k1": None}]}, ["none", "bm25:k1=none"]),
    ],
)  # fmt: skip
def test_ways_to_write_a_hybrid(spec: Any, of: list[str]) -> None:
    options = bind("retriever", Hybrid, parse_spec(spec))
    assert options["of"] == of
    assert bind("retriever", Hybrid, parse_spec(canonical("hybrid", Hybrid, options))) == options


def test_weights_are_a_list_in_text_and_in_yaml() -> None:
    for spec in ("hybrid:a+b,weights=0.7+0.3", {"name": "hybrid", "of": ["a", "b"], "weights": [0.7, 0.3]}):
        assert bind("retriever", Hybrid, parse_spec(spec))["weights"] == [0.7, 0.3]


def test_an_option_may_have_the_name_of_a_keyword() -> None:
    def factory(lambda_: float = 0.5, class_: str = "") -> None: ...

    bound = bind("retriever", factory, parse_spec("it:lambda=0.25,class=x"))
    assert bound == {"lambda_": 0.25, "class_": "x"}
    assert canonical("it", factory, bound) == "it:lambda=0.25,class=x"
    with pytest.raises(PrlmBenchError, match="has no option 'lambda_'"):
        bind("retriever", factory, parse_spec("it:lambda_=0.25"))


def test_a_study_in_yaml_runs_what_it_composes(here: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        """
tasks: mini_lamp_4
synth_users: 4
controls: false
generators: copy
k: 1
retrievers:
  - name: hybrid
    of:
      - name: bm25
        k1: 1.2
      - {name: mmr, of: {name: hybrid, of: [bm25, recency]}, lambda: 0.5}
    method: sum
    weights: [0.7, 0.3]
  - hybrid:bm25+recency
"""
    )
    done = here("run", "study.yaml", "--json")
    assert done.status == 0, done.stderr
    rows = [row for table in json.loads(done.stdout)["tables"] for row in table["rows"]]
    specs = {row["retriever"] for row in rows}
    assert "hybrid:of=bm25+recency" in specs
    (deep,) = specs - {"hybrid:of=bm25+recency"}
    assert canonical("hybrid", Hybrid, bind("retriever", Hybrid, parse_spec(deep))) == deep
    done = here("run", "--task", "mini_lamp_4", "--synth-users", 4, "--no-controls", "--generator", "copy", "-k", 1,
                "--retriever", deep)  # fmt: skip
    assert "0 rows run, 1 were there already" in done.stderr


# rerank


LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def make_checkpoint(folder: Path, labels: int = 1, head: bool = True, seed: int = 0) -> Path:
    """A tiny BERT that reads letters; its weights are random, which is all that a test needs."""
    torch = pytest.importorskip("torch", reason="needs the extra `dense`")
    transformers = pytest.importorskip("transformers", reason="needs the extra `dense`")
    transformers.utils.logging.disable_progress_bar()
    folder.mkdir(parents=True)
    words = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, num_labels=labels, initializer_range=0.8,
    )  # fmt: skip
    kind = transformers.BertForSequenceClassification if head else transformers.BertModel
    kind(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("cross-encoder") / "one")


class TestRerankContract(RetrieverContract):
    @pytest.fixture(autouse=True)
    def with_model(self, checkpoint: Path) -> None:
        type(self).spec = {"name": "rerank", "of": "bm25", "model": str(checkpoint), "depth": 5, "device": "cpu"}


def one_by_one(folder: Path, query: str, texts: Sequence[str]) -> list[float]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    found = []
    with torch.inference_mode():
        for text in texts:
            logits = model.eval()(**tokenizer(query, text, truncation=True, max_length=64, return_tensors="pt")).logits
            found.append(float(logits[0, 0] if logits.shape[1] == 1 else logits[0, 1] - logits[0, 0]))
    return found


@pytest.mark.parametrize("labels", [1, 2])
def test_the_first_items_are_ordered_by_the_model(
    build: Callable[..., Any], headlines: Dataset, tmp_path: Path, labels: int
) -> None:
    folder = make_checkpoint(tmp_path / "model", labels)
    first = headlines.example(0)
    (plain,) = build("bm25").rank([first])
    # A budget of 200 padded tokens splits the five items into several batches.
    (found,) = build(f"rerank:bm25,model={folder},depth=5,batch_tokens=200,device=cpu").rank([first])
    assert {id(item) for item in found.items[:5]} == {id(item) for item in plain.items[:5]}
    assert found.items[5:] == plain.items[5:]
    assert list(found.scores) == sorted(found.scores, reverse=True)
    expected = one_by_one(folder, first.query, [item.text for item in found.items[:5]])
    assert found.scores[:5] == pytest.approx(expected, abs=1e-4)
    assert max(expected) - min(expected) > 0.01


def test_each_question_is_scored_on_its_own_and_once(
    build: Callable[..., Any], headlines: Dataset, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = build(f"rerank:bm25,model={checkpoint},depth=3,device=cpu")
    calls: list[int] = []
    score = retriever._encoder.scores
    monkeypatch.setattr(
        retriever._encoder, "scores", lambda query, texts: calls.append(len(texts)) or score(query, texts)
    )
    first, second = headlines.example(0), headlines.example(1)
    together = retriever.rank([first, second, replace(first, id="again")])
    assert calls == [3, 3]
    assert together[0] == together[2]
    # Bit for bit: padding to another question's length would change the last digits.
    assert retriever.rank([second])[0].scores == together[1].scores


def test_a_model_is_identified_by_its_files(
    identify: Callable[[Any], dict[str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    other = make_checkpoint(tmp_path / "other", seed=1)
    same = make_checkpoint(tmp_path / "same")
    prints = [identify(f"rerank:bm25,model={path}")["fingerprint"] for path in (checkpoint, other, same)]
    assert prints[0] == prints[2] != prints[1]
    assert identify(f"rerank:recency,model={checkpoint}")["fingerprint"] != prints[0]


def broken(folder: Path, how: str) -> Path:
    if how == "headless":
        return make_checkpoint(folder, head=False)
    if how == "many labels":
        return make_checkpoint(folder, labels=3)
    make_checkpoint(folder)
    weights = folder / "model.safetensors"
    if how == "no weights":
        weights.unlink()
    elif how == "cut weights":
        weights.write_bytes(weights.read_bytes()[:500])
    elif how == "no config":
        (folder / "config.json").unlink()
    elif how == "not a number":
        from safetensors.torch import load_file, save_file

        tensors = load_file(weights)
        tensors["classifier.bias"] *= float("nan")
        save_file(tensors, weights, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (
            "headless",
            "lacks 2 of its weights, such as classifier.bias (give a model that was trained for sequence",
        ),
        ("many labels", "has 3 outputs, where 1 or 2 are needed"),
        ("no weights", "model' cannot be loaded: "),
        ("cut weights", "model' cannot be loaded: "),
        ("no config", "has no config.json"),
        ("not a number", "gave a score that is not a finite number"),
    ],
)
def test_a_model_that_cannot_rank_is_one_line(
    build: Callable[..., Any],
    headlines: Dataset,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    how: str,
    said: str,
) -> None:
    folder = broken(tmp_path / "model", how)
    capfd.readouterr()
    with pytest.raises(ModelError) as caught:
        build({"name": "rerank", "model": str(folder), "device": "cpu"}).rank([headlines.example(0)])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["no-such-folder", "no such name", "nobody/nothing"])
def test_a_model_that_is_not_there_is_one_line(
    build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pytest.importorskip("transformers", reason="needs the extra `dense`")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=f"^cross-encoder '{name}'") as caught:
        build({"name": "rerank", "model": name})
    assert "\n" not in str(caught.value) and caught.value.hint


def test_texts_of_any_kind_are_scored(build: Callable[..., Any], checkpoint: Path) -> None:
    odd = ["", "a", "b " * 5000, "\x00\ud800", "日本 🙂", "a\u2028b"]
    one = example(*((text, place) for place, text in enumerate(odd)), names="tb", query="c " * 500)
    (found,) = build(f"rerank:of=by:field=b,model={checkpoint},device=cpu").rank([one])
    assert len(found.items) == len(odd)
