"""Retrieval judged on its own: figures against ir_measures, agreement against its definitions, TREC files both ways."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import kendalltau

from prlm_bench import Document, Example, Ranking
from prlm_bench.data import Dataset, open_split
from prlm_bench.errors import DataError, PrlmBenchError
from prlm_bench.host import PluginHost
from prlm_bench.progress import Silent
from prlm_bench.prompting import by_score
from prlm_bench.retrieval_eval import RetrieverSource, RunSource, _plots as picture, evaluate
from prlm_bench.retrieval_eval._agreement import agreement, rank_biased_overlap, tau_b
from prlm_bench.retrieval_eval._evaluate import CHANCE
from prlm_bench.retrieval_eval._trec import escaped, qrels_lines, read_run, run_lines
from prlm_bench.running import Components

MINI = ("--task", "mini_lamp_4", "--limit", 30)


@pytest.fixture
def headlines(host: PluginHost) -> Dataset:
    return open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=8)


@pytest.fixture
def source(host: PluginHost, headlines: Dataset, tmp_path: Path) -> Callable[[str], RetrieverSource]:
    components = Components(host, headlines, tmp_path / "cache")
    return lambda spec: RetrieverSource(components, spec, 0, headlines.example(0))


@pytest.fixture
def write_lamp(tmp_path: Path) -> Callable[..., Path]:
    """A LaMP_4 folder with these questions: id, ids of the items, ids of the relevant ones."""

    def write(questions: Sequence[tuple[str, Sequence[str], Sequence[str] | None]]) -> Path:
        folder = tmp_path / "own" / "dev"
        folder.mkdir(parents=True)
        rows = [
            {
                "id": name,
                "input": "Generate a headline for the following article: words",
                "profile": [{"id": item, "title": f"title {item}", "text": "words"} for item in items],
            }
            for name, items, _ in questions
        ]
        (folder / "dev_questions.json").write_text(json.dumps(rows))
        relevance = {name: list(relevant) for name, _, relevant in questions if relevant is not None}
        if relevance:
            (folder / "dev_relevance.json").write_text(json.dumps(relevance))
        return tmp_path / "own"

    return write


class Given:
    """A retriever that ranks by given scores, item by item of each profile."""

    name = "given"

    def __init__(self, scores: dict[str, Sequence[float]]) -> None:
        self._scores = scores

    def fingerprint(self) -> str:
        return ""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        return [by_score(e.profile, self._scores[e.id], k) for e in examples]

    def describe(self) -> dict[str, Any]:
        return {}


def question(n: int) -> Example:
    return Example("q", "u", "", "", tuple(Document(f"i{place}", "", {}) for place in range(n)))


def order(example: Example, *places: int) -> Ranking:
    return Ranking(tuple(example.profile[p] for p in places), tuple(float(len(places) - i) for i in range(len(places))))


# figures


def test_figures_are_those_of_ir_measures(headlines: Dataset, source: Callable[..., Any], tmp_path: Path) -> None:
    names = ["nDCG@5", "R@5", "RR", "AP", "P@1"]
    found = evaluate(headlines, [source("bm25"), source("recency")], names)
    lines = run_lines(headlines, source("bm25")._retriever, "it", Silent())
    (tmp_path / "a.run").write_bytes(b"".join(lines))
    (tmp_path / "a.qrels").write_bytes(b"".join(qrels_lines(headlines)))
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "a.qrels")))
    run = list(ir_measures.read_trec_run(str(tmp_path / "a.run")))
    expected = ir_measures.calc_aggregate([ir_measures.parse_measure(name) for name in names], qrels, run)
    for name in names:
        estimate = found.figures["bm25"][name]
        assert estimate.value == pytest.approx(expected[ir_measures.parse_measure(name)], abs=1e-9)
        assert estimate.low is not None and estimate.high is not None
        assert estimate.low <= estimate.value <= estimate.high
    assert (found.n, found.n_judged, found.n_users) == (len(headlines), len(headlines), 8)
    for measure in names:
        gap = found.figures["recency"][measure].value - found.figures["bm25"][measure].value  # type: ignore[operator]
        assert found.differences["recency"][measure].value == pytest.approx(gap)
    assert "bm25" not in found.differences


def test_intervals_resample_users(headlines: Dataset) -> None:
    """Questions of one user that are all alike must not narrow the interval."""
    scores = {
        example.id: [float((item.id in (example.relevant or ())) == (number % 2 == 0)) for item in example.profile]
        for number, user in enumerate(dict.fromkeys(headlines.users))
        for example in (e for batch in headlines.batches(64) for e in batch if e.user == user)
    }
    (estimate,) = evaluate(headlines, [Given(scores)], ["P@1"]).figures["given"].values()
    assert estimate.value == pytest.approx(0.5)
    assert estimate.low is not None and estimate.low <= 0.25  # of 8 users, 4 are right: 24 free questions would say 0.3


def test_the_curve_is_recall_at_every_k(headlines: Dataset, source: Callable[..., Any]) -> None:
    found = evaluate(headlines, [source("bm25"), source("oracle"), source("none")], [f"R@{k}" for k in (1, 3, 7, 12)])
    for name in ("bm25", "oracle"):
        for measure, estimate in found.figures[name].items():
            point = found.recall[name][int(measure.partition("@")[2]) - 1]
            assert (point.value, point.low, point.high) == pytest.approx((estimate.value, estimate.low, estimate.high))
    sizes = [len(e.profile) for batch in headlines.batches(64) for e in batch]
    assert len(found.recall["bm25"]) == max(sizes)
    assert found.recall["bm25"][-1].value == 1.0
    assert [point.value for point in found.recall["none"]] == [0.0] * max(sizes)
    for k, point in enumerate(found.recall[CHANCE], 1):
        assert point.value == pytest.approx(np.mean([min(k, size) / size for size in sizes]))


def test_questions_without_relevant_items_count_for_nothing(host: PluginHost, write_lamp: Callable[..., Path]) -> None:
    root = write_lamp([("a", ["1", "2"], ["1"]), ("b", ["1", "2"], []), ("c", ["1", "2"], ["2"])])
    dataset = open_split(host.tasks.get("lamp_4"), "dev", root)
    found = evaluate(dataset, [Given({"a": [2, 1], "b": [2, 1], "c": [2, 1]})], ["RR"])
    assert (found.n, found.n_judged) == (3, 2)
    assert found.figures["given"]["RR"].value == pytest.approx((1 + 0.5) / 2)


def test_an_empty_ranking_is_worth_nothing(headlines: Dataset, source: Callable[..., Any]) -> None:
    found = evaluate(headlines, [source("none"), source("bm25")])
    assert [estimate.value for estimate in found.figures["none"].values()] == [0.0, 0.0, 0.0]
    pair = found.agreement["none", "bm25"]
    assert (pair["overlap@1"].value, pair["tau-b"].value, pair["rbo"].value) == (0.0, None, None)


def test_time_and_size_are_told(host: PluginHost, headlines: Dataset, tmp_path: Path) -> None:
    class Large:
        def fingerprint(self) -> str:
            return "large"

        def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
            return [Ranking(e.profile, (0.0,) * len(e.profile)) for e in examples]

        def cache_bytes(self) -> int:
            return 12_345_678

    from prlm_bench.host import Origin
    from prlm_bench.host._registry import make_component

    host.registry.add(make_component("retriever", Origin("mine", "mine", "1", "mine.py"), "large", Large))
    components = Components(host, headlines, tmp_path)
    found = evaluate(
        headlines, [RetrieverSource(components, name, 0, headlines.example(0)) for name in ("large", "bm25")]
    )
    assert found.sources["large"]["cache_bytes"] == 12_345_678
    assert found.sources["large"]["fingerprint"] == "large"
    assert found.sources["bm25"]["cache_bytes"] is None
    assert all(about["ms_per_question"] > 0 and about["setup_s"] > 0 for about in found.sources.values())


# agreement


def test_overlap_is_the_share_of_the_first_k() -> None:
    one = question(12)
    a, b = order(one, *range(12)), order(one, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 5)
    found = agreement(one, a, b)
    assert (found["overlap@1"], found["overlap@5"], found["overlap@10"]) == (0.0, 1.0, 0.8)
    assert math.isnan(agreement(question(5), *(order(question(5), 0),) * 2)["overlap@5"])
    small = agreement(one, order(one, 0), b)
    assert small["overlap@5"] == 0.2


def test_items_are_the_same_by_place_in_the_profile_not_by_id() -> None:
    twins = replace(question(2), profile=(Document("x", "a", {}), Document("x", "b", {})))
    assert agreement(twins, order(twins, 0, 1), order(twins, 1, 0))["overlap@1"] == 0.0
    alien = Ranking((Document("y", "", {}),), (1.0,))
    assert agreement(twins, alien, Ranking((Document("y", "", {}),), (1.0,)))["overlap@1"] == 1.0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=0, max_size=9))
def test_tau_b_is_kendalls(pairs: list[tuple[int, int]]) -> None:
    first, second = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    concordant = sum(
        np.sign(first[i] - first[j]) * np.sign(second[i] - second[j]) for i in range(len(pairs)) for j in range(i)
    )
    untied = [sum(values[i] != values[j] for i in range(len(pairs)) for j in range(i)) for values in (first, second)]
    found = tau_b(first, second)
    if 0 in untied:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(concordant / math.sqrt(untied[0] * untied[1]))
        assert found == pytest.approx(kendalltau(first, second).statistic)


def naive_rbo(first: Sequence[int], second: Sequence[int], p: float) -> float:
    """Equation 32 of Webber et al., term by term."""
    short, long = sorted((first, second), key=len)
    s, n = len(short), len(long)
    x = {d: len(set(short[:d]) & set(long[:d])) for d in range(1, n + 1)}
    total = sum(x[d] / d * p**d for d in range(1, n + 1))
    total += sum(x[s] * (d - s) / (s * d) * p**d for d in range(s + 1, n + 1))
    return (1 - p) / p * total + ((x[n] - x[s]) / n + x[s] / s) * p**n


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(9)), st.permutations(range(9)), st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 0.99))
def test_rbo_is_its_equation(a: list[int], b: list[int], m: int, n: int, p: float) -> None:
    first, second = a[:m], b[:n]
    found = rank_biased_overlap(first, second, p)
    assert found == pytest.approx(naive_rbo(first, second, p))
    assert found == pytest.approx(rank_biased_overlap(second, first, p))
    assert -1e-12 <= found <= 1 + 1e-12
    assert rank_biased_overlap(first, first, p) == pytest.approx(1)
    assert rank_biased_overlap(first, [item + 100 for item in second], p) == pytest.approx(0)


# TREC files


def test_a_run_comes_back_in_the_same_order(headlines: Dataset, source: Callable[..., Any], tmp_path: Path) -> None:
    """BM25 has ties, which trec_eval would order by id; the counted-down scores keep them as they are."""
    examples = [e for batch in headlines.batches(64) for e in batch]
    rankings = source("bm25").rank(examples)
    assert any(len(set(ranking.scores)) < len(ranking.scores) for ranking in rankings)
    path = tmp_path / "bm25.run"
    path.write_bytes(b"".join(run_lines(headlines, source("bm25")._retriever, "a tag", Silent())))
    theirs: dict[str, list[tuple[float, str]]] = {}
    for entry in ir_measures.read_trec_run(str(path)):
        theirs.setdefault(entry.query_id, []).append((-entry.score, entry.doc_id))
    for example, ranking, again in zip(examples, rankings, RunSource(path, headlines).rank(examples), strict=True):
        assert [item.id for item in ranking.items] == [name for _, name in sorted(theirs[example.id])]
        assert again.items == ranking.items
    first = path.read_text().splitlines()[0].split()
    assert first == [examples[0].id, "Q0", rankings[0].items[0].id, "1", str(len(rankings[0].items)), "a_tag"]


def test_own_scores_and_depth(headlines: Dataset, source: Callable[..., Any]) -> None:
    lines = run_lines(headlines, source("bm25")._retriever, "x", Silent(), limit=2, depth=3, scores="own")
    rows = [line.decode().split() for line in lines]
    assert [row[3] for row in rows] == ["1", "2", "3"] * 2
    (first,) = source("bm25").rank([headlines.example(0)])
    assert [float(row[4]) for row in rows[:3]] == list(first.scores[:3])


NAMES = st.sampled_from(["1", "2", "10", "a", "B", "é", "z9"])


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(NAMES, st.sampled_from([0.0, -1.0, 1.0, 2.5, 1 + 1e-12]), min_size=1, max_size=7),
    st.frozensets(NAMES, min_size=1, max_size=4),
)
def test_ties_are_broken_as_trec_eval_does(
    tmp_path_factory: pytest.TempPathFactory, scores: dict[str, float], relevant: frozenset[str]
) -> None:
    folder = tmp_path_factory.mktemp("ties")
    (folder / "a.run").write_text("".join(f"q Q0 {item} 7 {score!r} t\n" for item, score in scores.items()))
    ((_, entries),) = read_run(folder / "a.run").items()
    places = {item: float(len(entries) - place) for place, (_, item) in enumerate(entries)}
    qrels = {"q": dict.fromkeys(relevant, 1)}
    for measure in (ir_measures.RR, ir_measures.AP, ir_measures.nDCG):
        run = list(ir_measures.read_trec_run(str(folder / "a.run")))
        assert ir_measures.calc_aggregate([measure], qrels, run) == ir_measures.calc_aggregate(
            [measure], qrels, {"q": places}
        )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ": no rankings"),
        ("q Q0 i 1 2\n", ":1: 5 columns instead of 6 (a run line is: question Q0 item rank score tag)"),
        ("q Q0 i 1 2 t\n\nq Q0 a b 1 2 t\n", ":3: 7 columns instead of 6"),
        ("q Q0 i 1 much t\n", ":1: the score 'much' is not a finite number"),
        ("q Q0 i 1 nan t\n", ":1: the score 'nan' is not a finite number"),
        ("q Q0 i 1 1 t\nq Q0 i 2 0.5 t\n", ":2: question 'q' has item 'i' twice"),
        (b"q Q0 \xff 1 1 t\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_run_is_one_line(tmp_path: Path, content: str | bytes, said: str) -> None:
    path = tmp_path / "a.run"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError) as caught:
        read_run(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_a_run_that_is_not_there_or_cut_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_run(tmp_path / "nowhere")
    packed = gzip.compress("".join(f"q Q0 {i} 1 2 t\n" for i in range(100)).encode())
    (tmp_path / "a.run.gz").write_bytes(packed[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        read_run(tmp_path / "a.run.gz")


def test_a_run_of_other_data_is_refused(headlines: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "a.run"
    path.write_text("nobody Q0 i 1 2 t\n")
    with pytest.raises(DataError, match=r"question 'nobody' is not in mini_lamp_4 dev \(its ids look like '"):
        RunSource(path, headlines)
    path.write_text(f"{headlines.ids[1]} Q0 nothing 1 2 t\n")
    run = RunSource(path, headlines)
    assert run.rank([headlines.example(0)]) == [Ranking()]  # without a line it is ranked by nothing
    with pytest.raises(DataError, match=f"item 'nothing' is not in the profile of question '{headlines.ids[1]}'"):
        run.rank([headlines.example(1)])


BLANK = [("a b", ["1 2", "3%20", "x\u2028y", "\u00a0"], ["1 2", "3%20"]), ("a%20b", ["1"], ["1"])]


def test_ids_with_blanks_are_refused_or_written_so_that_they_come_back(
    host: PluginHost, write_lamp: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = open_split(host.tasks.get("lamp_4"), "dev", write_lamp(BLANK))
    ranker = Given({"a b": [1, 4, 2, 3], "a%20b": [1]})
    said = (
        "question 'a b': a TREC file cannot hold an id with blanks or control characters (--escape percent-encodes them"
    )
    for lines in (run_lines(dataset, ranker, "t", Silent()), qrels_lines(dataset)):
        with pytest.raises(DataError) as caught:
            list(lines)
        assert str(caught.value).startswith(said)
    path, qrels = tmp_path / "a.run", tmp_path / "a.qrels"
    path.write_bytes(b"".join(run_lines(dataset, ranker, "t", Silent(), escape=True)))
    qrels.write_bytes(b"".join(qrels_lines(dataset, escape=True)))
    examples = [e for batch in dataset.batches(64) for e in batch]
    assert [r.items for r in RunSource(path, dataset, True).rank(examples)] == [r.items for r in ranker.rank(examples)]
    theirs = ir_measures.calc_aggregate(
        [ir_measures.RR, ir_measures.AP], ir_measures.read_trec_qrels(str(qrels)), ir_measures.read_trec_run(str(path))
    )
    ours = evaluate(dataset, [ranker], ["RR", "AP"]).figures["given"]
    assert {str(measure): value for measure, value in theirs.items()} == pytest.approx(
        {name: estimate.value for name, estimate in ours.items()}
    )


def test_an_empty_id_is_refused(host: PluginHost, write_lamp: Callable[..., Path]) -> None:
    dataset = open_split(host.tasks.get("lamp_4"), "dev", write_lamp([("a", ["", "1"], None)]))
    with pytest.raises(DataError, match="cannot hold an empty id"):
        list(run_lines(dataset, Given({"a": [1, 2]}), "t", Silent(), escape=True))


@given(st.text(max_size=8), st.text(max_size=8))
def test_escaped_ids_are_one_column_each_and_stay_apart(one: str, other: str) -> None:
    assert len(f"x{escaped(one)}".split()) == 1
    assert (escaped(one) == escaped(other)) == (one == other)


def test_of_an_id_that_a_profile_repeats_the_first_place_counts(
    host: PluginHost, write_lamp: Callable[..., Path]
) -> None:
    dataset = open_split(host.tasks.get("lamp_4"), "dev", write_lamp([("a", ["1", "2", "1"], ["1"])]))
    lines = list(run_lines(dataset, Given({"a": [1, 2, 3]}), "t", Silent()))
    assert lines == [b"a Q0 1 1 2 t\n", b"a Q0 2 2 1 t\n"]


# the command line


def test_eval_writes_what_it_shows(here: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `report`")
    done = here(
        "retrieval", "eval", *MINI, "--retriever", "bm25", "--retriever", "recency", "--output-dir", "out", "--json"
    )
    assert done.status == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "out" / "evaluation.json").read_bytes())
    assert (found["n"], found["n_judged"]) == (30, 30)
    assert set(found["figures"]) == {"bm25", "recency"}
    assert set(found["figures"]["bm25"]["nDCG@5"]) == {"value", "low", "high", "why"}
    assert [pair["of"] for pair in found["agreement"]] == [["bm25", "recency"]]
    assert (tmp_path / "out" / "recall.png").read_bytes().startswith(b"\x89PNG")
    drawn = (tmp_path / "out" / "recall.svg").read_text()
    assert "recency" in drawn and "random order" in drawn
    table = here(
        "retrieval", "eval", *MINI, "--retriever", "bm25", "--retriever", "recency", "--measures", "R@2"
    ).stdout
    assert "mini_lamp_4 dev: 30 questions, 10 users, 30 with relevance labels" in table
    assert "difference from bm25" in table and "ms/question" in table and "tau-b" in table


def test_equal_figures_give_equal_pictures(headlines: Dataset, source: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `report`")
    found = evaluate(headlines, [source("bm25"), source("random")])
    for folder in ("a", "b"):
        assert [path.name for path in picture.draw_recall(found, tmp_path / folder)] == ["recall.png", "recall.svg"]
    for name in ("recall.png", "recall.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_without_relevance_retrievers_are_compared_with_each_other(
    here: Callable[..., Any], write_lamp: Callable[..., Path], tmp_path: Path
) -> None:
    root = write_lamp([(f"q{n}", [str(i) for i in range(7)], None) for n in range(5)])
    words = ("retrieval", "eval", "--task", "lamp_4", "--data", root, "--retriever", "bm25", "--retriever", "random")
    done = here(*words, "--output-dir", "out")
    assert done.status == 0, done.stderr
    assert "no relevance labels" in done.stdout and "overlap@5" in done.stdout and "nDCG" not in done.stdout
    assert "skipping the recall plot" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["evaluation.json"]
    assert here(*words[:-2], "--json").status == 0  # one retriever, and nothing to judge it by: time and size


def test_a_run_of_ours_and_one_of_pyterrier_are_judged_alike(here: Callable[..., Any], tmp_path: Path) -> None:
    assert here("retrieval", "export-run", *MINI, "--retriever", "bm25", "-o", "ours.run").status == 0
    rows = [line.split() for line in (tmp_path / "ours.run").read_text().splitlines()]
    # PyTerrier counts ranks from 0 and separates columns by one blank; its tag may be anything.
    theirs = "".join(
        f"{q} Q0 {i} {int(rank) - 1} {float(score) / 3} pt\n" for q, _, i, rank, score, _ in reversed(rows)
    )
    (tmp_path / "theirs.res.gz").write_bytes(gzip.compress(theirs.encode()))
    words = ("--run", "ours.run", "--run", "theirs.res.gz", "--retriever", "bm25", "--json")
    found = json.loads(here("retrieval", "eval", *MINI, *words).stdout)
    assert found["figures"]["bm25"] == found["figures"]["ours.run"] == found["figures"]["theirs.res.gz"]
    assert found["sources"]["ours.run"] == {"run": "ours.run"}
    assert all(pair["rbo"]["value"] == pytest.approx(1) for pair in found["agreement"])


def test_exports_to_standard_output(here: Callable[..., Any]) -> None:
    run = here(
        "retrieval", "export-run", *MINI, "--retriever", "bm25", "--depth", 2, "--tag", "mine"
    ).stdout.splitlines()
    assert len(run) == 60 and all(line.endswith(" mine") for line in run)
    qrels = here("retrieval", "export-qrels", *MINI).stdout.splitlines()
    assert all(line.split()[1] == "0" and line.split()[3] == "1" for line in qrels)
    assert {line.split()[0] for line in qrels} == {line.split()[0] for line in run}
    assert here("retrieval", "export-run", *MINI, "--retriever", "none").stdout == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("eval",), "nothing to evaluate (give --retriever or --run)"),
        (("eval", "--retriever", "bm25", "--retriever", "bm25:k1=1.5"), "sources with the same name: bm25, bm25"),
        (("eval", "--retriever", "bm52"), "unknown retriever 'bm52' (did you mean bm25"),
        (("eval", "--retriever", "bm25", "--measures", "nDGC@5"), "unknown retrieval measure 'nDGC'"),
        (("eval", "--retriever", "bm25", "--measures", "R"), "the retrieval measure 'R' needs a cutoff"),
        (("eval", "--run", "nowhere.run"), "nowhere.run: cannot be read"),
        (
            ("export-run", "--retriever", "bm25", "--scores", "best"),
            "unknown kind of scores 'best' (known: own, places)",
        ),
    ],
)
def test_a_mistake_is_one_line(here: Callable[..., Any], words: tuple[str, ...], said: str) -> None:
    done = here("retrieval", words[0], *MINI, *words[1:])
    assert done.status == 2
    assert done.stderr.splitlines()[-1].startswith(f"prlm-bench: {said}")
    assert "Traceback" not in done.stderr


def test_relevance_cannot_be_made_up(here: Callable[..., Any], write_lamp: Callable[..., Path]) -> None:
    root = write_lamp([("q", ["1"], None)])
    done = here("retrieval", "export-qrels", "--task", "lamp_4", "--data", root)
    assert done.mistake == "lamp_4 dev has no relevance labels (mini-LaMP tasks have them)"
    done = here("retrieval", "eval", "--task", "lamp_4", "--data", root, "--retriever", "oracle")
    assert done.mistake.startswith("retriever oracle cannot run on lamp_4 dev: it needs recorded relevant items")


def test_a_missing_matplotlib_is_said_before_the_work(
    here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    done = here("retrieval", "eval", *MINI, "--retriever", "bm25", "--output-dir", "out")
    assert done.mistake == ("the recall plot needs the package 'matplotlib' (pip install 'prlm-bench[report]')")


def test_nothing_to_rank_is_one_line(host: PluginHost, write_lamp: Callable[..., Path]) -> None:
    dataset = open_split(host.tasks.get("lamp_4"), "dev", write_lamp([]))
    with pytest.raises(PrlmBenchError, match="lamp_4 dev has no questions"):
        evaluate(dataset, [Given({})])
