"""What a GPU makes of the static engine: tokens a second against plain `generate()`, steps of GRPO, and equal answers.

    python benchmarks/gpu.py [--model FOLDER] [--output FILE] [--tiny]

Needs no network and less than five minutes on a card, and writes JSON with the card's name. By default the model has
random weights and SmolLM2's shape; the prompts are random tokens, 100 to 300, with 64 new ones. `--tiny` goes through
all of it with a small model on a CPU in a minute, to see that it works; its rates say nothing.

All rates are of one run on one machine. A part that fails is one line under `failed`, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import transformers
from prlm_bench_plugins.transformers_lm._buckets import Limits
from prlm_bench_plugins.transformers_lm._decoding import Decoding
from prlm_bench_plugins.transformers_lm._engine import Request, generate_all
from prlm_bench_plugins.transformers_lm._loading import LoadedModel
from prlm_bench_plugins.transformers_lm._static_engine import StaticEngine

#: Seconds after which no further part begins.
PATIENCE = 270
#: What the parts are to reach on a card.
TARGETS = {"same rows": 10.0, "best": 20.0, "grpo": 5.0, "busy": 0.7}
SMOLLM2 = {"vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
           "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192}  # fmt: skip
SMALL = {"vocab_size": 4096, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """Of the whole benchmark."""

    prompts: int = 512
    shortest: int = 100
    longest: int = 300
    new: int = 64
    #: Rows of plain `generate()`, and of the static engine.
    plain: tuple[int, ...] = (32, 128)
    static: tuple[int, ...] = (32, 128, 512)
    questions: int = 16
    group: int = 8
    completion: int = 96


TINY = Sizes(12, 5, 12, 8, (2, 4), (2, 4, 12), 2, 2, 6)


class Benchmark:
    """One model, its prompts, and what was measured.

    Args:
        model: a folder; None for random weights.
        tiny: small sizes, on any device.
    """

    def __init__(self, model: str | None, tiny: bool) -> None:
        self.sizes = TINY if tiny else Sizes()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        self.folder, self._shape = model, SMALL if tiny else SMOLLM2
        self.loaded = self.load(self.dtype)
        rng = random.Random(0)
        size = self.loaded.model.config.vocab_size
        lengths = [rng.randrange(self.sizes.shortest, self.sizes.longest) for _ in range(self.sizes.prompts)]
        self.requests = [
            Request(number, f"prompt {number}", [rng.randrange(3, size) for _ in range(length)])
            for number, length in enumerate(lengths)
        ]
        self.start = time.perf_counter()
        self.found: dict[str, Any] = {"tokens_per_second": {}, "ratios": {}, "checks": {}, "failed": {}}

    def load(self, dtype: Any) -> LoadedModel:
        """The model, which never ends an answer by itself."""
        torch.manual_seed(0)
        library: Any = transformers
        if self.folder is not None:
            model = library.AutoModelForCausalLM.from_pretrained(self.folder, dtype=dtype)
        else:
            model = library.LlamaForCausalLM(library.LlamaConfig(**self._shape, tie_word_embeddings=True)).to(dtype)
        model.generation_config = library.GenerationConfig(pad_token_id=0)
        return LoadedModel(model.to(self.device).eval(), (), 0)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part that may fail, and is left out where the time is over."""
        print(f"{time.perf_counter() - self.start:6.1f} s  {name}", file=sys.stderr, flush=True)
        try:
            if time.perf_counter() - self.start > PATIENCE:
                raise TimeoutError("left out: the time is over")
            yield
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            self.found["failed"][name] = reason

    def clock(self, name: str, write: Callable[[], dict[int, list[int]]]) -> dict[int, list[int]]:
        """Answers, whose tokens a second are kept."""
        self._wait()
        begin = time.perf_counter()
        answers = write()
        self._wait()
        seconds = time.perf_counter() - begin
        self.found["tokens_per_second"][name] = round(sum(map(len, answers.values())) / seconds, 1)
        return answers

    def plain(self, rows: int, count: int, loaded: LoadedModel | None = None) -> dict[int, list[int]]:
        """By `generate()`, in the order of arrival."""
        model = (loaded or self.loaded).model
        answers: dict[int, list[int]] = {}
        for start in range(0, count, rows):
            some = self.requests[:count][start : start + rows]
            width = max(len(request.ids) for request in some)
            ids = torch.tensor([[0] * (width - len(one.ids)) + one.ids for one in some], device=self.device)
            mask = torch.tensor([[0] * (width - len(one.ids)) + [1] * len(one.ids) for one in some], device=self.device)
            with torch.inference_mode():
                found = model.generate(ids, attention_mask=mask, max_new_tokens=self.sizes.new, do_sample=False)
            answers |= {one.index: row for one, row in zip(some, found[:, width:].tolist(), strict=True)}
        return answers

    def engine(self, rows: int, loaded: LoadedModel | None = None, decoding: Decoding | None = None) -> StaticEngine:
        """The static engine."""
        limits = Limits(rows, None if self.device == "cuda" else 1 << 20)
        return StaticEngine(loaded or self.loaded, decoding or Decoding(self.sizes.new), limits)

    def static(self, engine: StaticEngine, count: int) -> dict[int, list[int]]:
        """By the static engine."""
        return {output.index: output.ids for output in engine.answers(iter(self.requests[:count]))}

    def ordinary(self, count: int) -> dict[int, list[int]]:
        """By the ordinary engine."""
        decoding = Decoding(self.sizes.new)
        outputs = generate_all(self.loaded, self.requests[:count], decoding, 1 << 14)
        return {output.index: output.ids for output in outputs}

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def measure_decoding(bench: Benchmark) -> None:
    """Tokens a second of each way, and how busy the card is."""
    sizes, rates = bench.sizes, bench.found["tokens_per_second"]
    answers: dict[int, list[int]] = {}
    for rows in sizes.plain:
        with bench.part(f"plain generate(), {rows} rows"):
            count = min(sizes.prompts, 4 * rows)
            answers |= bench.clock(f"plain {rows}", partial(bench.plain, rows, count))
    with bench.part("the ordinary engine"):
        bench.clock("ordinary", partial(bench.ordinary, len(bench.requests) // 2))
    for rows in sizes.static:
        with bench.part(f"static engine, {rows} rows"):
            count = sizes.prompts if rows > sizes.static[0] else min(sizes.prompts, 4 * rows)
            engine = bench.engine(rows)
            write = partial(bench.static, engine, count)
            bench.clock(f"static {rows} first", write)
            with watched(bench) as busy:
                found = bench.clock(f"static {rows}", write)
            bench.found.setdefault("busy", {})[f"static {rows}"] = busy.get("mean")
            both = [number for number in found if number in answers]
            same = sum(found[number] == answers[number] for number in both)
            bench.found["checks"][f"equal to plain, {rows} rows"] = f"{same} of {len(both)}"
            engine.pool.release()
    shared = [rows for rows in sizes.plain if f"plain {rows}" in rates and f"static {rows}" in rates]
    ratios = {f"static {rows} to plain {rows}": rates[f"static {rows}"] / rates[f"plain {rows}"] for rows in shared}
    plain = [rate for name, rate in rates.items() if name.startswith("plain")]
    static = [rate for name, rate in rates.items() if name.startswith("static")]
    if plain and static:
        ratios["best static to best plain"] = max(static) / max(plain)
    bench.found["ratios"] |= {name: round(ratio, 2) for name, ratio in ratios.items()}


@contextmanager
def watched(bench: Benchmark) -> Iterator[dict[str, float]]:
    """The mean utilization of the card within a block, from 0 to 1; nothing where no tool tells."""
    found: dict[str, float] = {}
    seen: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            value = utilization() if bench.device == "cuda" else None
            if value is None:
                return
            seen.append(value)
            over.wait(0.1)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        if seen:
            found["mean"] = round(sum(seen) / len(seen), 3)


def utilization() -> float | None:
    """The share of the last moment in which the card computed; by nvidia-ml-py, else by nvidia-smi."""
    try:
        return torch.cuda.utilization() / 100
    except Exception:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        try:
            output = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
            return float(output.split()[0]) / 100
        except (OSError, ValueError, IndexError, subprocess.SubprocessError):
            return None


def check_single_precision(bench: Benchmark) -> None:
    """In float32 answers equal those of `generate()`, and draws those of the ordinary engine, prompts refilled."""
    count = min(24, bench.sizes.prompts)
    with bench.part("equal answers in float32"):
        loaded = bench.load(torch.float32)
        wanted = bench.plain(count, count, loaded)
        found = bench.static(bench.engine(max(2, count // 3), loaded), count)
        bench.found["checks"]["float32: equal to generate()"] = (
            f"{sum(found[n] == wanted[n] for n in wanted)} of {count}"
        )
        decoding = Decoding(bench.sizes.new, 0.8, 0.9, 1, "seed")
        drawn = generate_all(loaded, bench.requests[:count], decoding, 1 << 14)
        wanted = {output.index: output.ids for output in drawn}
        found = bench.static(bench.engine(max(2, count // 3), loaded, decoding), count)
        same = sum(found[number] == wanted[number] for number in wanted)
        bench.found["checks"]["float32: draws of both engines equal"] = f"{same} of {count}"


def measure_grpo(bench: Benchmark) -> None:
    """Seconds of a step of GRPO: trl with its defaults, and ours, each after a first step."""
    seconds: dict[str, float] = {}
    for name in ("ours", "trl"):
        with bench.part(f"GRPO, {name}"), TemporaryDirectory() as folder:
            seconds[name] = min(grpo_steps(bench, Path(folder), ours=name == "ours")[1:])
    bench.found["grpo_seconds"] = {name: round(value, 3) for name, value in seconds.items()}
    if len(seconds) == 2:
        bench.found["ratios"]["grpo"] = round(seconds["trl"] / seconds["ours"], 2)


def grpo_steps(bench: Benchmark, folder: Path, *, ours: bool) -> list[float]:
    """Seconds of each of three steps."""
    from datasets import Dataset
    from prlm_bench_plugins.prlm._prefix_sharing import PrefixSharingGRPOTrainer, disable_telemetry
    from prlm_bench_plugins.prlm._rollout import Rollout
    from prlm_bench_plugins.prlm._tuning import silenced
    from prlm_bench_plugins.tiny import MODEL
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    sizes, on_gpu = bench.sizes, bench.device == "cuda"
    tokenizer = transformers.AutoTokenizer.from_pretrained(bench.folder or MODEL)
    words = random.Random(1).choices(["news", "reader", "headline", "writes", "about", "the"], k=4 * sizes.longest)
    rows = [{"prompt": [{"role": "user", "content": " ".join(words[n : n + sizes.shortest])}]} for n in range(64)]
    options = {"gradient_checkpointing": False} if ours else {}
    config = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=sizes.questions * sizes.group,
        num_generations=sizes.group,
        max_completion_length=sizes.completion,
        max_steps=3,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        disable_tqdm=True,
        report_to=[],
        save_strategy="no",
        **options,  # type: ignore[arg-type]
    )
    kind = disable_telemetry(PrefixSharingGRPOTrainer if ours else GRPOTrainer)
    clock = StepClock()
    with silenced():
        trainer = kind(
            model=bench.load(torch.float32).model,
            processing_class=tokenizer,
            reward_funcs=[lambda completion_ids, **_: [float(sum(ids) % 7) for ids in completion_ids]],
            args=config,
            train_dataset=Dataset.from_list(rows),
            callbacks=[clock],
            rollout_func=Rollout(sizes.completion, config.temperature) if ours else None,
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return clock.seconds


class StepClock(transformers.TrainerCallback):
    """The seconds of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._begin = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self._begin = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop the clock."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self._begin)


def manifest(bench: Benchmark) -> dict[str, Any]:
    """What was measured, and where."""
    card = torch.cuda.get_device_name() if bench.device == "cuda" else f"none: {platform.processor() or 'CPU'}"
    weights = sum(one.numel() for one in bench.loaded.model.parameters())
    return {
        "card": card,
        "memory_gib": round(torch.cuda.mem_get_info()[1] / 2**30, 1) if bench.device == "cuda" else None,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "model": Path(bench.folder).name if bench.folder else "random weights",
        "shape": {name: getattr(bench.loaded.model.config, name) for name in SMOLLM2},
        "parameters": weights,
        "dtype": str(bench.dtype).removeprefix("torch."),
        "sizes": vars(bench.sizes),
        "command": " ".join(["python benchmarks/gpu.py", *sys.argv[1:]]),
    }


def reached(found: dict[str, Any]) -> dict[str, bool]:
    """Whether each target that could be measured is reached."""
    ratios = found["ratios"]
    same = [value for name, value in ratios.items() if name.startswith("static")]
    busy = [value for value in found.get("busy", {}).values() if value is not None]
    measured = {
        "same rows": max(same, default=None),
        "best": ratios.get("best static to best plain"),
        "grpo": ratios.get("grpo"),
        "busy": max(busy, default=None),
    }
    return {f"{name} >= {TARGETS[name]:g}": value >= TARGETS[name] for name, value in measured.items() if value}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print or write what was found; 1 if a part failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", help="a folder with a Llama, Qwen2 or Qwen3")
    parser.add_argument("--output", type=Path, help="a file for the JSON, instead of the terminal")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to see that it works")
    given = parser.parse_args(arguments)
    if not given.tiny and not torch.cuda.is_available():
        parser.error("torch finds no NVIDIA GPU here: --tiny goes through all parts on a CPU")
    bench = Benchmark(given.model, given.tiny)
    measure_decoding(bench)
    check_single_precision(bench)
    measure_grpo(bench)
    seconds = round(time.perf_counter() - bench.start, 1)
    content = {**manifest(bench), "seconds": seconds, **bench.found}
    if bench.device == "cuda":
        content["targets"] = reached(bench.found)
    text = json.dumps(content, indent=2) + "\n"
    if given.output is None:
        print(text, end="")
    else:
        given.output.write_text(text)
    return 1 if bench.found["failed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
