"""Likelihoods against a plain forward pass and against lm_eval, and several samples of a prompt that is read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")
pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[lm]'")

import torch
import transformers
from prlm_bench_plugins.transformers_lm import _cache as caches, _engine as engine, _likelihood as likelihood
from prlm_bench_plugins.transformers_lm._batching import Batching
from prlm_bench_plugins.transformers_lm._encoding import encode_pairs
from prlm_bench_plugins.transformers_lm._loading import LoadedModel
from support.checkpoints import TEMPLATE, make_random, make_tokenizer

from prlm_bench import Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Samples, ScoresContinuations
from prlm_bench.running import Components

Make = Callable[..., Any]
OPTIONS = [" sad", " a headline", "", " the following article about it", "x"]


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = make_random(tmp_path_factory.mktemp("models") / "causal")
    return folder


@pytest.fixture(scope="module")
def seq2seq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "t5"
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    make: Any = transformers.T5Config
    config = make(vocab_size=300, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0, **sizes)
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    make_tokenizer(chat_template=TEMPLATE).save_pretrained(folder)
    return folder


def make_recurrent(folder: Path) -> Path:
    """A Mamba: it keeps no keys and values, and padding would change its state."""
    torch.manual_seed(0)
    config = transformers.MambaConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=2, eos_token_id=1, pad_token_id=0, bos_token_id=None
    )
    transformers.MambaForCausalLM(config).save_pretrained(folder)
    make_tokenizer(chat_template=TEMPLATE).save_pretrained(folder)
    return folder


def framed(prompt: Prompt) -> str:
    return f"<user>{prompt.text}<assistant>" if prompt.chat else prompt.text


def plain(folder: Path, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[list[float]]:
    """One forward pass for each pair, alone and without a cache."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    apart = "T5" in (folder / "config.json").read_text()
    kind: Any = transformers.AutoModelForSeq2SeqLM if apart else transformers.AutoModelForCausalLM
    model = kind.from_pretrained(folder).eval()
    rows = []
    for prompt in prompts:
        text = framed(prompt).rstrip()
        space = framed(prompt)[len(text) :]
        before = tokenizer(text)["input_ids"]
        row = []
        for continuation in continuations:
            if not continuation:
                row.append(0.0)
                continue
            if apart:
                ids = tokenizer(space + continuation, add_special_tokens=False)["input_ids"]
                inputs = {"input_ids": torch.tensor([before]), "decoder_input_ids": torch.tensor([[0, *ids[:-1]]])}
            else:
                ids = tokenizer(text + space + continuation)["input_ids"][len(before) :]
                inputs = {"input_ids": torch.tensor([before + ids[:-1]])}
            with torch.no_grad():
                logits = model(**inputs).logits[0, -len(ids) :].log_softmax(-1)
            row.append(sum(logits[place, token].item() for place, token in enumerate(ids)))
        rows.append(row)
    return rows


def assert_close(found: Sequence[Sequence[float]], wanted: Sequence[Sequence[float]], tolerance: float = 1e-4) -> None:
    assert [len(row) for row in found] == [len(row) for row in wanted]
    for row, other in zip(found, wanted, strict=True):
        assert row == pytest.approx(other, abs=tolerance, rel=0)


