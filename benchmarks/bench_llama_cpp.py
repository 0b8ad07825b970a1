"""The generator `llama-cpp` against llama.cpp's own server behind `openai-api`, in the same run.

    pytest benchmarks/bench_llama_cpp.py --benchmark-only

SmolLM2 answers questions of mini-LaMP with one item by BM25, at the same slots, window and threads, in turns. Both
sides tokenize within their time. `extra_info` has wall and CPU seconds and tokens a second of each side, those of the
server with its process; `ratio` is the server's time over ours by wall clock, `ratio_cpu` by CPU seconds.
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

PROMPTS, MAX_NEW_TOKENS, SLOTS, WINDOW, THREADS, ROUNDS = 16, 32, 4, 512, 2, 2


def answer(generator: Generator, prompts: Sequence[Prompt], server: int) -> tuple[float, float, int]:
    """Wall seconds, CPU seconds of this process and the server's, and tokens written."""
    start, started = time.perf_counter(), time.process_time() + cpu_seconds(server)
    tokens = sum(completion.tokens or 0 for _, completion in generator.generate(prompts))
    return time.perf_counter() - start, time.process_time() + cpu_seconds(server) - started, tokens


def cpu_seconds(process: int) -> float:
    """CPU seconds of another process; 0 where the system does not say."""
    path = Path(f"/proc/{process}/stat")
    fields = path.read_text().rpartition(")")[2].split() if path.is_file() else []
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def test_against_llama_cpps_server(benchmark: Any) -> None:
    try:
        model = find_gguf("smollm2")
    except ModelError as error:
        pytest.skip(str(error))
    assert model is not None
    host = PluginHost()
    dataset = open_split(host.tasks.get("mini_lamp_7"), "dev", synth_users=2 * PROMPTS)
    context = Components(host, dataset, cache_root()).context(0)
    examples = next(dataset.batches(PROMPTS * ROUNDS + 1))
    rankings = context.build("retriever", "bm25").rank(examples, 1)
    rankings = [type(ranking)(ranking.items[:1], ranking.scores[:1]) for ranking in rankings]
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
        found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in sides}
        for generator in sides.values():
            answer(generator, prompts[-1:], server.process.pid)  # loads
        for number in range(ROUNDS):
            # Other prompts in each round: the server keeps what it has read of earlier ones.
            asked = prompts[number * PROMPTS : (number + 1) * PROMPTS]
            for name, generator in sides.items():
                found[name].append(answer(generator, asked, server.process.pid))
    benchmark.pedantic(lambda: None, rounds=1)
    wall, processor, tokens = ({name: sum(row[at] for row in rows) for name, rows in found.items()} for at in range(3))
    rates = {name: round(tokens[name] / wall[name], 1) for name in found}
    benchmark.extra_info |= {
        "n": PROMPTS * ROUNDS,
        "seconds": wall,
        "cpu_seconds": processor,
        "tokens_per_second": rates,
    }
    benchmark.extra_info["ratio"] = round(wall["server"] / wall["llama-cpp"], 2)
    benchmark.extra_info["ratio_cpu"] = round(processor["server"] / processor["llama-cpp"], 2)
    print(dict(benchmark.extra_info))
    # This only guards against falling back, on a busy machine too.
    assert benchmark.extra_info["ratio_cpu"] >= 0.9, benchmark.extra_info
