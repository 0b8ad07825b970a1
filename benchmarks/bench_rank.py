"""`bm25` against a loop over rank_bm25.BM25Okapi on the same questions, in the same run.

    pytest benchmarks/bench_rank.py --benchmark-only

Both start from raw strings and end with every profile in order; the orders are asserted to be the same, which is why
ours breaks ties as numpy does. The loop builds an index for each question, as LaMP's code does. Every round starts
with an empty cache of indexes. Both backends are measured, numba where it is installed and its code already compiled.
`extra_info["ratio"]` is the loop's fastest time over ours.

The last test ranks the same questions in one worker process and in two, which read them from the store themselves;
`extra_info["ratio"]` is what the second process brings. On a machine with other work it is less.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prlm_bench_plugins.bm25 import BM25, Backend, compiled_index
from rank_bm25 import BM25Okapi

from prlm_bench.data import open_dataset
from prlm_bench.records import Document, Example
from prlm_bench.tasks import TaskRegistry

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ROUNDS = 5
BACKENDS: list[Backend] = ["numpy", "numba"]


def real(name: str, cache_folder: Path) -> list[Example]:
    if not (DATA / name).is_dir():
        pytest.skip(f"needs {name}, which is not part of the project: no folder ../shared/data beside it")
    dataset = open_dataset(TaskRegistry().get(name.lower()), DATA / name, "dev", cache=cache_folder)
    return [example for batch in dataset.batches(128) for example in batch]


def synthetic(users: int, questions: int) -> list[Example]:
    """Profiles of 200 texts of 60 words, drawn as the words of a language are."""
    random = np.random.default_rng(users)
    words = np.array([f"{number:x}" * (1 + number % 3) for number in range(20_000)])
    share = 1 / np.arange(1, len(words) + 1)
    share /= share.sum()

    def text() -> str:
        return " ".join(random.choice(words, 60, p=share))

    examples = []
    for user in range(users):
        profile = tuple(Document(f"{user}-{place}", text(), {}) for place in range(200))
        for question in range(questions):
            query = text()
            examples.append(Example(f"{user}/{question}", str(user), query, query, profile))
    return examples


SETS: dict[str, Callable[[Path], list[Example]]] = {
    "LaMP_7": lambda folder: real("LaMP_7", folder),
    "LaMP_4": lambda folder: real("LaMP_4", folder),
    "200 texts, 1 question": lambda folder: synthetic(40, 1),
    "200 texts, 8 questions": lambda folder: synthetic(10, 8),
}


@cache
def questions(name: str, folder: Path) -> list[Example]:
    return SETS[name](folder)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def reference(examples: list[Example]) -> list[list[Document]]:
    rankings = []
    for example in examples:
        index = BM25Okapi([item.text.split() for item in example.profile])
        rankings.append(index.get_top_n(example.query.split(), list(example.profile), n=len(example.profile)))
    return rankings


def ours(examples: list[Example], backend: Backend = "auto") -> list[list[Document]]:
    return [list(ranking.items) for ranking in BM25(ties="numpy", backend=backend).rank(examples)]


def needs(backend: Backend) -> None:
    if backend == "numba" and compiled_index() is None:
        pytest.skip("needs numba: pip install 'prlm-bench[fast]'")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", list(SETS))
def test_ours(benchmark: Any, capsys: pytest.CaptureFixture[str], folder: Path, name: str, backend: Backend) -> None:
    needs(backend)
    examples = questions(name, folder)
    benchmark.group = name
    assert ours(examples, backend) == reference(examples)
    seconds: list[float] = []

    def time_reference() -> None:
        """Before each of our rounds, so that both meet the same load of the machine."""
        start = time.perf_counter()
        reference(examples)
        seconds.append(time.perf_counter() - start)

    benchmark.pedantic(ours, (examples, backend), setup=time_reference, rounds=ROUNDS)
    if benchmark.stats is None:
        return
    theirs, mine = (1e6 * fastest / len(examples) for fastest in (min(seconds), benchmark.stats.stats.min))
    benchmark.extra_info["ratio"] = round(theirs / mine, 1)
    with capsys.disabled():
        about = f"({theirs:.0f} us -> {mine:.0f} us a question, {len(examples)} of them)"
        print(f"\n{name}, {backend}: {theirs / mine:.1f} x {about}")


@pytest.mark.parametrize("name", list(SETS))
def test_reference(benchmark: Any, folder: Path, name: str) -> None:
    benchmark.group = name
    benchmark.pedantic(reference, (questions(name, folder),), rounds=ROUNDS)


def rank_part(name: str, folder: Path, backend: Backend, part: int, parts: int) -> int:
    """In a worker process: what a retriever makes of every `parts`-th question, several times anew."""
    mine = questions(name, folder)[part::parts]
    return sum(len(ours(mine, backend)) for _ in range(8))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["LaMP_4", "200 texts, 1 question"])
def test_two_processes(
    benchmark: Any, capsys: pytest.CaptureFixture[str], folder: Path, name: str, backend: Backend
) -> None:
    needs(backend)
    benchmark.group = f"{name}, processes"
    total = 8 * len(questions(name, folder))
    seconds: dict[int, list[float]] = {1: [], 2: []}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as one, ProcessPoolExecutor(2, context) as two:

        def rank(pool: ProcessPoolExecutor, parts: int) -> None:
            start = time.perf_counter()
            work = [pool.submit(rank_part, name, folder, backend, part, parts) for part in range(parts)]
            assert sum(each.result() for each in work) == total
            seconds[parts].append(time.perf_counter() - start)

        for _ in range(2):  # workers start, read the questions and load the code
            rank(one, 1)
            rank(two, 2)
        seconds[1].clear()
        benchmark.pedantic(rank, (two, 2), setup=lambda: rank(one, 1), rounds=ROUNDS)
    if benchmark.stats is None:
        return
    ratio = min(seconds[1]) / benchmark.stats.stats.min
    benchmark.extra_info["ratio"] = round(ratio, 2)
    with capsys.disabled():
        print(f"\n{name}, {backend}: two processes {ratio:.2f} x one")
