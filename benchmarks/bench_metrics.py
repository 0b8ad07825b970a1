"""Each protocol against the packages that define it, called pair by pair, in the same run.

    pytest benchmarks/bench_metrics.py --benchmark-only

The answers are echoes of the query. Both sides start every round cold: no text has been cut before, and sacreBLEU's
own memory of lines is emptied. `extra_info["ratio"]` is the reference's fastest time over ours.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from prlm_bench import metrics

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MARKERS = {"LaMP_7": ":", "LaMP_4": "article:"}
ROUNDS = 5

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import jieba
    import sacrebleu
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rouge_chinese import Rouge
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
    from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp

    jieba.setLogLevel("CRITICAL")
    jieba.initialize()

Texts = tuple[list[str], list[str]]


@cache
def texts(name: str) -> Texts:
    folder = DATA / name / "dev"
    if not folder.is_dir():
        pytest.skip(f"needs {name}, which is not part of the project: no folder ../shared/data beside it")
    questions = json.loads((folder / "dev_questions.json").read_text(encoding="utf-8"))
    outputs = json.loads((folder / "dev_outputs.json").read_text(encoding="utf-8"))["golds"]
    golds = {gold["id"]: gold["output"] for gold in outputs}
    answers = [question["input"].split(MARKERS[name], 1)[1].strip() for question in questions]
    return answers, [golds[question["id"]] for question in questions]


def reference_lamp(answers: list[str], golds: list[str]) -> list[float]:
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    scores = [scorer.score(gold.strip(), answer.strip()) for answer, gold in zip(answers, golds, strict=True)]
    means = [sum(score[kind].fmeasure for score in scores) / len(scores) for kind in ("rouge1", "rouge2", "rougeL")]
    return [*means, sacrebleu.corpus_bleu(answers, [golds], force=True).score]


def reference_prlm(answers: list[str], golds: list[str]) -> list[float]:
    rouge, smoothing = Rouge(), SmoothingFunction().method3
    rows = []
    for answer, gold in zip(answers, golds, strict=True):
        answer, gold = answer.lower(), gold.lower()
        scores = rouge.get_scores(" ".join(jieba.cut(answer)), " ".join(jieba.cut(gold)))[0]
        bleu = sentence_bleu([list(gold)], list(answer), smoothing_function=smoothing)
        rows.append([*(scores[kind]["f"] for kind in ("rouge-1", "rouge-2", "rouge-l")), bleu])
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def ours(names: list[str], answers: list[str], golds: list[str]) -> list[float]:
    factories: dict[str, Callable[[], metrics.Metric]] = {}
    metrics.prlm_bench_register_metrics(lambda name, factory, **_: factories.__setitem__(name, factory))
    pairs = metrics.Pairs(answers, golds)
    found = [factories[name]() for name in names]
    return [float(metric.value(metric.statistics(pairs).sum(axis=0))) for metric in found]


PROTOCOLS: dict[str, tuple[list[str], Callable[[list[str], list[str]], list[float]]]] = {
    "lamp": (["rouge1@lamp", "rouge2@lamp", "rougeL@lamp", "bleu@lamp"], reference_lamp),
    "prlm": (["rouge-1@prlm", "rouge-2@prlm", "rouge-l@prlm", "bleu-4@prlm"], reference_prlm),
}


def cold() -> None:
    Tokenizer13a.__call__.cache_clear()
    TokenizerRegexp.__call__.cache_clear()


def fastest(function: Callable[..., Any], *arguments: Any) -> float:
    seconds = []
    for _ in range(ROUNDS):
        cold()
        start = time.perf_counter()
        function(*arguments)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@pytest.mark.parametrize("data", list(MARKERS))
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_ours(benchmark: Any, capsys: pytest.CaptureFixture[str], protocol: str, data: str) -> None:
    names, reference = PROTOCOLS[protocol]
    answers, golds = texts(data)
    benchmark.group = f"{protocol} {data}"
    assert ours(names, answers, golds) == pytest.approx(reference(answers, golds), abs=1e-9)
    theirs = fastest(reference, answers, golds)
    benchmark.pedantic(ours, (names, answers, golds), setup=cold, rounds=ROUNDS)
    if benchmark.stats is None:
        return
    seconds = benchmark.stats.stats.min
    benchmark.extra_info["ratio"] = round(theirs / seconds, 1)
    with capsys.disabled():
        print(f"\n{protocol} on {data}: {theirs / seconds:.1f} x ({theirs * 1e3:.0f} ms -> {seconds * 1e3:.0f} ms)")


@pytest.mark.parametrize("data", list(MARKERS))
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_reference(benchmark: Any, protocol: str, data: str) -> None:
    benchmark.group = f"{protocol} {data}"
    benchmark.pedantic(PROTOCOLS[protocol][1], texts(data), setup=cold, rounds=ROUNDS)
