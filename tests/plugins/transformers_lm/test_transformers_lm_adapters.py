"""Adapters: answers are those of `PeftModel.generate`, whatever the adapter touches or brings along."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")
pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[lm]'")
pytest.importorskip("peft", reason="needs peft: pip install peft")

import peft
import torch
from prlm_bench_plugins.transformers_lm._loading import load_generation_model
from support.checkpoints import TEMPLATE, count_tokens, make_random, make_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from prlm_bench import Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import Generator

Make = Callable[..., Generator]
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]
NEW = ["<user_style>", "<item_style>"]
OTHER = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}[you]"


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    root = tmp_path_factory.mktemp("bases")
    return {tie: make_random(root / f"tied-{tie}", tie=tie) for tie in (True, False)}


@pytest.fixture(scope="module")
def forty(prompts: list[Prompt]) -> list[Prompt]:
    texts = [prompt.text[start:] for start in (0, 4) for prompt in prompts][:40]
    return [replace(prompts[0], text=text, chat=place % 2 == 1) for place, text in enumerate(texts)]


def train(base: Path, folder: Path, tokens: Sequence[str] = (), rows: int | None = None, **settings: Any) -> Path:
    """An adapter with random weights, as a training would save it."""
    model = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    if tokens:
        tokenizer.add_tokens(list(tokens))
    if rows is not None:
        torch.manual_seed(3)
        model.resize_token_embeddings(rows, mean_resizing=False)
    config = peft.LoraConfig(**{"r": 4, "target_modules": ["q_proj", "v_proj"], **settings}, init_lora_weights=False)
    torch.manual_seed(1)
    adapted = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "modules_to_save" in name or "trainable_tokens_delta" in name:
                weights += 0.3 * torch.randn_like(weights)
    adapted.save_pretrained(folder)
    if tokens:
        tokenizer.save_pretrained(folder)
    return folder


def written_by_peft(base: Path, adapter: Path, prompts: Sequence[Prompt], rows: int | None = None) -> list[str]:
    """What PeftModel writes, one prompt at a time."""
    model = AutoModelForCausalLM.from_pretrained(base)
    source = adapter if (adapter / "tokenizer.json").exists() else base
    tokenizer = AutoTokenizer.from_pretrained(source)
    if rows is not None:
        model.resize_token_embeddings(rows, mean_resizing=False)
    adapted = peft.PeftModel.from_pretrained(model, adapter).eval()
    found = []
    for prompt in prompts:
        turn = [{"role": "user", "content": prompt.text}]
        text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        inputs = tokenizer(
            text if prompt.chat else prompt.text, return_tensors="pt", add_special_tokens=not prompt.chat
        )
        with torch.inference_mode():
            ids = adapted.generate(**inputs, max_new_tokens=12, do_sample=False)
        found.append(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    return found


def written(generator: Generator, prompts: Sequence[Prompt]) -> list[str]:
    found = dict(generator.generate(prompts))
    return [found[place].text for place in range(len(prompts))]


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "trainable_token_indices": [40, 41, 42]},
        {"use_dora": True, "bias": "lora_only"},
    ],
    ids=["layers", "embed_tokens", "lm_head", "saved embeddings", "saved head", "tokens", "dora"],
)
def test_answers_are_those_of_peft(
    make: Make, bases: dict[bool, Path], forty: list[Prompt], tmp_path: Path, settings: dict[str, Any], tie: bool
) -> None:
    adapter = train(bases[tie], tmp_path / "adapter", **settings)
    found = written(make(bases[tie], adapter=str(adapter)), forty)
    assert found == written_by_peft(bases[tie], adapter, forty)
    assert found != written(make(bases[tie]), forty)
    assert len(set(found)) > 5
    assert len(found) == 40


def test_a_template_in_the_adapters_folder(make: Make, prompts: list[Prompt], tmp_path: Path) -> None:
    base = make_random(tmp_path / "base")
    make_tokenizer().save_pretrained(base)
    (base / "chat_template.jinja").unlink(missing_ok=True)
    adapter = train(base, tmp_path / "adapter")
    turns = [replace(prompt, chat=True) for prompt in prompts[:6]]
    framed = [replace(turn, text=f"[user] {turn.text}[you]", chat=False) for turn in turns]
    bare = make(base, adapter=str(adapter))
    assert written(bare, turns) == written(bare, [replace(turn, chat=False) for turn in turns])
    (adapter / "chat_template.jinja").write_text(OTHER)
    by_file = make(base, adapter=str(adapter))
    make_tokenizer(chat_template=OTHER).save_pretrained(adapter)
    by_tokenizer = make(base, adapter=str(adapter))
    for generator in (by_file, by_tokenizer):
        assert generator.fingerprint() != bare.fingerprint()
        assert written(generator, turns) == written(bare, framed) != written(bare, turns)


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
    ],
    ids=["resized", "modules_to_save", "targeted"],
)
@pytest.mark.parametrize("more", [2, 20])
def test_tokens_of_its_own(
    make: Make,
    bases: dict[bool, Path],
    forty: list[Prompt],
    tmp_path: Path,
    settings: dict[str, Any],
    tie: bool,
    more: int,
) -> None:
    rows = count_tokens(bases[tie]) + more
    adapter = train(bases[tie], tmp_path / "adapter", tokens=NEW, rows=rows, **settings)
    asked = [replace(prompt, text=f"{NEW[place % 2]} {prompt.text}") for place, prompt in enumerate(forty)]
    generator = make(bases[tie], adapter=str(adapter))
    assert written(generator, asked) == written_by_peft(bases[tie], adapter, asked, rows)
    assert generator.tokenizer is not None
    assert generator.tokenizer.count(NEW[0]) == 1


def test_tokens_in_rows_that_the_model_has_to_spare(make: Make, forty: list[Prompt], tmp_path: Path) -> None:
    """Embeddings are often padded: an adapter may use those rows, or be trained on embeddings cut to the tokenizer."""
    base = make_random(tmp_path / "base", spare=20)
    asked = [replace(prompt, text=f"{NEW[0]} {prompt.text}") for prompt in forty]
    spare = train(base, tmp_path / "spare", tokens=NEW)
    assert written(make(base, adapter=str(spare)), asked) == written_by_peft(base, spare, asked)
    known = count_tokens(base)
    cut = train(base, tmp_path / "cut", tokens=NEW, rows=known + 2)
    assert written(make(base, adapter=str(cut)), asked) == written_by_peft(base, cut, asked, known + 2)


@pytest.mark.parametrize("tie", [True, False])
def test_trainable_tokens(make: Make, bases: dict[bool, Path], forty: list[Prompt], tmp_path: Path, tie: bool) -> None:
    known = count_tokens(bases[tie])
    indices = [known, known + 1]
    adapter = train(bases[tie], tmp_path / "adapter", tokens=NEW, rows=known + 2, trainable_token_indices=indices)
    asked = [replace(prompt, text=f"{NEW[0]} {prompt.text}") for prompt in forty]
    found = written(make(bases[tie], adapter=str(adapter)), asked)
    assert found == written_by_peft(bases[tie], adapter, asked, known + 2)


def test_tokens_without_embeddings(make: Make, bases: dict[bool, Path], prompts: list[Prompt], tmp_path: Path) -> None:
    """None at all, or none for a head of its own: the rows that were trained are lost."""
    rows = count_tokens(bases[False]) + 2
    none = train(bases[False], tmp_path / "none", tokens=NEW)
    headless = train(bases[False], tmp_path / "headless", tokens=NEW, rows=rows, target_modules=["embed_tokens"])
    for adapter, lacking in ((none, r"model\.embed_tokens"), (headless, "lm_head")):
        with pytest.raises(PrlmBenchError, match=f"uses 2 more tokens than model .* {lacking}") as caught:
            written(make(bases[False], adapter=str(adapter)), prompts[:1])
        assert "save_embedding_layers=True" in caught.value.hint and "\n" not in str(caught.value)


def test_a_tokenizer_with_other_ids(make: Make, bases: dict[bool, Path], prompts: list[Prompt], tmp_path: Path) -> None:
    adapter = train(bases[False], tmp_path / "adapter")
    other = make_tokenizer(chat_template=TEMPLATE)
    other.save_pretrained(adapter)
    text = (adapter / "tokenizer.json").read_text().replace('"a":', '"swap":', 1).replace('"b":', '"a":', 1)
    (adapter / "tokenizer.json").write_text(text.replace('"swap":', '"b":', 1))
    with pytest.raises(PrlmBenchError, match=r"gives '.*' another id than that of model"):
        written(make(bases[False], adapter=str(adapter)), prompts[:1])


def test_a_prompt_that_was_learned_is_refused(
    make: Make, bases: dict[bool, Path], prompts: list[Prompt], tmp_path: Path
) -> None:
    for config in (
        peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    ):
        model = AutoModelForCausalLM.from_pretrained(bases[False])
        folder = tmp_path / config.peft_type.value
        peft.get_peft_model(model, config).save_pretrained(folder)
        with pytest.raises(PrlmBenchError, match=r"is of the kind P.*, which is not supported"):
            written(make(bases[False], adapter=str(folder)), prompts[:1])


def test_weights_are_added_up_where_that_is_exact(make: Make, bases: dict[bool, Path], tmp_path: Path) -> None:
    """Merged weights are faster, and in single precision the same up to rounding."""
    layers = make(bases[True], adapter=str(train(bases[True], tmp_path / "layers")))
    head = make(bases[True], adapter=str(train(bases[True], tmp_path / "head", target_modules=["embed_tokens"])))
    half = make(bases[True], adapter=str(tmp_path / "layers"), dtype="bfloat16")
    merged = []
    for generator in (layers, head, half):
        args = (generator._files, generator._loading, generator._hf_tokenizer, generator._settings, tmp_path)  # type: ignore[attr-defined]
        names = [name for name, _ in load_generation_model(*args).model.named_parameters()]
        merged.append(not any("lora" in name for name in names))
    assert merged == [True, False, False]


def test_the_identity_is_of_all_its_files(make: Make, bases: dict[bool, Path], tmp_path: Path) -> None:
    adapter = train(bases[False], tmp_path / "adapter", tokens=NEW, rows=count_tokens(bases[False]) + 2)
    before = make(bases[False], adapter=str(adapter)).fingerprint()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "adapter_config.json"):
        copy = Path(shutil.copytree(adapter, tmp_path / name))
        (copy / name).write_bytes((copy / name).read_bytes() + b" ")
        assert make(bases[False], adapter=str(copy)).fingerprint() != before
