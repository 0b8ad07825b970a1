"""A full disk: the line names what could not be written, also standard output."""

from __future__ import annotations

import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from prlm_bench_plugins._training import make_artefact

from prlm_bench.errors import PrlmBenchError

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("words", [("results", "schema"), ("prlm", "recipes", "tiny")])
def test_standard_output_on_a_full_disk_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "prlm_bench", *words], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
    assert ended.returncode == 2
    assert ended.stderr == "prlm-bench: standard output: No space left on device\n"


def test_a_training_whose_model_does_not_fit_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(folder: Path) -> dict[str, int]:
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    with pytest.raises(RuntimeError):
        make_artefact(tmp_path / "a", "sft", {}, save)
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10, 10, 0))
    with pytest.raises(PrlmBenchError, match=r"/a: cannot be written: the disk is full \(earlier checkpoints are kept"):
        make_artefact(tmp_path / "a", "sft", {}, save)
