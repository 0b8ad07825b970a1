"""Every metric against the package that defines it, on random texts and on the real sets."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from support.paths import REAL_DATA

from prlm_bench import metrics
from prlm_bench.errors import DataError, MissingDependencyError, SpecError, UnknownNameError
from prlm_bench.host import PluginHost
from prlm_bench.metrics import Metric, Pairs, _tokens
from prlm_bench.metrics._lcs import lcs_length
from prlm_bench.metrics._ngrams import clipped_matches
from prlm_bench.metrics._retrieval import retrieval_scores

DATA = REAL_DATA
LABELS = ("[1]", "[2]", "sci-fi")
STARS = ("1", "2", "3", "4", "5")
LAMP = ("rouge1@lamp", "rouge2@lamp", "rougeL@lamp")
PRLM = ("rouge-1@prlm", "rouge-2@prlm", "rouge-l@prlm", "bleu-4@prlm")

PIECES = [*"ab0 9.,-'&;<>!?/()%#+_”’。！？…\n\t\r\x1c\x85\xa0\u3000中国人民的英é😀İ٣"]
PIECES += [
    "the",
    "cat",
    "THE",
    "1.5%",
    "c++",
    "C#",
    "AT&T",
    "......",
    "……",
    "\r\n",
    "-\n",
    "&quot;",
    "&amp;",
    "<skipped>",
]
PIECES += ["北京大学", "我来到", "?”a", "?\n", "  ", "3.14", "co-op"]
WORDS = st.lists(st.sampled_from(["a", "b", "the", "cat", "sat", "on", "it's", "1.5"]), max_size=30).map(" ".join)
TEXTS = st.one_of(WORDS, st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6)
thorough = settings(max_examples=150, deadline=None)


@cache
def packages() -> Any:
    """The defining packages, loaded without their noise; jieba without the cache file that programs share."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        import jieba
        from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
        from rouge_chinese import Rouge
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics import BLEU

        jieba.setLogLevel(logging.CRITICAL)
        tokenizer = jieba.Tokenizer()
        tokenizer.tmp_dir = folder
        tokenizer.initialize()
    return SimpleNamespace(
        jieba=tokenizer,
        rouge_chinese=Rouge(),
        rouge_score=RougeScorer(["rouge1", "rouge2", "rougeL"]),
        sacrebleu=BLEU(force=True),
        sentence_bleu=lambda gold, answer: sentence_bleu(
            [list(gold)], list(answer), smoothing_function=SmoothingFunction().method3
        ),
    )


@cache
def registered() -> dict[str, Metric]:
    factories: dict[str, Callable[[], Metric]] = {}
    metrics.prlm_bench_register_metrics(lambda name, factory, **_: factories.__setitem__(name, factory))
    return {name: factory() for name, factory in factories.items()}


def value(name: str, pairs: Pairs) -> float:
    metric = registered()[name]
    return float(metric.value(metric.statistics(pairs).sum(axis=0)))


def reference_lamp(answer: str, gold: str) -> list[float]:
    scores = packages().rouge_score.score(gold.strip(), answer.strip())
    return [scores[kind].fmeasure for kind in ("rouge1", "rouge2", "rougeL")]


def reference_prlm(answer: str, gold: str) -> list[float]:
    answer, gold = answer.lower(), gold.lower()
    bleu = packages().sentence_bleu(gold, answer)
    if not answer.strip() or not gold.strip():
        return [0.0, 0.0, 0.0, bleu]
    cut = packages().jieba.cut
    scores = packages().rouge_chinese.get_scores(" ".join(cut(answer)), " ".join(cut(gold)))[0]
    return [scores[kind]["f"] for kind in ("rouge-1", "rouge-2", "rouge-l")] + [bleu]


def check(names: tuple[str, ...], reference: Callable[[str, str], list[float]], texts: list[tuple[str, str]]) -> None:
    answers, golds = zip(*texts, strict=True)
    pairs = Pairs(answers, golds)
    ours = np.stack([registered()[name].statistics(pairs)[:, 0] for name in names], axis=1)
    np.testing.assert_allclose(ours, [reference(*pair) for pair in texts], rtol=0, atol=1e-9)


@thorough
@given(PAIRS)
def test_lamp_rouge_is_rouge_score(texts: list[tuple[str, str]]) -> None:
    check(LAMP, reference_lamp, texts)


