"""Three steps of GRPO on a made model of each architecture, and a hundred on a pretrained one."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")

from prlm_bench_plugins._training import read_log
from prlm_bench_plugins.prlm import _grpo
from prlm_bench_plugins.prlm._grpo import make_policy
from prlm_bench_plugins.prlm._rollout import can_repeat_cache
from prlm_bench_plugins.prlm._tuning import load_model
from support.prlm_shop import ARCHITECTURES, make_causal, settings, training_context

from prlm_bench import Sample

#: `train` puts another in its place.
REWARDS = {"accuracy": 1.0}


class Length:
    """Longer completions are better: made models have no other merits."""

    def score(self, samples: Sequence[Sample]) -> list[float]:
        return [float(len(sample.completion.text)) for sample in samples]


def train(folder: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, task: str) -> list[dict[str, Any]]:
    """The log's rows of a training that rewards length."""
    monkeypatch.setattr(_grpo, "build_rewards", lambda *_: {"length": (Length(), 1.0)})
    made = make_policy(training_context(content, folder, task))
    assert made.manifest["files"]
    return [row for row in read_log(made.folder) if "loss" in row]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_three_steps(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_causal(tmp_path / "base", kind)
    rows = train(
        tmp_path, settings(base, policy__steps=3, policy__every=3, policy__rewards=REWARDS), monkeypatch, "mini_lamp_4"
    )
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(math.isfinite(row["grad_norm"]) for row in rows) and any(row["grad_norm"] > 0 for row in rows)
    assert can_repeat_cache(load_model(str(base))[0]) == (kind not in ("Lfm2", "Qwen3_5"))


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("smollm2")
def test_a_hundred_steps_on_a_pretrained_model_stay_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bf16, with rewards that are equal in some groups: NaN appeared at step 7 of such a training on a GPU."""
    changes = {"steps": 100, "epochs": 50, "every": 50, "batch": 1, "group": 2, "judged": 2, "learning_rate": 1e-6}
    content = settings("smollm2", k=1, precision="bf16", max_completion=12, policy__rewards=REWARDS)
    content["policy"] |= changes
    rows = train(tmp_path, content, monkeypatch, "mini_lamp_7")
    assert [row["step"] for row in rows] == list(range(1, 101))
    assert all(math.isfinite(row["grad_norm"]) and math.isfinite(row["loss"]) for row in rows)
    assert any(row["groups/without_spread"] == 1 for row in rows) and any(row["grad_norm"] > 0 for row in rows)
