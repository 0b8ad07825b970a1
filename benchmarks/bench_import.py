"""Import and reading: MB/s against `json.load` of the whole file, peak memory, examples/s.

PRLM_BENCH_IMPORT_MB sets the size of the generated files (200 by default). Run with
`pytest benchmarks/bench_import.py --benchmark-only -s`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prlm_bench.data import Dataset, open_dataset
from prlm_bench.tasks import TaskRegistry

MEGABYTES = int(os.environ.get("PRLM_BENCH_IMPORT_MB", "200"))
TASKS = {"articles": "lamp_4_time", "tweets": "lamp_7"}
#: The most memory that an import of any size may take, in MB.
LIMIT = 500


def articles(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Time split: few users, long items, profiles that grow from question to question."""
    pool = [" ".join(rng.choices(WORDS, k=90)) for _ in range(2000)]
    serial = 0
    while True:
        user, items = f"u{serial}", []
        for _ in range(rng.randint(10, 60)):
            for _ in range(rng.randint(1, 8)):
                serial += 1
                text = f"{serial} {rng.choice(pool)}"
                items.append({"id": f"{user}{serial}", "title": text[:60], "text": text, "date": "2015-03-02"})
            question = f"Generate a headline for the following article: {rng.choice(pool)}"
            yield {"id": f"q{serial}", "user_id": user, "input": question, "profile": list(items)}


def tweets(rng: random.Random) -> Iterator[dict[str, Any]]:
    """User split: every question its own user, short items, none of them repeated."""
    pool = [" ".join(rng.choices(WORDS, k=14)) for _ in range(2000)]
    serial = 0
    while True:
        items = []
        for _ in range(rng.randint(5, 30)):
            serial += 1
            items.append({"text": f"{rng.choice(pool)} {serial}", "id": f"{serial}"})
        question = f"Paraphrase the following tweet without any explanation before or after it: {rng.choice(pool)}"
        yield {"id": f"q{serial}", "input": question, "profile": items}


WORDS = [f"{a}{b}{c}" for a in "bdklmst" for b in ("a", "ee", "ou", "é", "\\n") for c in ("n", "rd", "'s", "—", ' "x"')]
SHAPES = {"articles": articles, "tweets": tweets}


@pytest.fixture(scope="module", params=list(SHAPES))
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The shape, and the data root of a generated file of the size asked for."""
    root = tmp_path_factory.mktemp(request.param)
    file = root / "dev" / "dev_questions.json"
    file.parent.mkdir()
    written = 0
    with file.open("w", encoding="utf-8") as out:
        for question in SHAPES[request.param](random.Random(0)):
            text = json.dumps(question)
            out.write((", " if written else "[") + text)
            written += len(text)
            if written >= MEGABYTES * 1_000_000:
                break
        out.write("]")
    yield request.param, root
    shutil.rmtree(root)


MEASURE = """
import sys, time
from pathlib import Path
started = time.perf_counter()
if sys.argv[1] == "json":
    import json
    with open(Path(sys.argv[2], "dev", "dev_questions.json"), encoding="utf-8") as file:
        json.load(file)
else:
    from prlm_bench.data import open_dataset
    from prlm_bench.tasks import TaskRegistry
    dataset = open_dataset(TaskRegistry().get(sys.argv[3]), Path(sys.argv[2]), "dev", cache=Path(sys.argv[2], "cache"))
    if sys.argv[1] == "read":
        for batch in dataset.batches(64):
            pass
elapsed = time.perf_counter() - started
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(elapsed, int(peak) / 1024)
"""


def measured(what: str, root: Path, shape: str) -> tuple[float, float]:
    """Seconds and peak memory in MB of a process that imports, reads, or loads the file with `json`."""
    command = [sys.executable, "-c", MEASURE, what, str(root), TASKS[shape]]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(printed[0]), float(printed[1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_import(benchmark: Any, data: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    shape, root = data
    size = (root / "dev" / "dev_questions.json").stat().st_size / 1e6
    plain, plain_peak = measured("json", root, shape)
    shutil.rmtree(root / "cache", ignore_errors=True)
    seconds, peak = benchmark.pedantic(measured, ("import", root, shape), rounds=1)
    _, read_peak = measured("read", root, shape)
    figures = {
        "MB": round(size),
        "import MB/s": round(size / seconds, 1),
        "json.load MB/s": round(size / plain, 1),
        "ratio": round(plain / seconds, 2),
        "import peak MB": round(peak),
        "reading peak MB": round(read_peak),
        "json.load peak MB": round(plain_peak),
    }
    benchmark.extra_info.update(figures)
    with capsys.disabled():
        print(f"\n{shape}: {figures}")
    assert peak < LIMIT
    assert read_peak < LIMIT


def test_reading(benchmark: Any, data: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    shape, root = data
    dataset = open_dataset(TaskRegistry().get(TASKS[shape]), root, "dev", cache=root / "cache")
    started = time.perf_counter()
    count, items = benchmark.pedantic(_read, (dataset,), rounds=1)
    seconds = time.perf_counter() - started
    figures = {"examples/s": round(count / seconds), "items/s": round(items / seconds)}
    benchmark.extra_info.update(figures)
    with capsys.disabled():
        print(f"\n{shape}: {figures}")


def _read(dataset: Dataset) -> tuple[int, int]:
    count = items = 0
    for batch in dataset.batches(64):
        count += len(batch)
        items += sum(len(example.profile) for example in batch)
    return count, items
