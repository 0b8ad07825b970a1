"""What makes a CPU fast changes no answer: beginnings that prompts share are read once, and the precision is chosen."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: prlm-bench[lm]")
pytest.importorskip("transformers", reason="needs transformers: prlm-bench[lm]")

import torch
import transformers
from prlm_bench_plugins.transformers_lm import _dtype
from prlm_bench_plugins.transformers_lm._batching import Batching, choose_batching
from prlm_bench_plugins.transformers_lm._decoding import Decoding
from prlm_bench_plugins.transformers_lm._dtype import resolved_dtype
from prlm_bench_plugins.transformers_lm._engine import Batch, Request, generate_all
from prlm_bench_plugins.transformers_lm._files import find_model
from prlm_bench_plugins.transformers_lm._loading import LoadedModel
from prlm_bench_plugins.transformers_lm._prefixes import Reading, padded, shared_tokens
from support.checkpoints import SIZES, make_random

from prlm_bench import Prompt
from prlm_bench.interfaces import NOT_BATCH_INVARIANT

MOST, END, PAD, WORDS = 6, 1, 0, 200
MODEL = {**SIZES, "vocab_size": WORDS, "pad_token_id": PAD, "eos_token_id": END}


def sharp(config: Any) -> Any:
    """A model with random weights whose answers differ."""
    torch.manual_seed(0)
    kind: Any = transformers.AutoModelForCausalLM
    model = kind.from_config(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(6 if weights.dim() > 1 else 1)
    model.generation_config.eos_token_id = None
    return model


@pytest.fixture(scope="module")
def llama() -> Any:
    return sharp(transformers.LlamaConfig(**MODEL))


def some(lengths: Sequence[int], begin: int, seed: int = 0) -> list[list[int]]:
    """Prompts of these lengths that begin with the same tokens, `begin` of them."""
    rng = random.Random(seed)
    common = [rng.randrange(3, WORDS) for _ in range(begin)]
    return [[*common, *(rng.randrange(3, WORDS) for _ in range(length))][:length] for length in lengths]


def answers(model: Any, prompts: Sequence[list[int]], decoding: Decoding, reading: Reading) -> list[list[int]]:
    requests = [Request(place, str(place), ids) for place, ids in enumerate(prompts)]
    batch = Batch(LoadedModel(model, (END,), PAD), requests, decoding, reading)
    found: dict[int, list[int]] = {}
    while batch.requests:
        found |= {output.index: output.ids for output in batch.advance()}
    return [found[place] for place in range(len(prompts))]


def written_alone(model: Any, ids: list[int]) -> list[int]:
    options = {"max_new_tokens": MOST, "do_sample": False, "eos_token_id": END, "pad_token_id": PAD}
    with torch.inference_mode():
        found = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **options)
    answer: list[int] = found[0, len(ids) :].tolist()
    return answer


NEVER = Reading(rows=10_000, saved=10_000_000)


@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize(
    ("lengths", "begin"),
    [
        ([20, 90, 23, 71, 150, 21, 64, 20, 40, 22], 20),  # one is nothing but the beginning, which gives up a token
        ([30, 30, 30], 29),
        ([9, 70, 1, 2, 65, 3, 64, 12, 33], 0),
        ([50, 50, 50, 50], 50),  # all the same
        ([1, 1], 1),
        ([2, 2], 1),
        ([80], 80),
    ],
)
def test_prompts_that_begin_alike_are_answered_as_each_alone(
    llama: Any, lengths: list[int], begin: int, rows: int, caplog: pytest.LogCaptureFixture
) -> None:
    prompts = some(lengths, begin)
    transformers.utils.logging.enable_propagation()
    assert answers(llama, prompts, Decoding(MOST), Reading(rows, 0)) == [written_alone(llama, ids) for ids in prompts]
    assert not caplog.records  # of padding that transformers takes for a mistake


def test_sampled_answers_are_the_same_too(llama: Any) -> None:
    prompts, decoding = some([40, 90, 41, 77, 130], 38), Decoding(MOST, temperature=0.8, top_p=0.9, seed="7")
    assert answers(llama, prompts, decoding, Reading(2, 0)) == answers(llama, prompts, decoding, NEVER)


def read_tokens(model: Any, prompts: Sequence[list[int]], reading: Reading) -> int:
    """Tokens that go through the model for one new token."""
    seen = []
    hook = model.get_input_embeddings().register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].numel()))
    try:
        answers(model, prompts, Decoding(1), reading)
    finally:
        hook.remove()
    return sum(seen)


def test_the_beginning_is_read_once_and_padding_is_not_read(llama: Any) -> None:
    prompts = some([60] * 12, 50)
    assert read_tokens(llama, prompts, NEVER) == 12 * 60
    assert read_tokens(llama, prompts, Reading(rows=4, saved=0)) == 50 + 12 * 10
    assert read_tokens(llama, prompts, Reading(rows=4, saved=11 * 50)) == 12 * 60  # it does not pay
    uneven = some([100, 100, 10, 10], 0)
    assert read_tokens(llama, uneven, NEVER) == 400
    assert read_tokens(llama, uneven, Reading(rows=2, saved=0)) == 2 * 99 + 2 * 9 + 4


def test_a_common_beginning_leaves_each_prompt_a_token() -> None:
    assert shared_tokens([[1, 2, 3], [1, 2, 4]]) == 2
    assert shared_tokens([[1, 2], [1, 2, 4], [1, 2, 9]]) == 1
    assert shared_tokens([[1], [1]]) == shared_tokens([[5, 6], [7, 6]]) == shared_tokens([[1, 2, 3]]) == 0
    assert shared_tokens([[1, 2, 3], [1, 2, 4], [1, 2, 5]], saved=3) == 2
    assert shared_tokens([[1, 2, 3], [1, 2, 4], [1, 2, 5]], saved=4) == 0


def test_padding_is_behind_the_common_beginning() -> None:
    ids, mask = padded([[7, 8, 1], [7, 8, 2, 3, 4]], 0, 2)
    assert ids.tolist() == [[7, 8, 0, 0, 1], [7, 8, 2, 3, 4]]
    assert mask.tolist() == [[1, 1, 0, 0, 1], [1, 1, 1, 1, 1]]


def test_settings_that_look_back_see_no_padding_inside_a_prompt(llama: Any) -> None:
    prompts = some([60] * 4, 50)
    llama.generation_config.repetition_penalty = 1.3
    try:
        assert read_tokens(llama, prompts, Reading(rows=2, saved=0)) == 4 * 60
    finally:
        llama.generation_config.repetition_penalty = None


def test_it_is_found_out_by_trying(llama: Any, tmp_path: Path) -> None:
    loaded = LoadedModel(llama, (), PAD, 256)
    found = choose_batching(loaded, "made", "made", tmp_path, range(3, WORDS))
    assert found == Batching("padded", "shared")
    prompts = some([60, 90, 61, 70], 50)
    requests = [Request(place, "", ids) for place, ids in enumerate(prompts)]
    used = LoadedModel(llama, (END,), PAD, 256, found)
    outputs = {output.index: output.ids for output in generate_all(used, requests, Decoding(MOST), 10_000)}
    assert [outputs[place] for place in range(4)] == [written_alone(llama, ids) for ids in prompts]


def test_distances_that_count_padding_are_found_out(tmp_path: Path) -> None:
    """A bias by place in the cache, not by position."""
    model = sharp(transformers.MptConfig(d_model=32, n_heads=4, n_layers=2, vocab_size=WORDS, max_seq_len=256))
    found = choose_batching(LoadedModel(model, (), PAD, 256), "made", "made", tmp_path, range(3, WORDS))
    assert found.cache != "shared"


def test_a_window_of_attention_is_not_read_apart(llama: Any) -> None:
    window = sharp(transformers.MistralConfig(**MODEL, sliding_window=40))
    prompts = some([60, 90, 61, 70], 50)
    assert answers(window, prompts, Decoding(MOST), Reading(2, 0)) == [written_alone(window, ids) for ids in prompts]
    assert read_tokens(window, prompts, Reading(2, 0)) == 4 * 90


# Precision


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    def has(flags: str) -> None:
        file = tmp_path / f"cpuinfo-{len(flags)}"
        file.write_text(f"processor\t: 0\n{flags}\n\nprocessor\t: 1\n{flags}\n")
        monkeypatch.setattr(_dtype, "_PROCESSOR", file)

    return has


def stored(folder: Path, dtype: str, *, named: bool = True) -> Path:
    """A checkpoint in a precision, which its configuration may not name."""
    make_random(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    model.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    assert config.pop("dtype") == dtype
    path.write_text(json.dumps(config | ({"torch_dtype": dtype} if named else {})))
    return folder


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("dtype", "flags", "device", "expected"),
    [
        ("bfloat16", "flags\t\t: fpu avx512f avx512_bf16", "cpu", "bfloat16"),
        ("bfloat16", "flags\t\t: fpu amx_bf16 amx_tile", "cpu", "bfloat16"),
        ("bfloat16", "Features\t: fp asimd bf16", "cpu", "bfloat16"),
        ("bfloat16", "flags\t\t: fpu avx512f avx512_vnni", "cpu", "float32"),
        ("bfloat16", "", "cpu", "float32"),
        ("float16", "flags\t\t: avx512_bf16", "cpu", "float32"),
        ("float32", "flags\t\t: avx512_bf16", "cpu", "float32"),
        ("bfloat16", "", "cuda:1", "bfloat16"),
        ("float16", "", "auto", "float16"),
        ("float32", "", "cuda", "float32"),
        ("float64", "", "cpu", "float32"),
        ("float64", "", "cuda", "auto"),
    ],
)
def test_precision_chosen_for_a_checkpoint(
    dtype: str,
    flags: str,
    device: str,
    expected: str,
    named: bool,
    tmp_path: Path,
    processor: Callable[[str], None],
) -> None:
    processor(flags)
    files = find_model(str(stored(tmp_path / "model", dtype, named=named)), None)
    assert resolved_dtype(files, "auto", device) == expected
    assert resolved_dtype(files, "float16", device) == "float16"


def test_a_system_that_does_not_tell_has_no_bfloat16(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_dtype, "_PROCESSOR", tmp_path / "none")
    assert not _dtype.has_bfloat16()


def test_identity_states_the_precision(
    tmp_path: Path, make: Callable[..., Any], prompts: list[Prompt], processor: Callable[[str], None]
) -> None:
    folder = stored(tmp_path / "model", "bfloat16")
    processor("flags : avx512f")
    exact = make(folder)
    assert " dtype=float32" in exact.fingerprint()
    assert NOT_BATCH_INVARIANT not in exact.fingerprint()
    assert exact.fingerprint() == make(folder, dtype="float32").fingerprint()
    found = dict(exact.generate(prompts[:4]))
    assert found == dict(make(folder, dtype="float32").generate(prompts[:4]))
    processor("flags : avx512f avx512_bf16")
    half = make(folder)
    assert f" dtype=bfloat16 {NOT_BATCH_INVARIANT}" in half.fingerprint()
    assert len(dict(half.generate(prompts[:4]))) == 4


def test_batching_names_are_those_of_the_file() -> None:
    assert Batching() == Batching("padded", "shared")
