"""What a model reads: the same in `transformers`, in `lm-eval` and in training, whatever the template."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")
pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[lm]'")

from prlm_bench_plugins import _hf
from support.checkpoints import make_random, make_tokenizer, set_generation

from prlm_bench import Prompt, Turn
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Generator, RendersPrompts
from prlm_bench.prompting import turns_prompt
from prlm_bench.running import Components

Make = Callable[..., Generator]
TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
#: By kind of template: the template, and what a model reads of the prompt `x`.
TEMPLATES = {
    "writes the first token": ("{{ bos_token }}" + TURNS + "<assistant>", "<s><user>x<assistant>"),
    "leaves the first token out": (TURNS + "<assistant>", "<user>x<assistant>"),
    "refuses a system role": (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TURNS + "<assistant>",
        "<user>x<assistant>",
    ),
    "demands alternation": (
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('user and assistant in turn') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}",
        "[user]x",
    ),
    "adds a system prompt": ("<system>Be kind." + TURNS + "<assistant>", "<system>Be kind.<user>x<assistant>"),
    "prints today's date": (
        "Today is {{ strftime_now('%Y-%m-%d') }}." + TURNS + "<assistant>",
        "Today is 2024-07-26.<user>x<assistant>",
    ),
    "opens reasoning": (
        TURNS + "<assistant>{% if enable_thinking is not defined or enable_thinking %}<think>\n{% endif %}",
        "<user>x<assistant><think>\n",
    ),
}


def made(folder: Path, template: str | None) -> Path:
    """A checkpoint whose tokenizer begins every text with `<s>`."""
    from tokenizers.processors import TemplateProcessing

    make_random(folder, spare=1)
    tokenizer = make_tokenizer(bos_token="<s>", chat_template=template)
    number = tokenizer.convert_tokens_to_ids("<s>")
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", number)])
    tokenizer.save_pretrained(folder)
    if template is None:
        (folder / "chat_template.jinja").unlink(missing_ok=True)
    return folder


def rendered(generator: Generator, prompt: Prompt) -> str:
    assert isinstance(generator, RendersPrompts)
    return generator.render(prompt)


@pytest.fixture
def plain(prompts: list[Prompt]) -> Prompt:
    """A prompt in LaMP's words, which no reasoner asks as a turn."""
    return Prompt(prompts[0].example, prompts[0].ranking, "x")


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_run_and_a_training_read_the_same(make: Make, plain: Prompt, tmp_path: Path, kind: str) -> None:
    template, expected = TEMPLATES[kind]
    folder = made(tmp_path / "model", template)
    assert rendered(make(folder, chat="auto"), plain) == expected
    tokenizer = _hf.load_tokenizer(str(folder), "model")
    (ids,) = _hf.encode_prompts(tokenizer, [_hf.turns(plain)])
    assert tokenizer.decode(ids) == expected


@pytest.mark.slow
@pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs lm_eval: prlm-bench[lm-eval]")
@pytest.mark.parametrize("kind", TEMPLATES)
def test_lm_eval_reads_it_too(components: Components, plain: Prompt, tmp_path: Path, kind: str) -> None:
    template, expected = TEMPLATES[kind]
    folder = made(tmp_path / "model", template)
    spec = {"name": "lm-eval", "backend": "hf", "pretrained": str(folder), "device": "cpu", "max_new_tokens": 4}
    generator = PluginHost().registry.choose("generator", spec).make(components.context(0))
    assert rendered(generator, plain) == expected


def test_without_a_template_and_with_never_a_prompt_is_plain_text(make: Make, plain: Prompt, tmp_path: Path) -> None:
    bare = made(tmp_path / "bare", None)
    assert rendered(make(bare, chat="auto"), plain) == "<s>x"
    with pytest.raises(PrlmBenchError, match=r"has no chat template, which chat=always needs"):
        make(bare, chat="always")
    framed = made(tmp_path / "framed", TEMPLATES["writes the first token"][0])
    assert rendered(make(framed, chat="never"), plain) == "<s>x"
    assert rendered(make(framed, chat="by-protocol"), plain) == "<s>x"
    assert rendered(make(framed, chat="always"), plain) == "<s><user>x<assistant>"


def test_a_prompt_of_several_turns(make: Make, plain: Prompt, tmp_path: Path) -> None:
    turns = (Turn("system", "S"), Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))
    chat = turns_prompt(plain.example, plain.ranking, turns)
    folder = made(tmp_path / "framed", TEMPLATES["writes the first token"][0])
    assert rendered(make(folder), chat) == "<s><system>S<user>a<assistant>b<user>c<assistant>"
    assert rendered(make(folder, chat="never"), chat) == "<s>S\n\na\n\nb\n\nc"
    assert rendered(make(made(tmp_path / "bare", None)), chat) == "<s>S\n\na\n\nb\n\nc"
    strict = TEMPLATES["refuses a system role"][0]
    with pytest.raises(PrlmBenchError, match="refuses the turns system, user, assistant, user: no system"):
        rendered(make(made(tmp_path / "strict", strict)), chat)


def test_the_budget_counts_the_template(make: Make, tmp_path: Path) -> None:
    folder = made(tmp_path / "model", TEMPLATES["adds a system prompt"][0])
    limits = {chat: make(folder, chat=chat, overflow="cut-items").max_prompt_tokens for chat in ("auto", "never")}
    assert limits["never"] - limits["auto"] == _hf.template_tokens(_hf.load_tokenizer(str(folder), "model")) > 20


def test_what_the_checkpoint_says_of_decoding_is_stated(make: Make, components: Components, tmp_path: Path) -> None:
    folder = made(tmp_path / "model", None)
    assert "follows" not in make(folder).fingerprint()  # type: ignore[attr-defined]
    set_generation(folder, repetition_penalty=1.1, no_repeat_ngram_size=3, min_length=0, top_k=40, num_beams=2)
    stated = "follows no_repeat_ngram_size=3, repetition_penalty=1.1"
    assert stated in make(folder).fingerprint()  # type: ignore[attr-defined]
    if find_spec("lm_eval") is not None:
        spec: dict[str, Any] = {"name": "lm-eval", "backend": "hf", "pretrained": str(folder), "device": "cpu"}
        generator = PluginHost().registry.choose("generator", spec).make(components.context(0))
        # What `generate()` reads there besides: lm_eval leaves the number of beams to the checkpoint.
        assert "follows no_repeat_ngram_size=3, num_beams=2, repetition_penalty=1.1" in generator.fingerprint()
