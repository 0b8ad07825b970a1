"""The generator `llama-cpp` with SmolLM2: quantized weights, a real vocabulary, a real template, a whole run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prlm_bench import Prompt
from prlm_bench.prompting import read_object
from prlm_bench.results import find_results, read_samples

pytestmark = pytest.mark.slow

TEXTS = [
    "naïve 😀 text\n\nwith  blanks",
    "I'm 12345 years old!!! <|im_end|> #tag @user http://a.b/c?d=e",
    "  日本語 and العربية\t",
]


@pytest.fixture
def generator(smollm2: Path, make: Callable[..., Any]) -> Any:
    return make("smollm2", window=512, max_new_tokens=24)


def test_tokens_and_template_are_those_of_transformers(generator: Any, smollm2: Path, prompts: list[Prompt]) -> None:
    from prlm_bench_plugins._hf import encode_prompts, load_tokenizer, model_source, turns

    tokenizer = load_tokenizer(model_source(smollm2), "model")
    model = generator._model()
    for text in TEXTS:
        assert model.tokenize(text, True) == tokenizer(text)["input_ids"]
    for prompt in prompts[:4]:
        encoded = generator._texts.encode(prompt)
        assert [encoded.ids] == encode_prompts(tokenizer, [turns(prompt)])


def test_the_object_is_forced(make: Callable[..., Any], smollm2: Path, prompts: list[Prompt]) -> None:
    forced = make("smollm2", window=512, max_new_tokens=64, constrain="object")
    for _, completion in forced.generate([replace(prompt, key="tweet") for prompt in prompts[:3]]):
        value, step = read_object(completion.text, "tweet")
        assert value
        assert step == ("strict" if completion.finish == "stop" else "truncated")


def test_a_run(smollm2: Path, here: Callable[..., Any], tmp_path: Path) -> None:
    words = "run --task mini_lamp_7 --synth-users 4 --limit 6 --retriever recency -k 1 --reasoner direct:protocol=plain"
    spec = "llama-cpp:model=smollm2,threads=1,slots=4,window=512,max_new_tokens=12"
    done = here(*words.split(), "--no-controls", "--generator", spec, "--results", "out")
    assert done.status == 0, done
    stored = find_results(tmp_path / "out")[0][0]
    samples = list(read_samples(stored.folder))
    assert samples and all(sample.completion_tokens for sample in samples)
