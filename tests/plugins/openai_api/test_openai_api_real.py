"""The generator `openai-api` against `transformers serve`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.openai_server import RUN, context as context, prompts

from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import Context
from prlm_bench.results import find_results, read_samples


def _tiny_model(folder: Path) -> None:
    """A llama of random weights that knows bytes, with a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = Tokenizer(models.BPE())
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    letters.train_from_iterator(["a headline for the article"], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def transformers_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """`transformers serve` on a tiny model: its address, and the model's folder."""
    import httpx

    for module in ("transformers", "torch", "fastapi", "uvicorn", "openai"):
        if find_spec(module) is None:
            pytest.skip(f"needs {module}: pip install 'prlm-bench[serve]'")
    folder = tmp_path_factory.mktemp("serve")
    _tiny_model(folder / "tiny")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", folder / "tiny", "--host", "127.0.0.1", "--port", port, "--device", "cpu"]
    code = "from transformers.cli.transformers import main; main()"
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub")}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, words)], stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    try:
        with httpx.Client(trust_env=False) as client:
            for _ in range(600):
                if server.poll() is not None:
                    pytest.fail((folder / "log").read_text()[-2000:])
                try:
                    if client.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", folder / "tiny"
    finally:
        server.terminate()
        server.wait(30)


def _greedy(folder: Path, texts: list[str], chat: bool) -> list[tuple[str, int, int]]:
    """Text, generated tokens and prompt tokens of each, by the library itself."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    found = []
    for text in texts:
        if chat:
            turns = [{"role": "user", "content": text}]
            text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            made = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
        found.append((tokenizer.decode(made, skip_special_tokens=True), len(made), ids.shape[1]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("chat", [True, False])
def test_a_real_server(context: Context, transformers_serve: tuple[str, Path], chat: bool) -> None:
    """The same completions and token counts as the library gives for the same model."""
    url, folder = transformers_serve
    spec = {"name": "openai-api", "model": str(folder), "base_url": url, "max_tokens": 12, "concurrency": 4}
    spec |= {"chat": "by-protocol"}
    generator = context.build("generator", spec)
    assert generator.fingerprint().startswith(f"model={folder}; server={url[7:]}; reported=")
    answers = dict(generator.generate(prompts(12, chat)))
    expected = _greedy(folder, [prompt.text for prompt in prompts(12)], chat)
    assert sorted(answers) == list(range(12))
    for index, (text, written, sent) in enumerate(expected):
        assert (answers[index].tokens, answers[index].prompt_tokens) == (written, sent)
        assert answers[index].text == text
        assert answers[index].finish == ("length" if written == 12 else "stop")


@pytest.mark.slow
def test_a_real_servers_refusal(context: Context, transformers_serve: tuple[str, Path]) -> None:
    url, _ = transformers_serve
    generator = context.build("generator", {"name": "openai-api", "model": "nobody/nothing", "base_url": url})
    with pytest.raises(PrlmBenchError, match=r"chat/completions: status 4\d\d: Server is pinned"):
        list(generator.generate(prompts(2)))


@pytest.mark.slow
def test_a_real_run(here: Any, transformers_serve: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = transformers_serve
    spec = f"openai-api:model={folder},base_url={url},max_tokens=8"
    done = here(
        *RUN.replace("direct:protocol=chat", "summary:items=2").split(), "--generator", spec, "--results", "out"
    )
    assert done.status == 0, done
    ((stored,), _) = find_results(tmp_path / "out")
    assert all(sample.completion_tokens for sample in read_samples(stored.folder))
