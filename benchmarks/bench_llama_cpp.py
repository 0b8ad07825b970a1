"""The generator `llama-cpp` against llama.cpp's own server behind `openai-api`, in the same run.

    pytest benchmarks/bench_llama_cpp.py --benchmark-only

SmolLM2 answers questions of mini-LaMP with four items by BM25, at the same slots, window and threads, in turns. Both
sides build the prompts' text in advance and tokenize within their time. `extra_info` has seconds and tokens a second of
each side; `ratio` is the server's time over ours.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
pytest.importorskip("xllamacpp", reason="needs xllamacpp: pip install 'prlm-bench[llama-cpp]'")
pytest.importorskip("gguf", reason="needs gguf: pip install 'prlm-bench[llama-cpp]'")

from prlm_bench_plugins._hf import ModelError, find_gguf

from prlm_bench import Prompt
from prlm_bench.data import open_split
from prlm_bench.files import cache_root
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Generator
from prlm_bench.running import Components

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from support.llama_server import serving

PROMPTS = int(os.environ.get("PRLM_BENCH_PROMPTS", "32"))
MAX_NEW_TOKENS, SLOTS, WINDOW, THREADS, ROUNDS = 32, 4, 1024, 2, 2


def answer(generator: Generator, prompts: Sequence[Prompt]) -> tuple[float, int]:
    """Seconds, and tokens written."""
    start = time.perf_counter()
    tokens = sum(completion.tokens or 0 for _, completion in generator.generate(prompts))
    return time.perf_counter() - start, tokens


def test_against_llama_cpps_server(benchmark: Any) -> None:
    try:
        model = find_gguf("smollm2")
    except ModelError as error:
        pytest.skip(str(error))
    assert model is not None
    host = PluginHost()
    dataset = open_split(host.tasks.get("mini_lamp_7"), "dev", synth_users=PROMPTS)
    context = Components(host, dataset, cache_root()).context(0)
    examples = next(dataset.batches(PROMPTS + SLOTS))
    rankings = context.build("retriever", "bm25").rank(examples, 4)
    rankings = [type(ranking)(ranking.items[:4], ranking.scores[:4]) for ranking in rankings]
    with serving(model, SLOTS, WINDOW, THREADS) as server:
        served = server.spec(max_tokens=MAX_NEW_TOKENS, concurrency=SLOTS)
        own = {"name": "llama-cpp", "model": "smollm2", "max_new_tokens": MAX_NEW_TOKENS, "window": WINDOW}
        sides = {
            "llama-cpp": context.build("generator", {**own, "slots": SLOTS, "threads": THREADS}),
            "server": context.build("generator", served),
        }
        prompts = list(
            context.build("reasoner", "direct:protocol=chat").prompts(examples, rankings, sides["llama-cpp"])
        )
        for generator in sides.values():
            answer(generator, prompts[PROMPTS:])  # loads
        best = dict.fromkeys(sides, (float("inf"), 0))
        for _ in range(ROUNDS):
            for name, generator in sides.items():
                # Another prompt in each slot, so that neither side finds the answers of its last round.
                answer(generator, prompts[PROMPTS:])
                best[name] = min(best[name], answer(generator, prompts[:PROMPTS]))
    benchmark.pedantic(lambda: None, rounds=1)
    seconds = {name: round(found, 1) for name, (found, _) in best.items()}
    rates = {name: round(tokens / found, 1) for name, (found, tokens) in best.items()}
    ratio = round(best["server"][0] / best["llama-cpp"][0], 2)
    benchmark.extra_info |= {"n": len(prompts) - SLOTS, "seconds": seconds, "tokens_per_second": rates, "ratio": ratio}
    print(benchmark.extra_info)
    # This only guards against falling back, on a busy machine too.
    assert ratio >= 0.8, benchmark.extra_info
