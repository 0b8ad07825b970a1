"""Two commands at once against one: `prlm-bench run` without options, each with folders of its own.

    python benchmarks/bench_two_runs.py [--rounds 2] [--spinning] [-- further words of `prlm-bench run`]

Prints JSON: wall and CPU seconds of one run alone and of two at once, and the ratio of the second to the fair share of
two runs on the same cores, which is twice the time of one (less where one alone leaves a core idle).
`--spinning` measures threads that spin while they wait instead, OpenMP's own default.
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
from collections.abc import Sequence
from pathlib import Path

from prlm_bench.threads import core_count, thread_count

ROOT = Path(__file__).resolve().parents[1]


def at_once(count: int, words: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall and CPU seconds until `count` runs have ended, from empty folders."""
    with tempfile.TemporaryDirectory() as folder:
        start, used = time.perf_counter(), cpu_seconds()
        running = []
        for number in range(count):
            own = {"PRLM_BENCH_CACHE": f"{folder}/cache-{number}", **environment}
            command = [sys.executable, "-m", "prlm_bench", "run", *words, "--results", f"{folder}/results-{number}"]
            running.append(
                subprocess.Popen(command, env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
        ended = [process.wait() for process in running]
        if any(ended):
            raise SystemExit("a run failed; try it by hand: prlm-bench run " + " ".join(words))
        return time.perf_counter() - start, cpu_seconds() - used


def cpu_seconds() -> float:
    """Of the processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="the fastest of so many counts")
    parser.add_argument("--spinning", action="store_true", help="threads spin while they wait")
    parser.add_argument("words", nargs="*", help="further words of the command")
    options = parser.parse_args()
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}
    if options.spinning:
        environment |= {"OMP_WAIT_POLICY": "ACTIVE", "KMP_BLOCKTIME": "200"}
    alone, both = (min(at_once(count, options.words, environment) for _ in range(options.rounds)) for count in (1, 2))
    print(
        json.dumps({
            "cores": core_count(),
            "threads": thread_count(),
            "load_before": round(os.getloadavg()[0], 2),
            "alone": {"seconds": round(alone[0], 1), "cpu_seconds": round(alone[1], 1)},
            "two_at_once": {"seconds": round(both[0], 1), "cpu_seconds": round(both[1], 1)},
            "ratio_to_twice_alone": round(both[0] / (2 * alone[0]), 2),
            "ratio_of_cpu_seconds": round(both[1] / (2 * alone[1]), 2),
        })
    )  # fmt: skip


if __name__ == "__main__":
    main()
