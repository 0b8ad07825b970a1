"""What checkpoints set in generation_config.json, and how the batching that they bear is found out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")
pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[lm]'")

import torch
import transformers
from prlm_bench_plugins.transformers_lm import _batching as batching, _decoding as decoding, _engine as engine
from prlm_bench_plugins.transformers_lm._batching import FASTEST, Batching, choose_batching
from prlm_bench_plugins.transformers_lm._loading import LoadedModel
from support.checkpoints import make_random, make_tokenizer, set_generation

from prlm_bench import Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import Generator

Make = Callable[..., Generator]


def written(generator: Generator, prompts: Sequence[Prompt]) -> list[str]:
    found = dict(generator.generate(prompts))
    return [found[place].text for place in range(len(prompts))]


def alone(folder: Path, prompts: Sequence[Prompt], **options: Any) -> list[str]:
    """What `generate()` writes, one prompt at a time."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found = []
    for prompt in prompts:
        inputs = tokenizer(prompt.text, return_tensors="pt")
        ids = model.generate(**inputs, max_new_tokens=12, do_sample=False, **options)
        found.append(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    return found


@pytest.fixture
def plain(prompts: list[Prompt]) -> list[Prompt]:
    return [replace(prompt, chat=False) for prompt in prompts]


class TestGenerationConfig:
    @pytest.mark.parametrize(
        "field",
        [
            {"cache_implementation": "static"},
            {"cache_implementation": "offloaded"},
            {"cache_implementation": "nonsense"},
            {"num_return_sequences": 3},
            {"num_beams": 4, "num_return_sequences": 2},
            {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.9, "min_p": 0.1, "typical_p": 0.5},
            {"do_sample": False, "temperature": 0.6},
            {"max_length": 3, "max_new_tokens": 2, "max_time": 0.0},
            {"use_cache": False},
            {"return_dict_in_generate": False, "output_scores": True, "output_attentions": True},
            {"prompt_lookup_num_tokens": 3},
            {"compile_config": {}, "disable_compile": False},
            {"prefill_chunk_size": 1},
            {"temperature": "hot"},
        ],
        ids=lambda field: ",".join(field),
    )
    def test_fields_that_the_options_decide(
        self, make: Make, plain: list[Prompt], tmp_path: Path, caplog: pytest.LogCaptureFixture, field: dict[str, Any]
    ) -> None:
        folder = make_random(tmp_path / "model")
        before = alone(folder, plain)
        set_generation(folder, **field)
        with caplog.at_level(logging.WARNING):
            assert written(make(folder), plain) == before
        assert not caplog.records

    @pytest.mark.parametrize(
        "field",
        [
            {"penalty_alpha": 0.6, "top_k": 4},
            {"stop_strings": ["a", "e"]},
            {"dola_layers": "high"},
            {"guidance_scale": 1.5},
            {"num_beam_groups": 2, "diversity_penalty": 0.5},
            {"force_words_ids": [[5]]},
            {"watermarking_config": {"greenlist_ratio": 0.5}},
            {"token_healing": True},
            {"custom_generate": "dir"},
        ],
        ids=lambda field: ",".join(field),
    )
    def test_fields_that_are_not_followed_are_named(
        self, make: Make, plain: list[Prompt], tmp_path: Path, caplog: pytest.LogCaptureFixture, field: dict[str, Any]
    ) -> None:
        folder = make_random(tmp_path / "model")
        before = alone(folder, plain)
        set_generation(folder, **field)
        with caplog.at_level(logging.WARNING):
            assert written(make(folder), plain) == before
        (record,) = caplog.records
        assert next(iter(field)) in record.getMessage() and "not followed" in record.getMessage()

    @pytest.mark.parametrize(
        "field",
        [
            {"repetition_penalty": 1.3},
            {"no_repeat_ngram_size": 2},
            {"suppress_tokens": [100, 101, 102]},
            {"begin_suppress_tokens": [*range(60, 200)]},
            {"bad_words_ids": [[70], [71, 72]]},
            {"min_new_tokens": 8},
            {"forced_eos_token_id": 1},
            {"sequence_bias": [[[70], -9.0], [[90], 3.0]]},
            {"eos_token_id": [1, 60, 61, 62, 63, 64, 65]},
            {"exponential_decay_length_penalty": [2, 1.5]},
        ],
        ids=lambda field: ",".join(field),
    )
    def test_fields_that_are_followed(
        self, make: Make, plain: list[Prompt], tmp_path: Path, field: dict[str, Any]
    ) -> None:
        folder = make_random(tmp_path / "model", seed=2)
        set_generation(folder, **field)
        assert written(make(folder), plain) == alone(folder, plain)

    def test_padding_with_the_end_does_not_make_it_less_likely(
        self, make: Make, plain: list[Prompt], tmp_path: Path
    ) -> None:
        folder = make_random(tmp_path / "model", seed=2)
        make_tokenizer(pad_token="<end>", unk_token="<pad>").save_pretrained(folder)
        set_generation(folder, repetition_penalty=3.0, eos_token_id=[1, *range(60, 90)], pad_token_id=1)
        assert written(make(folder), plain) == alone(folder, plain)

    @pytest.mark.parametrize(
        "field",
        [{"repetition_penalty": "much"}, {"eos_token_id": "x"}, {"suppress_tokens": "5"}, {"min_new_tokens": "x"}],
    )
    def test_impossible_values_are_one_line(
        self, make: Make, plain: list[Prompt], tmp_path: Path, field: dict[str, Any]
    ) -> None:
        folder = make_random(tmp_path / "model")
        set_generation(folder, **field)
        with pytest.raises(PrlmBenchError) as caught:
            written(make(folder), plain[:2])
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)

    def test_every_field_of_the_library_is_in_the_table(self) -> None:
        """A field that neither table names is reported when a checkpoint sets it."""
        known = {name for name in vars(transformers.GenerationConfig()) if not name.startswith("_")}
        assert known >= decoding.FOLLOWED
        assert not decoding.FOLLOWED & decoding.DECIDED_HERE


