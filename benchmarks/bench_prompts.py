"""`lamp` prompts of a grid against tokenizing every text anew for each prompt, in the same run.

    pytest benchmarks/bench_prompts.py --benchmark-only

The grid is 100 questions, two rankings (BM25 and reversed profile order) and k = 1, 2, 4, 8; the tokenizer, of T5's
kind, is trained here on the questions. Both sides build the same prompts with the same function: what differs is that
ours tokenizes the texts of a batch together, remembers them, and counts a prompt's tokens by its words. Every round
starts with an empty memory.
"""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[hf]'")

from prlm_bench_plugins.bm25 import BM25
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from prlm_bench.data import open_dataset, open_split
from prlm_bench.prompting import lamp_prompt, lamp_prompts, load_tokenizer
from prlm_bench.records import Example, Ranking
from prlm_bench.tasks import Task, TaskRegistry

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = {"LaMP_7": "lamp_7", "LaMP_4": "lamp_4", "mini-LaMP 4": "mini_lamp_4"}
ROUNDS = 3
QUESTIONS = 100
KS = (1, 2, 4, 8)
MAX_LENGTH = 512


class Anew:
    """The same tokenizer without a memory, as LaMP's code calls it."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)

    def fingerprint(self) -> str:
        return ""

    def count(self, text: str) -> int:
        return len(self._tokenizer(text)["input_ids"])

    def truncate(self, text: str, room: int) -> tuple[str, int]:
        try:
            ids = self._tokenizer(text, max_length=room, truncation=True)["input_ids"]
        except OverflowError:
            raise ValueError from None
        return self._tokenizer.batch_decode([ids], skip_special_tokens=True)[0], len(ids)


@cache
def examples(name: str, folder: Path) -> tuple[Task, list[Example]]:
    task = TaskRegistry().get(SETS[name])
    if task.synthetic:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PRLM_BENCH_CACHE", str(folder))
            dataset = open_split(task, "dev")
    elif not (DATA / name).is_dir():
        pytest.skip(f"needs {name}, which is not part of the project: no folder ../shared/data beside it")
    else:
        dataset = open_dataset(task, DATA / name, "dev", cache=folder)
    return task, next(dataset.batches(QUESTIONS))


@cache
def tokenizer_folder(name: str, folder: Path) -> Path:
    task, questions = examples(name, folder)
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=2000, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator((item.text for example in questions for item in example.profile), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    target = folder / task.name
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>").save_pretrained(target)
    return target


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def naive(task: Task, questions: list[Example], rankings: list[list[Ranking]], tokenizer: Any) -> list[str]:
    """Prompt by prompt."""
    template = task.prompts.lamp
    return [
        lamp_prompt(template, example, Ranking(ranking.items[:k]), tokenizer, MAX_LENGTH).text
        for k in KS
        for ranked in rankings
        for example, ranking in zip(questions, ranked, strict=True)
    ]


def build(task: Task, questions: list[Example], rankings: list[list[Ranking]], tokenizer: Any) -> list[str]:
    """Batch by batch, as reasoners are asked."""
    return [
        prompt.text
        for k in KS
        for ranked in rankings
        for prompt in lamp_prompts(
            task.prompts.lamp, questions, [Ranking(ranking.items[:k]) for ranking in ranked], tokenizer, MAX_LENGTH
        )
    ]


@pytest.mark.parametrize("name", list(SETS))
def test_ours(benchmark: Any, capsys: pytest.CaptureFixture[str], folder: Path, name: str) -> None:
    task, questions = examples(name, folder)
    rankings = [BM25().rank(questions, max(KS)), [Ranking(example.profile[::-1]) for example in questions]]
    target = tokenizer_folder(name, folder)
    anew = Anew(target)
    expected = naive(task, questions, rankings, anew)
    assert build(task, questions, rankings, load_tokenizer(target)) == expected
    seconds: list[float] = []

    def fresh() -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The other side before each of our rounds, so that both meet the same load of the machine."""
        start = time.perf_counter()
        naive(task, questions, rankings, anew)
        seconds.append(time.perf_counter() - start)
        return (task, questions, rankings, load_tokenizer(target)), {}

    benchmark.pedantic(build, setup=fresh, rounds=ROUNDS)
    if benchmark.stats is None:
        return
    theirs, mine = (1e6 * fastest / len(expected) for fastest in (min(seconds), benchmark.stats.stats.min))
    benchmark.extra_info["ratio"] = round(theirs / mine, 1)
    with capsys.disabled():
        print(f"\n{name}: {theirs / mine:.1f} x ({theirs:.0f} us -> {mine:.0f} us a prompt, {len(expected)} of them)")
