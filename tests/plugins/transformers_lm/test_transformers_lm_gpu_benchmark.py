"""The benchmark for GPUs goes through all its parts on a CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_every_part_works_without_a_gpu(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--tiny", "--output", str(output)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text())
    assert found["failed"] == {}
    for name, told in found["checks"].items():
        same, _, count = told.partition(" of ")
        assert same == count != "0", name
    assert len(found["checks"]) == 5
    assert {"plain 2", "ordinary", "static 12 first", "static 12"} <= found["tokens_per_second"].keys()
    assert {"best static to best plain", "grpo"} <= found["ratios"].keys()


def test_without_a_gpu_it_says_so() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "torch finds no NVIDIA GPU here: --tiny" in done.stderr
