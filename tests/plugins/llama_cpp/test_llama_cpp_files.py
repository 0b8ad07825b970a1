"""GGUF files that cannot be used, each refused in one line; and chat templates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prlm_bench_plugins.llama_cpp import _files
from prlm_bench_plugins.llama_cpp._template import render
from support.checkpoints import make_tokenizer

from prlm_bench import Prompt, Turn
from prlm_bench.errors import PrlmBenchError
from prlm_bench.prompting import turns_prompt

Make = Callable[..., Any]


def _damaged(model: Path, to: Path, damage: str) -> Path:
    content = model.read_bytes()
    changed = {
        "cut in its header": content[:2000],
        "cut in its weights": content[:-40],
        "empty": b"",
        "no magic": b"NOPE" + content[4:],
        "version": content[:4] + b"\x63\0\0\0" + content[8:],
        "big-endian": content[:4] + b"\0\0\0\x03" + content[8:],
    }[damage]
    to.write_bytes(changed)
    return to


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("cut in its header", "cut off"),
        ("cut in its weights", "cut off"),
        ("empty", "is not a GGUF file"),
        ("no magic", "is not a GGUF file"),
        ("version", "version 99"),
        ("big-endian", "big-endian"),
    ],
)
def test_damaged_files(model: Path, make: Make, tmp_path: Path, damage: str, said: str) -> None:
    with pytest.raises(PrlmBenchError, match=said):
        make(_damaged(model, tmp_path / "model.gguf", damage))


def test_files_that_are_not_there(make: Make, model: Path, tmp_path: Path) -> None:
    with pytest.raises(PrlmBenchError, match="there is no file"):
        make(tmp_path / "none.gguf")
    (tmp_path / "model.gguf").write_bytes(model.read_bytes())
    with pytest.raises(PrlmBenchError, match=r"is a folder, and llama.cpp reads one file .*model\.gguf"):
        make(tmp_path)


def test_an_unknown_architecture(make: Make, model: Path, prompts: list[Prompt], tmp_path: Path, capfd: Any) -> None:
    content = model.read_bytes().replace(b"qwen2", b"qwxn2")
    (tmp_path / "new.gguf").write_bytes(content)
    with pytest.raises(PrlmBenchError, match=r"llama.cpp cannot load model .*whose architecture is 'qwxn2'") as failure:
        list(make(tmp_path / "new.gguf").generate(prompts[:1]))
    assert "\n" not in str(failure.value)
    assert capfd.readouterr() == ("", "")


def test_files_without_tokenizer_or_template(make: Make, model: Path, prompts: list[Prompt], tmp_path: Path) -> None:
    bare = tmp_path / "bare.gguf"
    bare.write_bytes(model.read_bytes().replace(b"tokenizer.ggml.model", b"tokenizer.ggml.mXdel"))
    with pytest.raises(PrlmBenchError, match="has no tokenizer"):
        make(bare)
    plain = tmp_path / "plain.gguf"
    plain.write_bytes(model.read_bytes().replace(b"tokenizer.chat_template", b"tokenizer.chat_tXmplate"))
    with pytest.raises(PrlmBenchError, match="has no chat template, which chat=always needs"):
        make(plain, chat="always")
    assert dict(make(plain).generate(prompts)) == dict(make(model, chat="never").generate(prompts))


def test_a_template_that_refuses(make: Make, model: Path, prompts: list[Prompt], tmp_path: Path) -> None:
    refusing = tmp_path / "refusing.gguf"
    before = b"{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    after = b"{{ raise_exception('not a user') }}"
    refusing.write_bytes(model.read_bytes().replace(before, after.ljust(len(before))))
    with pytest.raises(PrlmBenchError, match="refuses a user's turn: not a user"):
        list(make(refusing).generate(prompts[:2]))


def test_more_than_memory(make: Make, model: Path, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp would be killed by the system while it loads."""
    monkeypatch.setattr(_files, "_memory", lambda: 100_000)
    with pytest.raises(PrlmBenchError, match=r"needs 0\.0 GB of memory with 7 slots of 700 tokens"):
        list(make(model, slots=7).generate(prompts[:1]))


TEMPLATES = [
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}{% if add_generation_prompt %}you:{% endif %}",
    "{{ strftime_now('%d %b %Y') }}\n{%- for m in messages %}\n  {{ m | tojson }}\n{% endfor %}{{ bos_token }}",
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}{{ extra }}",
    "{% if tools is not none %}tools{% endif %}{{ messages[0].content.split(' ')[2] }}{% if not thinks %}x{% endif %}",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_are_rendered_as_by_transformers(template: str) -> None:
    from prlm_bench_plugins._hf import fix_rendering

    tokenizer = make_tokenizer(chat_template=template, bos_token="<begin>")
    fix_rendering(tokenizer, "2020-02-29", {"extra": "é"})
    turns = [{"role": "user", "content": " a <b> & 'c' \"d\" é "}]
    expected = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    values = {"bos_token": "<begin>", "eos_token": "<end>", "extra": "é"}
    assert render(template, turns, "2020-02-29", values) == expected


def test_a_prompt_of_several_turns(make: Make, model: Path, prompts: list[Prompt]) -> None:
    turns = [Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c")]
    chat = turns_prompt(prompts[0].example, prompts[0].ranking, turns)
    shown = make(model)._texts.encode(chat)
    assert shown.framed and shown.text.index("a") < shown.text.index("b") < shown.text.index("c")
    assert make(model, chat="never")._texts.encode(chat).text == "a\n\nb\n\nc"
