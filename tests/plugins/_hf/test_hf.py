"""What plugins share of Hugging Face models: names to folders, hashes, devices, loading, batches and chats."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from prlm_bench_plugins import _hf as hf
from prlm_bench_plugins._hf import ModelError, ModelTooLargeError

from prlm_bench import Document, Example, Prompt, Ranking
from prlm_bench.errors import MissingDependencyError, PrlmBenchError


def test_importing_it_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "huggingface_hub", "safetensors")
    code = f"import sys, prlm_bench_plugins._hf; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_all_names_are_there() -> None:
    assert all(hasattr(hf, name) for name in hf.__all__)


def one_line(error: PrlmBenchError) -> None:
    assert "\n" not in str(error) and error.hint


# folders


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "a/b/c", "~/no-such-model", __file__])
def test_a_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(ModelError, match="there is no encoder folder") as caught:
        hf.find_folder(name, ["*.json"], what="encoder")
    one_line(caught.value)


def test_a_folder_is_itself_and_has_no_revisions(tmp_path: Path) -> None:
    odd = tmp_path / "a@b"
    odd.mkdir()
    assert hf.find_folder(str(odd), ["*.json"]) == odd
    with pytest.raises(ModelError, match="has no revisions"):
        hf.find_folder(str(odd), ["*.json"], revision="main")


STATE = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's local cache with the snapshot of `acme/tiny`, and a hub that does not answer."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    repository = tmp_path / "models--acme--tiny"
    snapshot = repository / "snapshots" / STATE
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(STATE)
    return snapshot


@pytest.mark.parametrize("weights", ["model.safetensors", "part/model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("name", ["acme/tiny", f"acme/tiny@{STATE}"])
def test_a_snapshot_with_weights_is_taken_without_the_hub(hub_cache: Path, weights: str, name: str) -> None:
    (hub_cache / weights).parent.mkdir(exist_ok=True)
    (hub_cache / weights).write_bytes(b"")
    found = hf.find_folder(name, ["*.json", "*.safetensors"], fallback=["pytorch_model*.bin"], prefer_local=True)
    assert found.resolve() == hub_cache.resolve()


@pytest.mark.parametrize("offline", [False, True])
def test_a_hub_that_does_not_answer_is_one_line(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    with pytest.raises(ModelError, match=r"encoder 'acme/other' at revision 'v1' .*hf download acme/other") as caught:
        hf.find_folder("acme/other@v1", ["*.json"], prefer_local=True, what="encoder")
    one_line(caught.value)


# hashes


def test_a_hash_follows_names_and_contents(tmp_path: Path) -> None:
    a, b = tmp_path / "m" / "a.json", tmp_path / "m" / "sub" / "b.json"
    b.parent.mkdir(parents=True)
    a.write_text("1")
    b.write_text("2")

    def found(*files: Path, root: Path = tmp_path / "m") -> str:
        return hf.hash_files(files, root, tmp_path / "cache")

    first = found(a, b)
    assert first == found(b, a, b)
    assert first != found(a) != found(a, root=tmp_path)
    os.utime(a, (1, 1))
    assert found(a, b) == first
    b.write_text("3")
    assert found(a, b) != first


def test_json_that_is_no_object_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for text in ("[1", "[1]", None):
        path.unlink(missing_ok=True) if text is None else path.write_text(text)
        with pytest.raises(ModelError, match=r"config\.json: .* \(fetch or write") as caught:
            hf.read_json(path)
        one_line(caught.value)
    path.write_text(json.dumps({"a": 1}))
    assert hf.read_json(path) == {"a": 1}


# devices and packages


def test_a_cpu_build_of_torch_is_known_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prlm_bench_plugins._hf._device.import_torch", lambda: pytest.fail("torch was imported"))
    monkeypatch.setattr("prlm_bench_plugins._hf._device.version", lambda _: "2.13.0+cpu")
    assert [hf.choose_device(wanted) for wanted in (None, "auto", "cpu")] == ["cpu"] * 3


@pytest.mark.parametrize("wanted", ["cuda:77", "xpu:77"])
def test_a_device_that_is_not_here_is_one_line(wanted: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(ModelError, match=rf"there is no device '{wanted}' here: torch finds .* devices?") as caught:
        hf.choose_device(wanted)
    one_line(caught.value)


@pytest.mark.parametrize("wanted", ["tpu", "cuda:x", "cpu:1", "cuda:", "CPU"])
def test_a_device_that_does_not_exist(wanted: str) -> None:
    with pytest.raises(ValueError, match="is none of auto, cpu"):
        hf.choose_device(wanted)


def test_a_package_that_is_missing_names_the_extra() -> None:
    assert list(hf.package_versions(["pytest", "hypothesis"], "a test", "test")) == ["pytest", "hypothesis"]
    with pytest.raises(MissingDependencyError, match="a test needs the package 'no_such_package'") as caught:
        hf.package_versions(["pytest", "no_such_package"], "a test", "test")
    assert caught.value.hint == "pip install 'prlm-bench[test]'"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried"), True),
        (RuntimeError("can't allocate memory"), True),
        (RuntimeError("index out of range"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_that_say_that_memory_ran_out(error: Exception, expected: bool) -> None:
    assert hf.is_out_of_memory(error) is expected


# loading


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A BERT encoder with random weights."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `dense`")
    pytest.importorskip("torch", reason="needs the extra `dense`")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abc"]))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with hf.loading("a model"):
        transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
        transformers.BertModel(transformers.BertConfig(vocab_size=8, **sizes)).save_pretrained(tmp_path)
    return tmp_path


def test_a_model_and_its_tokenizer(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    loaded = hf.load_model("AutoModel", model, "model 'x'", dtype="bfloat16")
    assert str(loaded.dtype) == "torch.bfloat16"
    assert hf.load_tokenizer(model, "model 'x'")("a b")["input_ids"] == [2, 5, 6, 3]
    assert capfd.readouterr() == ("", "")


def test_weights_may_be_missing_only_where_that_is_said(model: Path) -> None:
    kind = "AutoModelForSequenceClassification"
    with pytest.raises(ModelError, match=r"^model 'x' lacks 2 of its weights, such as classifier\.bias") as caught:
        hf.load_model(kind, model, "model 'x'")
    one_line(caught.value)
    for may_lack in (("classifier.",), ("",)):
        assert hf.load_model(kind, model, "model 'x'", may_lack=may_lack).num_labels == 2


def test_what_cannot_be_loaded_is_one_line(model: Path) -> None:
    (model / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"^the tokenizer of model 'x' cannot be loaded: .*\(look\)$") as caught:
        hf.load_tokenizer(model, "model 'x'", hint="look")
    one_line(caught.value)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ModelError, match=r"^model 'x' cannot be loaded: ") as caught:
        hf.load_model("AutoModel", model, "model 'x'", hint="look")
    one_line(caught.value)


def test_pickled_weights_are_read_only_where_that_is_allowed(model: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        hf.load_model("AutoModel", model, "model 'x'")
    for safetensors in (None, False):
        hf.load_model("AutoModel", model, "model 'x'", safetensors=safetensors)


def test_code_of_a_checkpoint_is_not_run(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config |= {"model_type": "odd", "auto_map": {"AutoConfig": "odd.OddConfig", "AutoModel": "odd.OddModel"}}
    (model / "config.json").write_text(json.dumps(config))
    (model / "odd.py").write_text("raise SystemExit('ran')")
    hf.load_tokenizer(model, "model 'x'")
    with pytest.raises(ModelError, match="needs Python code that comes with it, which is not run"):
        hf.load_model("AutoModel", model, "model 'x'")


def test_errors_of_loading_keep_their_kind() -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ModelTooLargeError, match=r"^model 'x' does not fit into memory"), hf.loading("model 'x'"):
        raise RuntimeError("CUDA out of memory")
    own = PrlmBenchError("own")
    with pytest.raises(PrlmBenchError) as caught, hf.loading("model 'x'"):
        raise own
    assert caught.value is own


# batches


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(1, 60), st.booleans(), st.booleans())
def test_batches_hold_every_text_once_within_the_budget(
    lengths: list[int], budget: int, shortest_first: bool, same_length: bool
) -> None:
    batches = list(hf.token_batches(lengths, budget, shortest_first=shortest_first, same_length=same_length))
    order = [place for batch in batches for place in batch]
    assert order == sorted(range(len(lengths)), key=lambda place: lengths[place] if shortest_first else -lengths[place])
    for batch in batches:
        longest = max(lengths[place] for place in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert not same_length or {lengths[place] for place in batch} == {longest}
    for before, after in pairwise(batches):
        grown = [lengths[place] for place in (*before, after[0])]
        assert len(grown) * max(grown) > budget or (same_length and len(set(grown)) > 1)


def test_padding() -> None:
    pytest.importorskip("torch")
    ids, mask = hf.pad_ids([[1, 2, 3], [4], []], 9, left=True)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 4], [9, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]
    ids, mask = hf.pad_ids([[1, 2, 3], [4]], 0, left=False, width=4)
    assert ids.tolist() == [[1, 2, 3, 0], [4, 0, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]


# chats


TEMPLATE = "<s>{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}{% endfor %}<assistant>"


def letters(template: str | None = TEMPLATE, **settings: Any) -> Any:
    """A tokenizer of bytes that begins every text with `<s>`."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `hf`")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    names = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({name: place for place, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    ends = {"bos_token": "<s>", "eos_token": "</s>"}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, chat_template=template, **{**ends, **settings}
    )


def prompt(text: str, chat: bool) -> Prompt:
    example = Example("e", "u", text, text, (Document("i", "t", {}),))
    return Prompt(example, Ranking(), text, chat=chat)


def test_a_chat_brings_its_special_tokens_and_plain_text_gets_them() -> None:
    tokenizer = letters()
    prompts = [hf.turns(prompt("ab", chat), "by-protocol") for chat in (True, False, True)]
    ids = hf.encode_prompts(tokenizer, prompts)
    assert [tokenizer.decode(row) for row in ids] == [
        "<s><user>ab<assistant>",
        "<s>ab",
        "<s><user>ab<assistant>",
    ]
    assert hf.encode_prompts(tokenizer, []) == []
    assert hf.template_tokens(tokenizer) == 1 + len("<user>a<assistant>")
    assert hf.template_tokens(tokenizer, chat="never") == 0
    assert hf.chat_text(tokenizer, prompts[0], begin=False) == "<user>ab<assistant>"


def test_without_a_template_a_chat_is_plain_text() -> None:
    tokenizer = letters(None)
    chat, plain = (hf.encode_prompts(tokenizer, [hf.turns(prompt("ab", True), how)]) for how in ("auto", "never"))
    assert chat == plain
    assert hf.template_tokens(tokenizer) == 0


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize(("option", "framed"), [("auto", True), ("always", True), ("never", False)])
def test_the_option_decides_what_is_a_turn(option: hf.Chat, framed: bool, asked: bool) -> None:
    assert isinstance(hf.turns(prompt("ab", asked), option), list) is framed
    assert isinstance(hf.turns(prompt("ab", asked), "by-protocol"), list) is asked


def test_always_refuses_a_model_without_a_template() -> None:
    with pytest.raises(ModelError, match=r"^model 'x' has no chat template, which chat=always needs"):
        hf.require_template("always", None, "model 'x'")
    for option in ("auto", "never", "by-protocol"):
        hf.require_template(option, None, "model 'x'")


def test_a_template_that_refuses_is_one_line() -> None:
    tokenizer = letters("{{ raise_exception('no\n users') }}")
    with pytest.raises(ModelError, match=r"^the chat template of model 'x' refuses a user's turn: no users$"):
        hf.encode_prompts(tokenizer, [hf.turns(prompt("ab", True))], "model 'x'")


def test_completions_end() -> None:
    tokenizer = letters()
    assert [tokenizer.decode(row) for row in hf.encode_completions(tokenizer, ["ab", ""])] == ["ab</s>", "</s>"]
    assert hf.encode_completions(tokenizer, []) == []
