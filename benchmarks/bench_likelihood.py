"""Likelihoods of four options after each prompt: read once, against prompts read for each option, and lm_eval's `hf`.

    pytest benchmarks/bench_likelihood.py --benchmark-only

The tiny model ranks four labels of mini-LaMP's films behind prompts with four items. All sides tokenize within their
time and give the same values. `ratio` is the time of asking for each option apart over that of asking for all four
together, `ratio_lm_eval` that of lm_eval at its best fixed batch size. A second figure is the time of eight samples
of each prompt, asked for together, against eight calls.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")
pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[lm]'")

from prlm_bench_plugins.tiny import MODEL

from prlm_bench import Prompt
from prlm_bench._util.cache_folder import cache_root
from prlm_bench.data import open_split
from prlm_bench.host import PluginHost
from prlm_bench.running import Components

PROMPTS, ROUNDS, N = 96, 3, 8
BATCH_SIZES = (8, 32)

Values = list[list[float]]


@cache
def setting() -> tuple[Any, list[Prompt], list[str]]:
    """The generator without its cache, the prompts and the options."""
    host = PluginHost()
    dataset = open_split(host.tasks.get("mini_lamp_2"), "dev", synth_users=40)
    components = Components(host, dataset, cache_root())
    context = components.context(0)
    generator = host.registry.choose("generator", f"transformers:model={MODEL},dtype=float32").make(context)
    examples = next(dataset.batches(PROMPTS))
    rankings = context.build("retriever", "bm25").rank(examples, 4)
    rankings = [type(ranking)(ranking.items[:4], ranking.scores[:4]) for ranking in rankings]
    prompts = context.build("reasoner", "direct:protocol=chat").prompts(examples, rankings, generator)
    key = context.task.prompts.chat.key
    return generator, list(prompts), [repr({key: label}) for label in context.task.labels[:4]]


def together(generator: Any, prompts: Sequence[Prompt], options: Sequence[str]) -> Values:
    return list(generator.loglikelihood(prompts, [options] * len(prompts)))


def apart(generator: Any, prompts: Sequence[Prompt], options: Sequence[str]) -> Values:
    repeated = [prompt for prompt in prompts for _ in options]
    found = generator.loglikelihood(repeated, [[option] for _ in prompts for option in options])
    return [[row[0] for row in found[at : at + len(options)]] for at in range(0, len(found), len(options))]


def lm_eval_scorer(prompts: Sequence[Prompt], options: Sequence[str], batch_size: int) -> Callable[[], Values]:
    import transformers
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL, padding_side="left")
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype="float32")
    model.eval()
    backend = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, device="cpu", max_length=2048)
    turns = ([{"role": "user", "content": prompt.text}] for prompt in prompts)
    texts = [tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False) for turn in turns]
    requests = [
        Instance("loglikelihood", doc={}, arguments=(text, option), idx=index)
        for index, text in enumerate(texts)
        for option in options
    ]

    def score() -> Values:
        found = [value for value, _ in backend.loglikelihood(requests, disable_tqdm=True)]
        return [found[at : at + len(options)] for at in range(0, len(found), len(options))]

    return score


def fastest(sides: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Fewest CPU seconds of each side, taking turns, after a round to warm up."""
    seconds = dict.fromkeys(sides, float("inf"))
    for write in sides.values():
        write()
    for _ in range(ROUNDS):
        for name, write in sides.items():
            start = time.process_time()
            write()
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def test_four_options(benchmark: Any) -> None:
    pytest.importorskip("lm_eval", reason="compares with lm_eval: pip install 'lm_eval[hf]'")
    generator, prompts, options = setting()
    sides: dict[str, Callable[[], Values]] = {
        "together": lambda: together(generator, prompts, options),
        "apart": lambda: apart(generator, prompts, options),
    }
    sides |= {f"lm_eval hf, batch {size}": lm_eval_scorer(prompts, options, size) for size in BATCH_SIZES}
    values = {name: side() for name, side in sides.items()}
    for name, found in values.items():
        for row, other in zip(found, values["together"], strict=True):
            assert row == pytest.approx(other, abs=1e-3, rel=0), name
    seconds = fastest(sides)
    benchmark.pedantic(sides["together"], rounds=1)
    theirs = min(value for name, value in seconds.items() if name.startswith("lm_eval"))
    benchmark.extra_info["cpu_seconds"] = {name: round(value, 2) for name, value in seconds.items()}
    benchmark.extra_info["ratio"] = round(seconds["apart"] / seconds["together"], 2)
    benchmark.extra_info["ratio_lm_eval"] = round(theirs / seconds["together"], 2)
    print(benchmark.extra_info)
    assert benchmark.extra_info["ratio"] >= 2.5, benchmark.extra_info


def test_samples_of_a_prompt(benchmark: Any) -> None:
    _, prompts, _ = setting()
    host = PluginHost()
    context = Components(host, open_split(host.tasks.get("mini_lamp_2"), "dev", synth_users=40), cache_root()).context(
        0
    )
    spec = f"transformers:model={MODEL},dtype=float32,temperature=1.0,max_new_tokens=8"
    one = host.registry.choose("generator", spec).make(context)
    draws = [host.registry.choose("generator", f"{spec},draw={number}").make(context) for number in range(N)]
    some = prompts[:32]
    sides: dict[str, Callable[[], Any]] = {
        "together": lambda: dict(one.sample(some, N)),
        "apart": lambda: [dict(draw.generate(some)) for draw in draws],
    }
    seconds = fastest(sides)
    benchmark.pedantic(sides["together"], rounds=1)
    benchmark.extra_info["cpu_seconds"] = {name: round(value, 2) for name, value in seconds.items()}
    benchmark.extra_info["ratio"] = round(seconds["apart"] / seconds["together"], 2)
    print(benchmark.extra_info)
    assert benchmark.extra_info["ratio"] >= 1.3, benchmark.extra_info
