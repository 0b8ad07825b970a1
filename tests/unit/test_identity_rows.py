"""An edit of what decides a row makes a new row; a comment finds the old one. Each run is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RETRIEVER = """
from prlm_bench import by_score, hookimpl
from helper_of_mine import sign


class Mine:
    def rank(self, examples, k=None):
        return [by_score(e.profile, [sign() * len(item.text) for item in e.profile], k) for e in examples]


@hookimpl
def prlm_bench_register_retrievers(register):
    register("mine", Mine)
"""
HELPER = "def sign():\n    return 1\n"
METRIC = """
from prlm_bench import hookimpl
from prlm_bench.metrics import MeanMetric


def lengths(pairs):
    return [float(len(answer)) for answer in pairs.answers]


@hookimpl
def prlm_bench_register_metrics(register):
    register("length@mine", lambda: MeanMetric("length@mine", lengths))
"""
TASK = "extends: mini_lamp_7\nname: mine\nmetrics: [rouge1@lamp, length@mine]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {
        "retriever_of_mine.py": RETRIEVER,
        "helper_of_mine.py": HELPER,
        "metric_of_mine.py": METRIC,
        "mine.yaml": TASK,
    }.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def run(folder: Path, *words: str) -> tuple[int, int]:
    """How many rows were run, and how many were there already."""
    command = ["run", "--task", "mine.yaml", "--synth-users", "4", "-k", "1", "--generator", "copy", "--no-controls"]
    command += ["--plugin", "retriever_of_mine.py", "--plugin", "metric_of_mine.py", "--retriever", "mine", *words]
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH", "")])])
    environment = {**os.environ, "PYTHONPATH": path, "PRLM_BENCH_CACHE": str(folder / "cache")}
    ended = subprocess.run(
        [sys.executable, "-m", "prlm_bench", *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    counts = ended.stderr.splitlines()[-1].split()
    return int(counts[0]), int(counts[3])


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def values(folder: Path, metric: str) -> set[float]:
    summaries = (folder / "prlm-results").rglob("summary.json")
    return {json.loads(path.read_text())["metrics"][metric]["value"] for path in summaries}


def test_an_edited_metric_is_a_new_row_with_its_new_figure(folder: Path) -> None:
    assert run(folder) == (1, 0)
    (before,) = values(folder, "length@mine")
    edit(folder / "metric_of_mine.py", "def lengths", "# In characters.\ndef lengths")
    assert run(folder) == (0, 1)
    edit(folder / "metric_of_mine.py", "float(len(answer))", "2.0 * len(answer)")
    assert run(folder) == (1, 0)
    assert values(folder, "length@mine") == {before, 2 * before}


def test_an_edited_helper_of_a_plugin_is_a_new_row(folder: Path) -> None:
    assert run(folder) == (1, 0)
    edit(folder / "helper_of_mine.py", "def sign():", 'def sign():\n    """Longest first."""\n')
    assert run(folder) == (0, 1)
    edit(folder / "helper_of_mine.py", "return 1", "return -1")
    assert run(folder) == (1, 0)


def test_options_that_change_no_result_are_no_part_of_a_row(folder: Path) -> None:
    assert run(folder, "--retriever", "bm25:backend=numpy") == (2, 0)
    assert run(folder, "--retriever", "bm25:backend=auto") == (0, 2)
    assert run(folder, "--retriever", "bm25:k1=1.2") == (1, 1)
