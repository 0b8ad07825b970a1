"""Presets decode as the scripts do whose figures they repeat."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")
pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[lm]'")

import torch
from support.checkpoints import make_tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

from prlm_bench import Prompt
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Generator
from prlm_bench.running import Components


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 with random weights, whose tokenizer ends each text as that of FlanT5 does."""
    folder = tmp_path_factory.mktemp("models") / "t5"
    torch.manual_seed(3)
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    config = T5Config(
        vocab_size=300, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0, **sizes, tie_word_embeddings=False
    )
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():
        for name, weights in model.named_parameters():  # what is read decides what is written, more than the last token
            weights *= 40 if "EncDecAttention.o" in name else 1
        model.lm_head.weight.normal_(0, 1.5)
        model.lm_head.weight[:2] = 0  # answers go on to the limit
    model.save_pretrained(folder)
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 1)])
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def flan_t5(components: Components, t5: Path) -> Generator:
    spec = {"name": "flan-t5", "model": str(t5), "max_input": 40, "device": "cpu"}
    made: Generator = PluginHost().registry.choose("generator", spec).make(components.context(0))
    return made


def test_flan_t5_writes_what_the_script_of_lamp_writes(
    flan_t5: Generator, t5: Path, prompts: list[Prompt], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = dict(flan_t5.generate(prompts))
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(t5).eval(), AutoTokenizer.from_pretrained(t5)
    lengths = set()
    for place, prompt in enumerate(prompts):
        inputs = tokenizer(prompt.text, max_length=40, truncation=True, return_tensors="pt")
        ids = model.generate(**inputs, num_beams=4, max_length=128)[0]
        assert found[place].text == tokenizer.decode(ids, skip_special_tokens=True)
        assert found[place].prompt_tokens == inputs["input_ids"].shape[1]
        lengths.add(found[place].prompt_tokens)
    assert max(lengths) == 40 > min(lengths), "some prompts are cut, and some are not"
    assert {completion.tokens for completion in found.values()} == {127}
    assert len({completion.text for completion in found.values()}) > 1
    assert sum("prompts are cut behind 40 tokens" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("options", [{"max_input": 8}, {"max_input": 8, "chat": "auto"}, {"max_input": 0}])
def test_a_chat_cannot_be_cut(make: Callable[..., Generator], t5: Path, options: dict[str, object]) -> None:
    with pytest.raises(Exception, match="max_input is at least 1, and needs chat=never"):
        make(t5, **options)
