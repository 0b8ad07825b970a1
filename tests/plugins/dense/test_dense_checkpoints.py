"""Model folders: what is read from them, what is wrong with them, and the vectors that they give."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import string
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
torch = pytest.importorskip("torch", reason="needs the extra `dense`")
transformers = pytest.importorskip("transformers", reason="needs the extra `dense`")

from prlm_bench_plugins._hf import ModelError  # noqa: E402
from prlm_bench_plugins.dense._checkpoint import Checkpoint, Settings, find_checkpoint, resolve_settings  # noqa: E402
from prlm_bench_plugins.dense._encoder import MIN_TOKENS, Encoder, padded_lengths  # noqa: E402

from prlm_bench._util.silence import quiet_transformers  # noqa: E402
from prlm_bench.errors import PrlmBenchError  # noqa: E402

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, "the", "cat", "dog", "sat", "ran"]
WORDS += [f"##{letter}" for letter in string.ascii_lowercase]
TEXTS = ["the cat sat", "", "a dog ran " * 40, "x", "The Cat SAT", "\u0000", "日本語", "the dog", "cat " * 7, " "]


def make_checkpoint(folder: Path, seed: int = 0, positions: int = 64, **config: Any) -> Path:
    """A BERT encoder with random weights, of the architecture of Contriever, BGE, E5 and GTE."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": positions}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    torch.manual_seed(seed)
    settings = {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": positions,
        "initializer_range": 0.5,
    }
    model = transformers.BertModel(transformers.BertConfig(**{**settings, **config}))
    with quiet_transformers():
        model.save_pretrained(folder)
    return folder


def add_sentence_settings(folder: Path, pooling: dict[str, Any], modules: tuple[str, ...] = ("Normalize",)) -> None:
    """The files by which sentence-transformers knows a checkpoint."""
    listed = [{"type": "sentence_transformers.models.Transformer", "path": ""}]
    listed.append({"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"})
    listed += [{"type": f"sentence_transformers.models.{name}", "path": f"2_{name}"} for name in modules]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def encoder_of(folder: Path, **given: Any) -> Encoder:
    opened = Checkpoint(folder)
    settings = {"pooling": None, "normalize": None, "max_length": None, "dtype": "float32", "device": "cpu"}
    return Encoder(opened, resolve_settings(opened, **{**settings, **given}), "cpu")


