"""Completions that were begun by someone else: the model goes on as if it had written the beginning itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[lm]'")
pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")

import torch
import transformers
from support.prlm_shop import R1_TEMPLATE, TEMPLATE, make_causal

from prlm_bench import Session
from prlm_bench.errors import PrlmBenchError, RunError


@pytest.mark.parametrize(("template", "opened"), [(TEMPLATE, ""), (R1_TEMPLATE, "<think>\n")])
def test_the_model_reads_prompt_and_beginning_as_one_text(template: str, opened: str, tmp_path: Path) -> None:
    model = make_causal(tmp_path / "model", "Llama", template)
    generator = f"transformers:model={model},max_new_tokens=12,overflow=cut-items"
    with Session("mini_lamp_4", synth_users=2) as session:
        prompts = session.prompts("bm25", 2, "direct:max_length=300", generator)[:3]
        begun = [f"{opened}He likes {number}.\n</think>\n" for number in range(3)]
        found = [sample.completion for sample in session.continued(prompts, begun, generator, "direct")]
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(model).eval()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(model)
    for prompt, beginning, completion in zip(prompts, begun, found, strict=True):
        turn = [{"role": "user", "content": prompt.text}]
        text = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        # The template has opened the reasoning already.
        ids = tokenizer(text.removesuffix(opened) + beginning, add_special_tokens=False, return_tensors="pt")[
            "input_ids"
        ]
        with torch.no_grad():
            out = loaded.generate(ids, max_new_tokens=12, do_sample=False, eos_token_id=1, pad_token_id=0)
        assert completion.text == beginning + tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        assert completion.prompt_tokens == ids.shape[1]


def test_a_cut_prompt_has_no_room_for_a_beginning(tmp_path: Path) -> None:
    model = make_causal(tmp_path / "model", "Llama", TEMPLATE)
    generator = f"transformers:model={model},chat=never,max_input=40"
    with Session("mini_lamp_4", synth_users=2) as session:
        prompts: Any = session.prompts("bm25", 2, "direct", generator)[:1]
        with pytest.raises(PrlmBenchError, match="max_input=40 cuts the ends of prompts"):
            session.continued(prompts, ["So "], generator)


def test_generators_that_cannot(tmp_path: Path) -> None:
    with Session("mini_lamp_4", synth_users=2) as session:
        prompts: Any = session.prompts("bm25", 2)
        with pytest.raises(RunError, match="cannot go on with a completion"):
            session.continued(prompts, [""] * len(prompts), "copy")
