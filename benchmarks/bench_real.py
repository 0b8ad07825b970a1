"""A real model on a CPU: `prlm-bench run` with the generator `transformers` against lm_eval's `hf`, whole commands.

    python benchmarks/bench_real.py --model FOLDER [--data FOLDER] [--questions 96] [--rounds 1] [--batch 8 16]

Both sides get the same prompts (bm25, k = 4), threads, precision and new tokens, and load the model within their time,
in a process and a cache folder of their own; sides take turns. Without `--data` and `PRLM_BENCH_DATA` the questions are
those of mini-LaMP. Prints JSON: seconds of each side, the ratio of lm_eval's best batch size to ours at the same
precision and to our `dtype=auto`, and the share of answers that are the same. Ratios of CPU seconds hold on a busy
machine too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from prlm_bench.threads import core_count, thread_count

ROOT = Path(__file__).resolve().parents[1]
OURS, AUTO = "transformers float32", "transformers auto"


def sides(model: str, tokens: int, questions: int, batches: Sequence[int]) -> dict[str, str]:
    """The generator of each side."""
    ours = f"transformers:model={model},max_new_tokens={tokens},device=cpu,dtype="
    theirs = f"lm-eval:backend=hf,pretrained={model},max_new_tokens={tokens},device=cpu,dtype=float32,chunk={questions}"
    return {OURS: f"{ours}float32", AUTO: f"{ours}auto"} | {
        f"lm_eval hf float32, batch {size}": f"{theirs},batch_size={size}" for size in batches
    }


def run(generator: str, where: Sequence[str]) -> tuple[float, float, dict[str, str]]:
    """Wall and CPU seconds of a command, and its answers by question."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "prlm_bench", "run", *where, "--generator", generator, "--no-controls"]
        command += ["--retriever", "bm25", "-k", "4", "--reasoner", "direct:protocol=chat", "--results", f"{folder}/r"]
        environment = os.environ | {
            "PRLM_BENCH_CACHE": f"{folder}/cache",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}",
            "HF_HUB_OFFLINE": "1",
        }
        start, used = time.perf_counter(), cpu_seconds()
        ended = subprocess.run(command, env=environment, capture_output=True, text=True)
        seconds, used = time.perf_counter() - start, cpu_seconds() - used
        if ended.returncode:
            raise SystemExit(f"{' '.join(command)}\n{ended.stderr}")
        lines = [line for path in Path(folder, "r").rglob("samples.jsonl") for line in path.read_text().splitlines()]
        samples = [json.loads(line) for line in lines]
    return seconds, used, {sample["id"]: sample["completion"] for sample in samples}


def cpu_seconds() -> float:
    """Of the processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(
    wall: Mapping[str, float], cpu: Mapping[str, float], answers: Mapping[str, Mapping[str, str]]
) -> dict[str, object]:
    theirs = [name for name in wall if name.startswith("lm_eval")]
    best, least = min(theirs, key=wall.__getitem__), min(theirs, key=cpu.__getitem__)
    mine, others = answers[OURS], answers[best]
    return {
        "seconds": {name: round(value, 1) for name, value in wall.items()},
        "cpu_seconds": {name: round(value, 1) for name, value in cpu.items()},
        "ratio_same_dtype": {"of": [best, OURS], "ratio": round(wall[best] / wall[OURS], 2)},
        "ratio_auto": {"of": [best, AUTO], "ratio": round(wall[best] / wall[AUTO], 2)},
        "ratio_same_dtype_cpu": {"of": [least, OURS], "ratio": round(cpu[least] / cpu[OURS], 2)},
        "same_answers": round(sum(mine[one] == others[one] for one in mine) / len(mine), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a folder with safetensors, or a name on the hub")
    parser.add_argument("--data", default=os.environ.get("PRLM_BENCH_DATA"), help="a folder with LaMP_7")
    parser.add_argument("--questions", type=int, default=96)
    parser.add_argument("--tokens", type=int, default=48, help="new tokens of an answer at most")
    parser.add_argument("--rounds", type=int, default=1, help="the fastest of so many counts")
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 16], help="batch sizes of lm_eval")
    options = parser.parse_args()
    where = ["--task", "lamp_7", "--data", options.data] if options.data else ["--task", "mini_lamp_7"]
    where += ["--limit", str(options.questions)]
    load = os.getloadavg()[0]
    wall: dict[str, float] = {}
    cpu: dict[str, float] = {}
    answers: dict[str, dict[str, str]] = {}
    for _ in range(options.rounds):
        for name, generator in sides(options.model, options.tokens, options.questions, options.batch).items():
            taken, used, answers[name] = run(generator, where)
            wall[name], cpu[name] = min(taken, wall.get(name, taken)), min(used, cpu.get(name, used))
            print(f"{name}: {taken:.1f} s, CPU {used:.1f} s", file=sys.stderr)
    machine = {"cores": core_count(), "threads": thread_count(), "load_before": round(load, 2)}
    versions = {name: version(name) for name in ("torch", "transformers", "lm_eval")}
    setting = {
        "questions": options.questions,
        "new_tokens": options.tokens,
        "data": "LaMP_7" if options.data else "mini",
    }
    print(json.dumps(machine | versions | setting | report(wall, cpu, answers), indent=1))


if __name__ == "__main__":
    main()