@thorough
@given(PAIRS)
def test_prlm_is_rouge_chinese_and_nltk(texts: list[tuple[str, str]]) -> None:
    check(PRLM, reference_prlm, texts)


@thorough
@given(PAIRS)
def test_lamp_bleu_is_sacrebleu(texts: list[tuple[str, str]]) -> None:
    answers, golds = map(list, zip(*texts, strict=True))
    sacrebleu = packages().sacrebleu
    statistics = registered()["bleu@lamp"].statistics(Pairs(answers, golds))
    assert statistics.tolist() == sacrebleu._extract_corpus_statistics(answers, [golds])
    expected = sacrebleu.corpus_score(answers, [golds]).score
    assert value("bleu@lamp", Pairs(answers, golds)) == pytest.approx(expected, rel=0, abs=1e-9)


@pytest.mark.parametrize("size", [400, 3000])
def test_long_texts(size: int) -> None:
    draw = np.random.default_rng(size)
    vocabulary = ["the", "of", "Cat.", "model?", "北京大学", "state-of-the-art", "1,000"] + [
        f"w{i}" for i in range(300)
    ]
    texts = [(" ".join(draw.choice(vocabulary, size)), " ".join(draw.choice(vocabulary, 60))) for _ in range(2)]
    check(LAMP, reference_lamp, texts)
    check(PRLM, reference_prlm, texts)


@thorough
@given(TEXTS)
def test_jieba_cut_is_jieba(text: str) -> None:
    assert _tokens.jieba_cut(text.lower()) == list(packages().jieba.cut(text.lower()))


def test_words_of_jiebas_dictionary_without_chinese_characters() -> None:
    found = {word for word, count in packages().jieba.FREQ.items() if count and len(word) > 1 and word.islower()}
    assert {word for word in found if not any("\u4e00" <= letter <= "\u9fd5" for letter in word)} == {"c#", "c++"}


@thorough
@given(st.lists(st.integers(0, 4), max_size=70), st.lists(st.integers(0, 4), max_size=70))
def test_lcs_is_the_table_of_dynamic_programming(first: list[int], second: list[int]) -> None:
    row = [0] * (len(second) + 1)
    for item in first:
        above = row[:]
        for index, other in enumerate(second):
            row[index + 1] = above[index] + 1 if item == other else max(above[index + 1], row[index])
    assert lcs_length(first, second) == lcs_length(second, first) == row[-1]


def brute_force(answer: list[int], gold: list[int]) -> list[int]:
    grams = [
        [Counter(zip(*[side[at:] for at in range(n)], strict=False)) for side in (answer, gold)] for n in (1, 2, 3, 4)
    ]
    return [(ours & theirs).total() for ours, theirs in grams]


@thorough
@given(st.lists(st.tuples(*[st.lists(st.integers(0, 3) | st.integers(0, 10**6), max_size=12)] * 2), min_size=1))
def test_clipped_matches(sides: list[tuple[list[int], list[int]]]) -> None:
    arrays = [(np.array(answer, dtype=np.int64), np.array(gold, dtype=np.int64)) for answer, gold in sides]
    assert clipped_matches(arrays).tolist() == [brute_force(*pair) for pair in sides]


def test_clipped_matches_of_many_chunks_and_of_alphabets_beyond_63_bits() -> None:
    draw = np.random.default_rng(0)
    arrays = [(draw.integers(0, 9, 900), draw.integers(0, 9, 500)) for _ in range(12)]
    arrays.insert(5, (np.arange(40_000), np.arange(20_000, 60_000)))
    expected = [brute_force(answer.tolist(), gold.tolist()) for answer, gold in arrays]
    assert clipped_matches(arrays).tolist() == expected


@thorough
@given(st.lists(st.tuples(st.sampled_from([*LABELS, " [1]\n", "[3]", "", "sci"]), st.sampled_from(LABELS)), min_size=1))
def test_classification_is_scikit_learn(texts: list[tuple[str, str]]) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    answers, golds = zip(*texts, strict=True)
    predicted = [LABELS.index(answer.strip()) if answer.strip() in LABELS else -1 for answer in answers]
    true = [LABELS.index(gold) for gold in golds]
    f1 = f1_score(true, predicted, average="macro", labels=range(len(LABELS)), zero_division=0)
    pairs = Pairs(answers, golds, LABELS)
    assert value("accuracy@lamp", pairs) == pytest.approx(accuracy_score(true, predicted), rel=0, abs=1e-9)
    assert value("f1@lamp", pairs) == pytest.approx(f1, rel=0, abs=1e-9)


