"""Long prompts that a CPU reads in parts are answered as each is alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: prlm-bench[lm]")
pytest.importorskip("transformers", reason="needs transformers: prlm-bench[lm]")

import torch
import transformers
from prlm_bench_plugins.transformers_lm._cache import PREFILL_CHUNK
from prlm_bench_plugins.transformers_lm._engine import Batch, Request
from prlm_bench_plugins.transformers_lm._generator import Decoding
from prlm_bench_plugins.transformers_lm._loading import LoadedModel
from support.checkpoints import SIZES

MOST, END, PAD = 8, 1, 0
CONFIGS: dict[str, Callable[[], Any]] = {
    "every token": lambda: transformers.Qwen2Config(**SIZES, pad_token_id=PAD, eos_token_id=END),
    "a window": lambda: transformers.MistralConfig(**SIZES, sliding_window=40, pad_token_id=PAD, eos_token_id=END),
}


@pytest.mark.parametrize("sees", CONFIGS)
def test_reading_in_parts_changes_nothing(sees: str) -> None:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[sees]()).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(6 if weights.dim() > 1 else 1)  # so that answers differ
    part, rng = PREFILL_CHUNK, random.Random(1)
    lengths = [3, part - 1, part, part + 1, 2 * part, 2 * part + 9, 1, 100]
    rows = [Request(index, "", [rng.randrange(3, 300) for _ in range(length)]) for index, length in enumerate(lengths)]
    together = Batch(LoadedModel(model, (END,), PAD), rows, Decoding(MOST, 0.0, 1.0, 1, "0"))
    found = {}
    while together.requests:
        found |= {output.index: output.ids for output in together.advance()}
    alone = {row.index: written_alone(model, row.ids) for row in rows}
    assert found == alone
    assert len({tuple(ids) for ids in alone.values()}) == len(rows)


def written_alone(model: Any, ids: list[int]) -> list[int]:
    with torch.inference_mode():
        options = {"max_new_tokens": MOST, "do_sample": False, "eos_token_id": END, "pad_token_id": PAD}
        found = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **options)
    answer: list[int] = found[0, len(ids) :].tolist()
    return answer