SIZES = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def loaded(config: Any) -> LoadedModel:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(3 if weights.dim() > 1 else 1)
    return LoadedModel(model, (1,), 0, 256)


def llama(**settings: Any) -> LoadedModel:
    return loaded(transformers.LlamaConfig(**SIZES, intermediate_size=64, **settings))


class TestBatching:
    @pytest.fixture
    def tokens(self) -> list[int]:
        return list(range(3, 300))

    def test_most_models_bear_everything(self, tokens: list[int], tmp_path: Path) -> None:
        assert choose_batching(llama(), "m", "1", tmp_path, tokens) == FASTEST

    def test_learned_positions_that_do_not_look_at_the_mask(self, tokens: list[int], tmp_path: Path) -> None:
        config = transformers.BartConfig(
            vocab_size=300, d_model=32, decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=64, is_decoder=True
        )
        assert choose_batching(loaded(config), "m", "1", tmp_path, tokens).together == "same-length"

    @pytest.mark.parametrize(
        ("broken", "expected"),
        [
            ({"padded"}, Batching("same-length", "chunked")),
            ({"padded", "same-length"}, Batching("single", "chunked")),
            ({"chunked"}, Batching("padded", "grown")),
            ({"chunked", "grown"}, Batching("padded", "plain")),
            ({"chunked", "padded"}, Batching("same-length", "grown")),
            ({"chunked", "grown", "padded", "same-length"}, Batching("single", "plain")),
        ],
        ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else "",
    )
    @pytest.mark.parametrize("fails", [True, False])
    def test_the_fastest_that_writes_the_same(
        self, tokens: list[int], tmp_path: Path, monkeypatch: Any, broken: set[str], expected: Batching, fails: bool
    ) -> None:
        real = engine.trace

        def trace(model: LoadedModel, prompts: Any, way: Batching, count: int) -> Any:
            found = real(model, prompts, way, count)
            if broken & {way.together if len(prompts) > 1 else "", way.cache}:
                if fails:
                    raise IndexError("a model that does not bear it")
                return [(row, logits + torch.arange(300) / 100) for row, logits in found]
            return found

        monkeypatch.setattr(engine, "trace", trace)
        assert choose_batching(llama(), "m", "1", tmp_path, tokens) == expected

    def test_positions_that_depend_on_the_longest_text(self, tokens: list[int], tmp_path: Path) -> None:
        """LongRoPE: beyond a length all positions are read otherwise, also those of shorter texts in the batch."""
        rope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
        config = transformers.Phi3Config(
            **SIZES,
            intermediate_size=64,
            pad_token_id=0,
            max_position_embeddings=256,
            original_max_position_embeddings=100,
            rope_scaling=rope,
        )
        assert batching.position_reach(config) == 100
        assert batching.position_reach(transformers.LlamaConfig(**SIZES)) is None
        model = replace(loaded(config), end_ids=(), reach=100)
        found = choose_batching(model, "m", "1", tmp_path, tokens)
        assert found == FASTEST
        prompts = [[tokens[(7 * place + row) % 297] for place in range(5 + 17 * row)] for row in range(12)]
        requests = [engine.Request(row, "", prompt) for row, prompt in enumerate(prompts)]
        outputs = engine.generate_all(replace(model, batching=found), requests, decoding.Decoding(8), 1 << 16)
        written = {output.index: output.ids for output in outputs}
        for row, prompt in enumerate(prompts):
            ids = torch.tensor([prompt])
            options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
            alone = model.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
            assert written[row] == alone[0, len(prompt) :].tolist()

    def test_it_is_tried_once(
        self, tokens: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            first = choose_batching(llama(), "model 'm'", "1", tmp_path, tokens)
        assert "model 'm': batches are padded, the cache is shared" in caplog.text
        (path,) = (tmp_path / "batching").iterdir()
        monkeypatch.setattr(batching, "_try", lambda *_: pytest.fail("tried again"))
        assert choose_batching(llama(), "model 'm'", "1", tmp_path, tokens) == first
        with pytest.raises(BaseException, match="tried again"):
            choose_batching(llama(), "model 'm'", "2", tmp_path, tokens)
        for damaged in ("", "{}", '{"together": "all", "cache": "plain"}', "[]"):
            path.write_text(damaged)
            with pytest.raises(BaseException, match="tried again"):
                choose_batching(llama(), "model 'm'", "1", tmp_path, tokens)

    def test_it_costs_a_few_tokens(self, tokens: list[int], tmp_path: Path) -> None:
        model = llama()
        seen = []
        model.model.register_forward_pre_hook(
            lambda _, __, given: seen.append(given["input_ids"].numel()), with_kwargs=True
        )
        choose_batching(model, "m", "1", tmp_path, tokens)
        assert sum(seen) < 800

    def test_a_model_that_cannot_write_is_one_line(self, tokens: list[int], tmp_path: Path) -> None:
        model = llama()
        model.model.generate = lambda **_: (_ for _ in ()).throw(ValueError("of a\nlibrary"))
        with pytest.raises(PrlmBenchError, match=r"m cannot write: generate\(\) fails with of a library"):
            choose_batching(model, "m", "1", tmp_path, tokens)

    def test_a_cache_folder_that_cannot_be_written(self, tokens: list[int], tmp_path: Path) -> None:
        (tmp_path / "batching").write_text("a file")
        assert choose_batching(llama(), "m", "1", tmp_path, tokens) == FASTEST

    @pytest.mark.parametrize("way", ["padded", "same-length", "single"])
    def test_every_way_writes_the_same(
        self, make: Make, plain: list[Prompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        folder = make_random(tmp_path / "model")
        sizes: list[set[int]] = []
        real = engine.Batch.begin

        def begin(self: Any) -> Any:
            sizes.append({len(request.ids) for request in self.requests})
            return real(self)

        monkeypatch.setattr(engine.Batch, "begin", begin)
        asked = [*plain, *plain[:3]]
        assert written(make(folder, batching=way), asked) == alone(folder, asked)
        assert way == "padded" or all(len(lengths) == 1 for lengths in sizes)
        assert len(sizes) == {"padded": 1, "same-length": 24, "single": 27}[way]