@pytest.mark.parametrize("name", ["accuracy@lamp", "f1@lamp", "mae@lamp", "rmse@lamp"])
def test_golds_and_labels_that_cannot_be_used(name: str) -> None:
    labels = LABELS if name in ("accuracy@lamp", "f1@lamp") else STARS
    with pytest.raises(DataError, match=r"'drama'"):
        registered()[name].statistics(Pairs([labels[0]], ["drama"], labels))
    with pytest.raises(DataError, match="label list"):
        registered()[name].statistics(Pairs(["1"], ["1"]))


def test_errors_of_ratings() -> None:
    answers = ["4", " 5.0\n", "four", "nan", "-inf", "", "2 stars", "1e0"]
    golds = ["4", "3", "1", "2", "4", "3", "3", "5"]
    expected = np.array([0, 2, 4, 3, 3, 2, 2, 4])
    pairs = Pairs(answers, golds, STARS)
    assert registered()["mae@lamp"].statistics(pairs)[:, 0].tolist() == expected.tolist()
    assert value("mae@lamp", pairs) == expected.mean()
    assert value("rmse@lamp", pairs) == pytest.approx(math.sqrt((expected**2).mean()), rel=0, abs=1e-12)
    assert value("rmse@lamp", Pairs(["9" * 200], ["1"], STARS)) == math.inf


def pairs_for(name: str, size: int = 40) -> Pairs:
    draw = np.random.default_rng(1)
    if name.split("@")[0] in ("mae", "rmse"):
        return Pairs(draw.choice([*STARS, "?"], size).tolist(), draw.choice(STARS, size).tolist(), STARS)
    if name.split("@")[0] in ("accuracy", "f1"):
        return Pairs(draw.choice([*LABELS, "?"], size).tolist(), draw.choice(LABELS, size).tolist(), LABELS)
    texts = [" ".join(draw.choice(["a", "b", "the", "cat", "sat", "."], 8)) for _ in range(2 * size)]
    return Pairs(texts[:size], texts[size:])


@pytest.mark.parametrize("name", sorted(registered()))
def test_statistics_sum_and_resample(name: str) -> None:
    metric, pairs = registered()[name], pairs_for(name)
    assert metric.name == name
    assert metric.higher_is_better == (name not in ("mae@lamp", "rmse@lamp"))
    statistics = metric.statistics(pairs)
    parts = [Pairs(pairs.answers[at : at + 10], pairs.golds[at : at + 10], pairs.labels) for at in (0, 10, 20, 30)]
    np.testing.assert_array_equal(np.concatenate([metric.statistics(part) for part in parts]), statistics)
    weights = np.random.default_rng(2).multinomial(len(pairs), [1 / len(pairs)] * len(pairs), size=(5, 7))
    resampled = metric.value(weights @ statistics)
    assert resampled.shape == (5, 7)
    chosen = np.repeat(np.arange(len(pairs)), weights[3, 4])
    again = Pairs([pairs.answers[i] for i in chosen], [pairs.golds[i] for i in chosen], pairs.labels)
    assert float(resampled[3, 4]) == pytest.approx(value(name, again), rel=1e-12)
    if metric.is_mean:
        assert value(name, pairs) == pytest.approx(statistics[:, 0].mean(), rel=1e-12)
    assert metric.statistics(Pairs([], [], pairs.labels)).shape == (0, statistics.shape[1])


def test_a_text_is_cut_once_for_all_metrics_of_a_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[str] = []
    monkeypatch.setattr(_tokens, "jieba_cut", lambda text: cut.append(text) or text.split())
    pairs = Pairs(["a b", "c", "a b"], ["a b", "d", "c"])
    for name in PRLM:
        registered()[name].statistics(pairs)
    assert sorted(cut) == ["a b", "c", "d"]