class TestLikelihood:
    @pytest.mark.parametrize("options", [{}, {"batching": "single"}, {"batching": "same-length"}, {"batch_tokens": 60}])
    def test_it_is_that_of_a_plain_forward_pass(
        self, make: Make, causal: Path, prompts: list[Prompt], options: dict[str, Any]
    ) -> None:
        generator = make(causal, **options)
        assert isinstance(generator, ScoresContinuations)
        some = [*prompts[:12], replace(prompts[3], text="ends in blanks \n", chat=False)]
        found = generator.loglikelihood(some, [OPTIONS] * len(some))
        wanted = plain(causal, some, OPTIONS)
        assert_close(found, wanted)
        assert len({round(value, 3) for row in wanted for value in row}) > len(some)

    @pytest.mark.parametrize("options", [{}, {"batching": "single"}, {"batch_tokens": 60}])
    def test_an_encoder_decoder(
        self, make: Make, seq2seq: Path, prompts: list[Prompt], options: dict[str, Any]
    ) -> None:
        some = [prompt for prompt in prompts if not prompt.chat]
        found = make(seq2seq, **options).loglikelihood(some, [OPTIONS] * len(some))
        assert_close(found, plain(seq2seq, some, OPTIONS))

    def test_a_recurrent_model(self, make: Make, prompts: list[Prompt], tmp_path: Path) -> None:
        folder = make_recurrent(tmp_path / "mamba")
        found = make(folder).loglikelihood(prompts[:6], [OPTIONS] * 6)
        assert_close(found, plain(folder, prompts[:6], OPTIONS))

    def test_positions_that_are_scaled_by_the_length(self, make: Make, prompts: list[Prompt], tmp_path: Path) -> None:
        folder = make_random(tmp_path / "model")
        config = transformers.AutoConfig.from_pretrained(folder)
        config.rope_parameters = {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0] * 8,
            "long_factor": [4.0] * 8,
            "original_max_position_embeddings": 60,
            "factor": 4.0,
        }
        config.save_pretrained(folder)
        # Short ones, one that only its continuations carry over the length, and longer ones.
        some = [replace(prompts[0], text="x" * length, chat=False) for length in (20, 21, 58, 80, 90)]
        assert_close(make(folder).loglikelihood(some, [OPTIONS] * len(some)), plain(folder, some, OPTIONS))

    def test_a_way_that_gives_other_values_is_not_taken(
        self, make: Make, causal: Path, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read, ways = likelihood.read_prompts, []
        monkeypatch.setattr(likelihood, "_WAYS", {})

        def wrong(loaded: Any, rows: Any, **options: Any) -> Any:
            ways.append(loaded.batching.together)
            cache, mask, first = read(loaded, rows, **options)
            return cache, mask, first + torch.arange(first.shape[-1]) / 10

        monkeypatch.setattr(likelihood, "read_prompts", wrong)
        found = make(causal).loglikelihood(prompts[:4], [OPTIONS] * 4)
        assert_close(found, plain(causal, prompts[:4], OPTIONS))
        assert {*ways} == {"padded", "same-length", "single"}

    def test_other_settings_of_generation_do_not_count(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        wanted = make(causal).loglikelihood(prompts[:2], [OPTIONS] * 2)
        assert make(causal, temperature=2.0, top_p=0.1).loglikelihood(prompts[:2], [OPTIONS] * 2) == wanted

    def test_different_continuations_and_none(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        wanted: list[list[str]] = [[], [" sad"], [" sad", " a headline"]]
        found = make(causal).loglikelihood(prompts[:3], wanted)
        for index, row in enumerate(wanted):
            assert_close(found[index : index + 1], [plain(causal, prompts[index : index + 1], row)[0]])
        assert make(causal).loglikelihood([], []) == []

    def test_a_prompt_is_read_once(
        self, make: Make, causal: Path, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        generator = make(causal)
        generator.loglikelihood(prompts[:1], [["x"]])  # loads the model, which reads texts of its own
        read = []
        forward = caches.forward

        def counting(model: Any, ids: Any, mask: Any, **options: Any) -> Any:
            read.append(ids.numel())
            return forward(model, ids, mask, **options)

        for module in (caches, likelihood):
            monkeypatch.setattr(module, "forward", counting)
        long = replace(prompts[0], text="generate a headline " * 60, chat=False)
        generator.loglikelihood([long], [[" sad", " glad", " so-so", " none of these"]])
        tokenizer = transformers.AutoTokenizer.from_pretrained(causal)
        assert sum(read) < 1.5 * len(tokenizer(long.text)["input_ids"])

    def test_too_long_for_the_window(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        generator = make(causal)
        fits = replace(prompts[0], text="x" * 695, chat=False)
        generator.loglikelihood([fits], [["yzyzyz"]])  # of 6 tokens the last is not read
        with pytest.raises(PrlmBenchError, match=r"has 695 tokens, and the window of .* has room for 694 \(700 in"):
            generator.loglikelihood([fits], [["yzyzyzy"]])

    def test_memory_that_runs_out_halves_the_batch(
        self, make: Make, causal: Path, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        generator = make(causal)
        wanted = generator.loglikelihood(prompts, [OPTIONS] * len(prompts))
        forward, most = caches.forward, 200

        def small(model: Any, ids: Any, mask: Any, **options: Any) -> Any:
            if mask.numel() > most:
                raise torch.OutOfMemoryError("out of memory")
            return forward(model, ids, mask, **options)

        for module in (caches, likelihood):
            monkeypatch.setattr(module, "forward", small)
        assert_close(generator.loglikelihood(prompts, [OPTIONS] * len(prompts)), wanted, 1e-4)
        most = 20
        with pytest.raises(PrlmBenchError, match="not enough memory for a prompt of"):
            generator.loglikelihood(prompts, [OPTIONS] * len(prompts))

    def test_a_text_that_melts_into_the_prompt_keeps_tokens(self, causal: Path) -> None:
        class Melting:
            bos_token_id, eos_token_id = None, 1

            def __call__(self, text: Any, add_special_tokens: bool = True) -> dict[str, Any]:
                texts = [text] if isinstance(text, str) else text
                rows = [[9] if each.startswith("ab") and len(each) > 2 else [ord(c) for c in each] for each in texts]
                return {"input_ids": rows[0] if isinstance(text, str) else rows}

        ((ids, rows),) = encode_pairs(Melting(), ["ab"], [False], [["c"]], apart=False)
        assert (ids, rows) == ([97, 98], [[99]])

    @pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs lm_eval: prlm-bench[lm-eval]")
    @pytest.mark.parametrize("kind", ["causal", "seq2seq"])
    def test_lm_eval_gives_the_same(
        self, request: pytest.FixtureRequest, make: Make, components: Components, prompts: list[Prompt], kind: str
    ) -> None:
        folder = request.getfixturevalue(kind)
        spec = f"lm-eval:backend=hf,pretrained={folder},device=cpu,dtype=float32,batch_size=4,chat=by-protocol"
        other = PluginHost().registry.choose("generator", spec).make(components.context(0))
        assert isinstance(other, ScoresContinuations)
        some = [*prompts[:8], replace(prompts[3], text="ends in blanks \n", chat=False)]
        wanted = other.loglikelihood(some, [OPTIONS] * len(some))
        assert_close(make(folder).loglikelihood(some, [OPTIONS] * len(some)), wanted, 1e-3)
        with pytest.raises(PrlmBenchError, match="and the model has room for"):
            other.loglikelihood([replace(some[0], text="x" * 5000)], [["yz"]])


class TestSamples:
    def test_they_are_the_draws(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        generator = make(causal, temperature=1.0)
        assert isinstance(generator, Samples)
        found = dict(generator.sample(prompts, 3))
        assert sorted(found) == list(range(len(prompts)))
        for number in range(3):
            one = dict(make(causal, temperature=1.0, draw=number).generate(prompts))
            assert [found[place][number] for place in range(len(prompts))] == [one[p] for p in range(len(prompts))]
        assert any(len({completion.text for completion in row}) == 3 for row in found.values())

    def test_a_draw_counts_on(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        later = dict(make(causal, temperature=1.0, draw=2).sample(prompts[:4], 2))
        first = dict(make(causal, temperature=1.0).sample(prompts[:4], 4))
        assert all(list(later[place]) == list(first[place][2:]) for place in range(4))

    def test_an_encoder_decoder(self, make: Make, seq2seq: Path, prompts: list[Prompt]) -> None:
        some = [prompt for prompt in prompts if not prompt.chat][:5]
        found = dict(make(seq2seq, temperature=1.0).sample(some, 2))
        one = dict(make(seq2seq, temperature=1.0, draw=1).generate(some))
        assert [found[place][1] for place in range(5)] == [one[place] for place in range(5)]

    def test_a_prompt_is_read_once(
        self, make: Make, causal: Path, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        generator = make(causal, temperature=1.0, max_new_tokens=2)
        dict(generator.generate(prompts[:1]))
        rows = []
        read = caches.read_prompts

        def counting(loaded: Any, ids: Any, **options: Any) -> Any:
            rows.append(len(ids))
            return read(loaded, ids, **options)

        monkeypatch.setattr(engine, "read_prompts", counting)
        dict(generator.sample(prompts[-2:], 8))
        assert rows == [2]

    def test_greedy_ones_would_be_the_same(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        with pytest.raises(PrlmBenchError, match="so 2 samples of it would be the same"):
            list(make(causal).sample(prompts, 2))
        alone = dict(make(causal).sample(prompts[:2], 1))
        assert [alone[place][0] for place in range(2)] == [c for _, c in sorted(make(causal).generate(prompts[:2]))]

    def test_models_without_such_a_cache_read_it_each_time(
        self, make: Make, prompts: list[Prompt], tmp_path: Path
    ) -> None:
        folder = make_recurrent(tmp_path / "mamba")
        found = dict(make(folder, temperature=1.0).sample(prompts[:3], 2))
        one = dict(make(folder, temperature=1.0, draw=1).generate(prompts[:3]))
        assert [found[place][1] for place in range(3)] == [one[place] for place in range(3)]


def test_rows_of_a_cache_leave_it_as_it_was(causal: Path) -> None:
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(causal)
    model.eval()
    loaded = LoadedModel(model, (), 0, None, Batching())
    with torch.inference_mode():
        cache, mask, _ = caches.read_prompts(loaded, [[5, 6, 7], [8, 9]], chunks=True)
        before = [layer.keys.clone() for layer in cache.layers]
        made = caches.select_rows(cache, torch.tensor([1, 1, 0]))
        ids = torch.tensor([[4], [4], [4]])
        caches.forward(model, ids, torch.cat([mask[[1, 1, 0]], torch.ones_like(ids)], 1), cache=made)
    assert made.get_seq_length() == 4 and cache.get_seq_length() == 3
    assert all(layer.keys.equal(one) for layer, one in zip(cache.layers, before, strict=True))
    assert isinstance(cache.layers[0], caches.PreallocatedCacheLayer)
