"""Files that announce a terabyte: each is one line within a moment, and nothing is reserved for it."""

from __future__ import annotations

import json
import resource
import struct
from pathlib import Path

import pytest
from prlm_bench_plugins._hf import ModelError, read_gguf
from prlm_bench_plugins.transformers_lm._files import check_weights

TERA = 1 << 40


def text(value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(value) if length is None else length) + value


def gguf(tensors: int, keys: int, rest: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + rest


NAME = text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
GGUF = {
    "tensors": gguf(TERA, 1, NAME),
    "keys": gguf(0, TERA, NAME),
    "a name": gguf(0, 1, text(b"x", TERA)),
    "a text": gguf(0, 1, text(b"a") + struct.pack("<I", 8) + text(b"x", TERA)),
    "numbers": gguf(0, 1, text(b"a") + struct.pack("<IIQ", 9, 4, TERA)),
    "texts": gguf(0, 1, text(b"a") + struct.pack("<IIQ", 9, 8, TERA)),
    "dimensions": gguf(1, 1, NAME + text(b"t") + struct.pack("<I", 1 << 31)),
    "a shape": gguf(1, 1, NAME + text(b"t") + struct.pack("<IQQIQ", 2, TERA, TERA, 0, 0)),
    "an offset": gguf(1, 1, NAME + text(b"t") + struct.pack("<IQIQ", 1, 1, 0, TERA)),
}


def safetensors(header: object, length: int | None = None) -> bytes:
    content = json.dumps(header).encode()
    return struct.pack("<Q", len(content) if length is None else length) + content


SAFETENSORS = {
    "a header": safetensors({}, TERA),
    "the largest header": safetensors({}, (1 << 64) - 1),
    "weights": safetensors({"w": {"dtype": "F32", "shape": [TERA // 4], "data_offsets": [0, TERA]}}),
    "a shape": safetensors({"w": {"dtype": "F32", "shape": [TERA, TERA], "data_offsets": [0, 4]}}),
    "an offset": safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [TERA, TERA + 4]}}),
}


@pytest.fixture(autouse=True)
def memory() -> object:
    """At most 100 MB more than before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("what", GGUF)
def test_a_gguf_file_that_announces_a_terabyte(what: str, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(GGUF[what])
    with pytest.raises(ModelError, match=r"is (cut off|damaged)") as caught:
        read_gguf(tmp_path / "model.gguf")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", SAFETENSORS)
def test_a_file_of_weights_that_announces_a_terabyte(what: str, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    (tmp_path / "model.safetensors").write_bytes(SAFETENSORS[what])
    with pytest.raises(ModelError, match="is damaged") as caught:
        check_weights("it", tmp_path, pickle=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "sub/model.safetensors"])
def test_a_weight_map_stays_in_its_folder(name: str, tmp_path: Path) -> None:
    """What lies elsewhere would be no part of the model's hash."""
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(ModelError, match="which is outside its folder"):
        check_weights("it", tmp_path, pickle=False)
