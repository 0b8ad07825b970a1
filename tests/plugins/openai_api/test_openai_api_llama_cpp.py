"""The generator `openai-api` against llama.cpp's own server, with tiny GGUF models of random or scripted weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("xllamacpp", reason="needs xllamacpp: pip install 'prlm-bench[llama-cpp]'")
pytest.importorskip("gguf", reason="needs gguf: pip install 'prlm-bench[llama-cpp]'")
pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")

from support.checkpoints import make_scripted
from support.gguf_models import random_gguf, write_gguf
from support.llama_server import Served, serving
from support.openai_server import context as context, prompts

from prlm_bench.errors import RunError
from prlm_bench.interfaces import NOT_VERIFIED, Context


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(random_gguf(tmp_path_factory.mktemp("served"))[1]) as served:
        yield served


@pytest.mark.parametrize("chat", ["always", "never"])
def test_the_answers_of_the_model_in_this_process(context: Context, served: Served, chat: str) -> None:
    """Eight requests at a time give the texts, reasons to end and both token counts of `llama-cpp`."""
    asked = prompts(12)
    theirs = dict(context.build("generator", served.spec(chat=chat, concurrency=8)).generate(asked))
    own = {"name": "llama-cpp", "model": str(served.model), "chat": chat, "max_new_tokens": 12, "threads": 1}
    ours = dict(context.build("generator", own).generate(asked))
    assert {completion.finish for completion in ours.values()} >= {"length"}
    for number, completion in ours.items():
        # What is in the process ends before a character that is not whole.
        assert theirs[number].text.startswith(completion.text)
        assert theirs[number] == replace(completion, text=theirs[number].text)


def test_sampling_takes_the_seed(context: Context, served: Served) -> None:
    asked = prompts(4)
    answers = [
        dict(context.build("generator", served.spec(temperature=1.0, seed=seed)).generate(asked)) for seed in (1, 1, 2)
    ]
    assert answers[0] == answers[1] != answers[2]


def test_what_is_served(context: Context, served: Served) -> None:
    """The server answers under any name, and says which file it serves."""
    generator: Any = context.build("generator", served.spec(model="nobody/nothing"))
    fingerprint = generator.fingerprint()
    assert fingerprint.startswith(f"model=nobody/nothing; server={served.url[7:]}; reported=id ")
    assert NOT_VERIFIED not in fingerprint


def test_a_prompt_that_is_too_long(context: Context, served: Served) -> None:
    (asked,) = prompts(1)
    generator = context.build("generator", served.spec(max_retries=3))
    with pytest.raises(RunError, match=r"status 400: request \(\d+ tokens\) exceeds .*max_length") as failure:
        list(generator.generate([replace(asked, text="a headline " * 600)]))
    assert "times" not in str(failure.value)


def test_a_refused_option(context: Context, served: Served) -> None:
    generator = context.build("generator", served.spec(extra={"grammar": "root ::= ("}))
    with pytest.raises(RunError, match=r"status 400: .*[Ff]ailed to parse grammar"):
        list(generator.generate(prompts(1)))


def test_reasoning_is_put_back(context: Context, tmp_path: Path) -> None:
    """The server splits reasoning off where the template knows how it is written."""
    pieces = ["<think>", "why", "</think>", "answer"]
    template = (
        "{% for m in messages %}<{{ m.role }}>{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>"
        "{% endif %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    folder = make_scripted(tmp_path / "thinks", pieces, template=template)
    with serving(write_gguf(folder, tmp_path / "thinks.gguf")) as served:
        generator = context.build("generator", served.spec(chat="always"))
        ((_, completion),) = generator.generate(prompts(1))
        assert completion.text.split() == ["<think>", "why", "</think>", "answer"], completion
        assert completion.finish == "stop"
        assert completion.tokens == 5


def test_a_server_that_dies(context: Context, tmp_path: Path, served: Served) -> None:
    """Answers that came before are kept; the failure is one line."""
    with serving(served.model) as mortal:
        generator = context.build("generator", mortal.spec(max_retries=0, concurrency=1))
        answers = generator.generate(prompts(40))
        first = next(answers)
        mortal.process.kill()
        with pytest.raises(RunError, match=r"no server answers at|the connection failed") as failure:
            list(answers)
    assert first[1].tokens
    assert "\n" not in str(failure.value)
