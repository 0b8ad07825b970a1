"""Questions a second by Lucene, whole profiles ranked, beside our own BM25 in the same run.

    pytest benchmarks/bench_lucene.py --benchmark-only

`collection` searches one index of the split with a filter for the profile. `profile` computes Lucene's formula from
Lucene's tokens: `new` analyzes every profile, `seen` finds them analyzed. Java is warm: every case has run before it
is timed. `extra_info["questions_s"]` is the fastest round.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from prlm_bench import Example
from prlm_bench.data import open_split
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Context
from prlm_bench.running import Components

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ROUNDS = 5
QUESTIONS = 500
TASKS = {"mini_lamp_4": None, "lamp_7": DATA / "LaMP_7", "lamp_4": DATA / "LaMP_4"}


@cache
def context_of(name: str) -> tuple[Context, list[Example]]:
    missing = [module for module in ("jnius", "pyserini") if find_spec(module) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}, see the extra `lucene`")
    folder = TASKS[name]
    if folder is not None and not folder.is_dir():
        pytest.skip(f"needs {folder.name}, which is not part of the project: no folder ../shared/data beside it")
    from prlm_bench._util.cache_folder import cache_root

    host = PluginHost()
    dataset = open_split(host.tasks.get(name), "dev", folder, synth_users=200)
    examples = [example for batch in dataset.batches(100, 0, QUESTIONS) for example in batch]
    return Components(host, dataset, cache_root()).context(0), examples


def forget(retriever: Any) -> None:
    retriever._counted.clear()
    retriever._analysis.tokens.cache_clear()


CASES: dict[str, tuple[str, Callable[[Any], None] | None]] = {
    "collection": ("lucene:scope=collection", None),
    "collection, rm3": ("lucene:scope=collection,rm3=true", None),
    "profile, new": ("lucene", forget),
    "profile, seen": ("lucene", None),
    "bm25": ("bm25", lambda retriever: retriever._indexes.clear() if hasattr(retriever, "_indexes") else None),
}


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("data", list(TASKS))
def test_questions_a_second(benchmark: Any, capsys: pytest.CaptureFixture[str], data: str, case: str) -> None:
    context, examples = context_of(data)
    spec, before = CASES[case]
    retriever = context.build("retriever", spec)
    for _ in range(3):
        retriever.rank(examples)
    benchmark.group = f"lucene {data}"
    setup = None if before is None else lambda: before(retriever)
    benchmark.pedantic(retriever.rank, (examples,), setup=setup, rounds=ROUNDS)
    if benchmark.stats is None:
        return
    rate = len(examples) / benchmark.stats.stats.min
    benchmark.extra_info["questions_s"] = round(rate)
    with capsys.disabled():
        print(f"\n{data}, {case}: {rate:.0f} questions/s, {len(examples)} questions")