def test_imports_nothing_heavy_and_prints_nothing() -> None:
    program = """
import sys
import prlm_bench.metrics as metrics
found = {}
metrics.prlm_bench_register_metrics(lambda name, factory, **_: found.__setitem__(name, factory))
made = {name: factory() for name, factory in found.items()}
assert not {"jieba", "sacrebleu", "ir_measures"} & set(sys.modules)
for metric in made.values():
    labels = "12" if metric.name.split("@")[0] in ("accuracy", "f1", "mae", "rmse") else ()
    metric.statistics(metrics.Pairs(["1"] if labels else ["\u5317\u4eac\u5927\u5b66 1."], ["2"], labels))
assert {"jieba", "sacrebleu"} <= set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_metrics_that_cut_chinese_words_require_jieba() -> None:
    required: dict[str, Any] = {}
    metrics.prlm_bench_register_metrics(lambda name, factory, requires=None: required.__setitem__(name, requires))
    jieba = {"jieba": "prlm-bench[prlm-metrics]"}
    assert {name: found for name, found in required.items() if found} == dict.fromkeys(PRLM[:3], jieba)
    assert PluginHost().registry.get("metric", "rouge-1@prlm").requires == jieba


def test_without_jieba_only_chinese_words_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    _tokens._jieba.cache_clear()
    assert _tokens.prlm_words("A cat, it sat.") == ["a", "cat", ",", "it", "sat", "."]
    with pytest.raises(MissingDependencyError, match="needs the package 'jieba'") as caught:
        _tokens.prlm_words("北京大学")
    assert caught.value.hint == "pip install 'prlm-bench[prlm-metrics]'"


def test_retrieval_scores() -> None:
    ranked = [["a", "b", "a", "c"], [], ["x", "y"], ["10", "2", "1"]]
    relevant = [frozenset("bc"), frozenset("a"), frozenset(), frozenset(["1", "absent"])]
    found = retrieval_scores(ranked, relevant, ["nDCG@2", "R@3", "RR", "nDCG@5"])
    assert list(found) == ["nDCG@2", "R@3", "RR", "nDCG@5"]
    gain, ideal = 1 / math.log2(3), 1 + 1 / math.log2(3)
    expected = {
        "nDCG@2": [gain / ideal, 0.0, math.nan, 0.0],
        "R@3": [1.0, 0.0, math.nan, 0.5],
        "RR": [0.5, 0.0, math.nan, 1 / 3],
        "nDCG@5": [(gain + 0.5) / ideal, 0.0, math.nan, 0.5 / ideal],
    }
    for name, numbers in expected.items():
        assert found[name] == pytest.approx(numbers, abs=1e-9, nan_ok=True)
    assert retrieval_scores([[]], [frozenset("a")], ["R@1"]) == {"R@1": [0.0]}


@pytest.mark.parametrize("name", ["nDCG@0", "nDCG@-1", "nDCG@x", "R", "IPrec@1", "alpha_nDCG@5"])
def test_retrieval_measures_that_cannot_be_computed(name: str) -> None:
    with pytest.raises(SpecError, match="nDCG@5"):
        retrieval_scores([["a"]], [frozenset("a")], [name])
    with pytest.raises(UnknownNameError, match="ndcg"):
        retrieval_scores([["a"]], [frozenset("a")], ["ndcg@5"])


# Measured with the defining packages: shared/data/README.md.
ECHO = {
    ("LaMP_7", ":"): (0.46371, 0.19929, 0.40848, 0.48576, 0.21274, 0.40801, 0.47170),
    ("LaMP_4", "article:"): (0.11283, 0.02126, 0.09557, 0.11298, 0.01719, 0.09080, 0.16067),
    ("LaMP_4_time_usgov", "article:"): (0.15687, 0.04845, 0.12302, 0.17333, 0.04935, 0.11862, 0.13427),
    ("LaMP_5_time_arxiv", "paper:"): (0.08882, 0.03667, 0.06471, 0.12790, 0.04004, 0.06420, 0.05465),
}


@pytest.mark.parametrize("marked", sorted(ECHO))
def test_real_sets_give_the_known_numbers(marked: tuple[str, str]) -> None:
    folder = DATA / marked[0] / "dev"
    if not folder.is_dir():
        pytest.skip(f"needs {marked[0]}, which is not part of the project: no folder ../shared/data beside it")
    questions = json.loads((folder / "dev_questions.json").read_text(encoding="utf-8"))
    outputs = json.loads((folder / "dev_outputs.json").read_text(encoding="utf-8"))["golds"]
    golds = {gold["id"]: gold["output"] for gold in outputs}
    answers = [question["input"].split(marked[1], 1)[1].strip() for question in questions]
    pairs = Pairs(answers, [golds[question["id"]] for question in questions])
    assert tuple(round(value(name, pairs), 5) for name in LAMP + PRLM) == ECHO[marked]