def reference(folder: Path, pooling: str, texts: list[str], max_length: int = 64) -> Any:
    """Plain transformers, text by text, with a mask."""
    with quiet_transformers():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModel.from_pretrained(folder).eval()
    rows = []
    with torch.no_grad():
        for text in texts:
            batch = tokenizer([text], truncation=True, max_length=max_length, return_tensors="pt")
            hidden = model(**batch).last_hidden_state[0]
            rows.append({"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1]}[pooling])
    return torch.stack(rows)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("normalize", [False, True])
def test_vectors_are_those_of_plain_transformers(checkpoint: Path, pooling: str, normalize: bool) -> None:
    expected = reference(checkpoint, pooling, TEXTS)
    if normalize:
        expected = torch.nn.functional.normalize(expected, dim=1)
    vectors = encoder_of(checkpoint, pooling=pooling, normalize=normalize).encode(TEXTS)
    assert vectors.dtype == np.float32
    assert np.abs(vectors - expected.numpy()).max() < 1e-5


def test_max_length_cuts(checkpoint: Path) -> None:
    expected = reference(checkpoint, "mean", TEXTS, max_length=8).numpy()
    vectors = encoder_of(checkpoint, pooling="mean", normalize=False, max_length=8).encode(TEXTS)
    assert np.abs(vectors - expected).max() < 1e-5


def test_vectors_do_not_depend_on_the_batch(checkpoint: Path) -> None:
    encoder = encoder_of(checkpoint)
    texts = [f"the cat {letter * length}" for letter in "abcd" for length in range(1, 40)]
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    backwards = encoder.encode(texts[::-1])[::-1]
    assert np.abs(together - alone).max() < 1e-6
    assert np.abs(together - backwards).max() < 1e-6


def test_bfloat16_gives_near_vectors_in_float32(checkpoint: Path) -> None:
    full = encoder_of(checkpoint).encode(TEXTS)
    half = encoder_of(checkpoint, dtype="bfloat16").encode(TEXTS)
    assert half.dtype == np.float32
    assert 0 < np.abs(full - half).max() < 0.1


def make_causal(folder: Path, kind: str) -> Path:
    """A decoder whose tokenizer adds no special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1, "cat": 2, "dog": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(folder)
    sizes = {"vocab_size": 8, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = getattr(transformers, kind)(**sizes, num_attention_heads=2, num_key_value_heads=2)
    with quiet_transformers():
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    return folder


def test_a_decoder_with_its_last_token(tmp_path: Path) -> None:
    folder = make_causal(tmp_path, "LlamaConfig")
    texts = ["the cat", "the", "the dog the dog cat"]
    vectors = encoder_of(folder, pooling="last", normalize=False).encode(["", *texts])
    assert not vectors[0].any()  # a text without a token
    assert np.abs(vectors[1:] - reference(folder, "last", texts).numpy()).max() < 1e-5


def test_a_tokenizer_without_tokens_is_refused(tmp_path: Path) -> None:
    # transformers reads this tokenizer as Qwen2's own class, which then knows none of the words.
    folder = make_causal(tmp_path, "Qwen2Config")
    with pytest.raises(ModelError, match="makes no tokens"):
        encoder_of(folder)


def test_pickled_weights_are_read_too(copy: Path) -> None:
    weights = encoder_of(copy)._model.state_dict()
    expected = encoder_of(copy).encode(TEXTS)
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    assert np.array_equal(encoder_of(copy).encode(TEXTS), expected)


def test_passes_hold_one_padded_length_and_enough_tokens(checkpoint: Path) -> None:
    assert padded_lengths(np.array([3, 0, 9, 8, 1, 16, 499]), 60).tolist() == [8, 0, 16, 8, 8, 16, 60]
    encoder = encoder_of(checkpoint)
    shapes, plain = [], encoder._model

    def noting(**batch: Any) -> Any:
        shapes.append(tuple(batch["input_ids"].shape))
        return plain(**batch)

    noting.config = plain.config  # type: ignore[attr-defined]
    encoder._model = noting
    encoder.encode([*["cat"] * 3, "cat " * 20, *["the cat sat " * 20] * 40])
    assert shapes == [(32, 64), (8, 64), (3, 24), (9, 8)]
    assert all(texts * length >= MIN_TOKENS for texts, length in shapes)


SENTENCE_POOLINGS = [
    ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
    ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}, "mean"),
    ({"pooling_mode_lasttoken": True}, "last"),
    ({"embedding_dimension": 32, "pooling_mode": "cls", "include_prompt": True}, "cls"),
    ({"pooling_mode": ["lasttoken"]}, "last"),
]


@pytest.mark.parametrize(("config", "expected"), SENTENCE_POOLINGS)
def test_pooling_is_the_folders_unless_given(copy: Path, config: dict[str, Any], expected: str) -> None:
    add_sentence_settings(copy, config)
    folder = Checkpoint(copy)
    settings = resolve_settings(folder, None, None, None, "float32", "cpu")
    assert (settings.pooling, settings.pooling_from) == (expected, "folder")
    assert f"pooling={expected} (folder)" in settings.describe()
    assert resolve_settings(folder, "last", None, None, "float32", "cpu").pooling == "last"


@pytest.mark.parametrize(
    "config", [{"pooling_mode": "max"}, {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}]
)
def test_a_pooling_that_is_not_offered_is_said(copy: Path, config: dict[str, Any]) -> None:
    add_sentence_settings(copy, config)
    with pytest.raises(ModelError, match=r"not offered.*give pooling="):
        resolve_settings(Checkpoint(copy), None, None, None, "float32", "cpu")
    assert resolve_settings(Checkpoint(copy), "mean", None, None, "float32", "cpu").pooling == "mean"


def test_a_module_that_is_not_offered_is_said(copy: Path) -> None:
    add_sentence_settings(copy, {"pooling_mode": "mean"}, ("Dense", "Normalize"))
    with pytest.raises(ModelError, match="the module Dense"):
        resolve_settings(Checkpoint(copy), None, None, None, "float32", "cpu")


def test_defaults_of_a_plain_folder(copy: Path) -> None:
    settings = resolve_settings(Checkpoint(copy), None, None, None, "float32", "cpu")
    assert settings == Settings("mean", True, 64, "float32", "cpu", "default")
    assert "pooling=mean (default)" in settings.describe()
    (copy / "config_sentence_transformers.json").write_text('{"similarity_fn_name": "dot"}')
    (copy / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    settings = resolve_settings(Checkpoint(copy), None, None, None, "float32", "cpu")
    assert (settings.normalize, settings.max_length) == (False, 12)


@pytest.mark.parametrize("length", [0, -3, 65, 10**9])
def test_a_length_that_the_model_cannot_take(copy: Path, length: int) -> None:
    with pytest.raises(ValueError, match="1 to 64 tokens"):
        resolve_settings(Checkpoint(copy), None, None, length, "float32", "cpu")


def test_roberta_counts_positions_from_two(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "roberta"}))
    assert resolve_settings(Checkpoint(copy), None, None, None, "float32", "cpu").max_length == 62


def test_no_room_for_text(copy: Path) -> None:
    with pytest.raises(ModelError, match="max_length=2 leaves no room"):
        encoder_of(copy, max_length=2)


def test_an_old_folder_keeps_its_transformer_below(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "0_Transformer")
    modules = [{"type": "sentence_transformers.models.Transformer", "path": "0_Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert np.array_equal(encoder_of(tmp_path).encode(TEXTS), encoder_of(checkpoint).encode(TEXTS))


# Faults


def one_line(error: PrlmBenchError) -> None:
    assert "\n" not in str(error)
    assert error.hint


def test_a_folder_without_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no weights") as caught:
        Checkpoint(copy)
    one_line(caught.value)


def test_a_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json") as caught:
        Checkpoint(tmp_path)
    one_line(caught.value)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def blank(path: Path) -> None:
    path.write_bytes(b"")


def scramble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[:64] = b"\xff" * 64
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut, blank, scramble])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt"])
def test_damaged_files_are_one_line(copy: Path, name: str, damage: Any) -> None:
    damage(copy / name)
    try:
        vectors = encoder_of(copy).encode(["the cat"])
    except ModelError as error:
        one_line(error)
    else:
        assert name == "vocab.txt"  # a vocabulary is text, and any text is a vocabulary
        assert np.isfinite(vectors).all()


def test_weights_that_lack_a_tensor_are_not_filled_with_random_numbers(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 of its weights, such as encoder\.layer\.1"):
        encoder_of(copy)


def test_the_pooler_may_be_missing(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    expected = encoder_of(copy).encode(TEXTS)
    weights = {name: value for name, value in load_file(copy / "model.safetensors").items() if "pooler" not in name}
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert np.array_equal(encoder_of(copy).encode(TEXTS), expected)


def test_vectors_that_are_not_finite_are_refused(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][WORDS.index("cat")] = float("nan")
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="not finite"):
        encoder_of(copy).encode(["the dog", "the cat"])


def test_code_of_a_checkpoint_is_not_run(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "odd", "auto_map": {"AutoConfig": "odd.OddConfig", "AutoModel": "odd.OddModel"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "odd.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match="needs Python code that comes with it, which is not run"):
        encoder_of(copy)


@pytest.mark.parametrize("path", ["../outside", "/etc", "1_Pooling/../../outside"])
def test_modules_stay_below_their_folder(copy: Path, path: str) -> None:
    modules = [{"idx": 0, "type": "sentence_transformers.models.Transformer", "path": path}]
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="outside the model's folder"):
        Checkpoint(copy)


# Names


def test_a_folder_is_itself(checkpoint: Path) -> None:
    assert find_checkpoint(str(checkpoint)) == checkpoint


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "a/b/c", "~/no-such-model", __file__])
def test_a_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(ModelError, match="there is no model folder") as caught:
        find_checkpoint(name)
    one_line(caught.value)


def test_a_snapshot_that_is_here_needs_no_network(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    repository = tmp_path / "models--acme--tiny"
    state = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(checkpoint, repository / "snapshots" / state)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(state)
    expected = repository / "snapshots" / state
    assert find_checkpoint("acme/tiny").resolve() == expected.resolve()
    assert find_checkpoint(f"acme/tiny@{state}").resolve() == expected.resolve()
    with pytest.raises(
        ModelError, match=r"model 'acme/other' is neither a folder nor in the local cache.*hf download acme/other"
    ) as caught:
        find_checkpoint("acme/other")
    one_line(caught.value)


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as a download asks for."""

    state = "89abcdef0123456789abcdef0123456789abcdef"

    def __init__(self, folder: Path, asked: list[str], *arguments: Any) -> None:
        self._folder, self._asked = folder, asked
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        self._asked.append(path)
        names = sorted(str(file.relative_to(self._folder)) for file in self._folder.rglob("*") if file.is_file())
        if path.startswith("/api/models/acme/tiny/tree/"):
            rows = [{"type": "file", "path": n, "size": (self._folder / n).stat().st_size, "oid": n} for n in names]
            return self._send(json.dumps(rows).encode(), body)
        if path.startswith("/api/models/acme/tiny"):
            info = {"id": "acme/tiny", "sha": self.state, "siblings": [{"rfilename": name} for name in names]}
            return self._send(json.dumps(info).encode(), body)
        name = path.partition(f"/acme/tiny/resolve/{self.state}/")[2]
        if name in names:
            return self._send((self._folder / name).read_bytes(), body, ETag=f'"{name}"')
        self.send_error(404)

    def _send(self, content: bytes, body: bool, **headers: str) -> None:
        self.send_response(200)
        for key, value in {"Content-Length": str(len(content)), "X-Repo-Commit": self.state, **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("pickled", [False, True])
def test_a_model_is_fetched_from_a_hub_once(copy: Path, tmp_path: Path, pickled: bool) -> None:
    if pickled:
        torch.save(encoder_of(copy)._model.state_dict(), copy / "pytorch_model.bin")
        (copy / "model.safetensors").unlink()
    (copy / "onnx").mkdir()
    (copy / "onnx" / "model.onnx.json").write_text("{}")
    (copy / "README.md").write_text("not needed")
    asked: list[str] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, copy, asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hub")}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    script = "from prlm_bench_plugins.dense._checkpoint import find_checkpoint; print(find_checkpoint('acme/tiny'))"

    def fetch() -> Path:
        ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        return Path(ended.stdout.strip())

    try:
        folder = fetch()
        assert np.array_equal(encoder_of(folder).encode(TEXTS), encoder_of(copy).encode(TEXTS))
        assert not (folder / "README.md").exists()
        asked.clear()
        assert fetch() == folder
        assert asked == []
    finally:
        server.shutdown()
        server.server_close()
