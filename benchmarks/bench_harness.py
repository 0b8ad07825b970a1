"""What the harness itself costs: a run whose retriever and generator do nothing, and the start of the command line.

    pytest benchmarks/bench_harness.py --benchmark-only

The run goes through everything a real one goes through: reading examples, prompts, parsing, the journal, measures of
retrieval, metrics that cost little, and the result files. Nothing is taken off its time, so the microseconds of
processor time a sample are an upper bound of the harness's own cost; 200 are allowed. Opening the data, made
and imported once, is not part of it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from prlm_bench.host import PluginHost
from prlm_bench.running import Outcome, RunConfig, execute, prepare_tasks

LIMIT = 200
ROUNDS = 5
#: Seconds that a command may take from its start to its end.
COMMANDS = {"--help": 0.5, "list tasks": 1.0}
IDLE = """
from prlm_bench import Completion, Ranking, hookimpl

class First:
    '''The profile's first items, as they stand.'''

    def fingerprint(self):
        return ""

    def rank(self, examples, k=None):
        return [Ranking(example.profile[:k], (0.0,) * len(example.profile[:k])) for example in examples]

class Same:
    '''One answer for all.'''

    tokenizer = None

    def fingerprint(self):
        return ""

    def generate(self, prompts):
        return ((index, Completion("[1]")) for index in range(len(prompts)))

@hookimpl
def prlm_bench_register_retrievers(register):
    register("first", First)

@hookimpl
def prlm_bench_register_generators(register):
    register("same", Same)
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PluginHost:
    monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "idle.py").write_text(IDLE)
    return PluginHost([str(tmp_path / "idle.py")])


@pytest.mark.parametrize("task", ["mini_lamp_1", "mini_lamp_3"])
def test_run(benchmark: Any, capsys: pytest.CaptureFixture[str], host: PluginHost, tmp_path: Path, task: str) -> None:
    study = RunConfig(tasks=[task], retrievers=["first"], generators=["same"], k=[4], controls=False, synth_users=500)
    results = tmp_path / "results"
    samples = sum(len(bench.ids) * len(bench.plan.cells) for bench in prepare_tasks(study, host))

    def fresh() -> tuple[tuple[Any, ...], dict[str, Any]]:
        shutil.rmtree(results, ignore_errors=True)
        return (study, host, results), {"tasks": prepare_tasks(study, host)}

    processor: list[float] = []

    def run(*arguments: Any, **options: Any) -> Outcome:
        start = time.process_time()
        outcome = execute(*arguments, **options)
        processor.append(time.process_time() - start)
        return outcome

    outcome = benchmark.pedantic(run, setup=fresh, rounds=ROUNDS)
    assert len(outcome.finished) == 1
    assert not outcome.failed
    if benchmark.stats is None:
        return
    cost, wall = (1e6 * seconds / samples for seconds in (min(processor), benchmark.stats.stats.min))
    benchmark.extra_info |= {"microseconds_a_sample": round(cost, 1), "limit": LIMIT}
    with capsys.disabled():
        print(f"\n{task}: {cost:.0f} us a sample ({wall:.0f} by the clock, {LIMIT} allowed), {samples} samples")


@pytest.mark.parametrize("words", list(COMMANDS))
def test_start(benchmark: Any, capsys: pytest.CaptureFixture[str], words: str) -> None:
    command = [sys.executable, "-m", "prlm_bench", *words.split()]

    def run() -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start

    run()  # once for the files' sake
    benchmark.pedantic(run, rounds=ROUNDS)
    if benchmark.stats is None:
        return
    seconds = benchmark.stats.stats.min
    benchmark.extra_info["limit"] = COMMANDS[words]
    with capsys.disabled():
        print(f"\nprlm-bench {words}: {seconds:.2f} s, {COMMANDS[words]} s allowed")
