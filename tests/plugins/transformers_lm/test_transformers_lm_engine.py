"""The generator's choice of an engine: made once, by what a model is and writes; streams, and what it reports."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: prlm-bench[lm]")
pytest.importorskip("transformers", reason="needs transformers: prlm-bench[lm]")

import torch
import transformers
from prlm_bench_plugins.transformers_lm import _static_check as static_check
from prlm_bench_plugins.transformers_lm._buckets import Bucket
from prlm_bench_plugins.transformers_lm._decoding import Decoding, followed
from prlm_bench_plugins.transformers_lm._loading import LoadedModel
from prlm_bench_plugins.transformers_lm._static_engine import StaticEngine
from support.checkpoints import SIZES, make_random, set_generation

from prlm_bench import Completion, Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import NOT_BATCH_INVARIANT, Activity, Generator, ReportsActivity, Streams

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = make_random(tmp_path_factory.mktemp("models") / "causal")
    return made


def answers(generator: Generator, prompts: Sequence[Prompt]) -> list[Completion]:
    found = dict(generator.generate(prompts))
    return [found[index] for index in range(len(prompts))]


class TestAnswers:
    @pytest.mark.parametrize("options", [{}, {"temperature": 0.9, "top_p": 0.8}], ids=["greedy", "sampling"])
    @pytest.mark.parametrize("rows", [None, 3])
    def test_both_engines_write_the_same(
        self, make: Make, causal: Path, prompts: list[Prompt], options: dict[str, Any], rows: int | None
    ) -> None:
        asked = [*prompts, replace(prompts[0], text="")]
        static = make(causal, engine="static", rows=rows, **options)
        assert answers(static, asked) == answers(make(causal, **options), asked)
        assert isinstance(static._engine, StaticEngine)

    @pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's
    def test_a_merged_adapter(self, make: Make, causal: Path, prompts: list[Prompt], tmp_path: Path) -> None:
        peft = pytest.importorskip("peft")
        torch.manual_seed(1)
        model = transformers.AutoModelForCausalLM.from_pretrained(causal)
        config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        peft.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
        adapted = {"adapter": str(tmp_path / "adapter")}
        found = answers(make(causal, engine="static", **adapted), prompts)
        assert found == answers(make(causal, **adapted), prompts)
        assert found != answers(make(causal, engine="static"), prompts)
        # In half precision an adapter is not merged.
        assert len(answers(make(causal, engine="static", dtype="bfloat16", **adapted), prompts)) == len(prompts)

    def test_engines_are_no_part_of_what_an_answer_is(self, causal: Path, components: Any) -> None:
        specs = [f"transformers:model={causal}", f"transformers:model={causal},engine=static,rows=3"]
        first, second = (components.context(0).identity_of("generator", spec) for spec in specs)
        assert first == second


class TestStream:
    @pytest.mark.parametrize("options", [{"engine": "static", "rows": 2}, {}], ids=["static", "ordinary"])
    def test_prompts_are_drawn_as_there_is_room(
        self, make: Make, causal: Path, prompts: list[Prompt], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from prlm_bench_plugins.transformers_lm import _generator

        monkeypatch.setattr(_generator, "_WINDOW", 5)
        drawn: list[int] = []

        def source() -> Iterator[Prompt]:
            for number, prompt in enumerate(prompts):
                drawn.append(number)
                yield prompt

        generator = make(causal, **options)
        assert isinstance(generator, Streams) and isinstance(generator, ReportsActivity)
        found, behind = {}, []
        for number, completion in generator.stream(source()):
            found[number] = completion
            behind.append(len(drawn) - len(found))
        assert [found[number] for number in range(len(prompts))] == answers(make(causal), prompts)
        assert max(behind) < 18 and len(prompts) == 24
        assert list(generator.stream(iter([]))) == []

    def test_what_is_under_way(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        generator: Any = make(causal, engine="static", rows=4)
        assert generator.activity() == Activity(None, None)
        stream = generator.stream(iter(prompts))
        next(stream)
        assert 1 <= generator.activity().rows <= 4
        list(stream)
        assert generator.activity() == Activity(0, None)

    def test_a_prompt_over_the_window_loses_no_answer_before_it(
        self, make: Make, causal: Path, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from prlm_bench_plugins.transformers_lm import _generator

        monkeypatch.setattr(_generator, "_WINDOW", 4)
        generator: Any = make(causal, engine="static", rows=1)
        found = []
        with pytest.raises(PrlmBenchError, match=r"the prompt of question .* has \d+ tokens, and the window"):
            found.extend(generator.stream(iter([*prompts[:8], replace(prompts[9], text="word " * 800)])))
            pytest.fail("it was answered")
        list(generator.generate(prompts[:2]))

    def test_a_gpu_that_is_lost_is_one_line(
        self, make: Make, causal: Path, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = []
        real = Bucket.advance

        def advance(self: Bucket, steps: int) -> None:
            calls.append(steps)
            if len(calls) > 40:
                raise RuntimeError("CUDA error: the GPU has fallen off the bus\nCompile with `TORCH_USE_CUDA_DSA`")
            real(self, steps)

        monkeypatch.setattr(Bucket, "advance", advance)
        generator: Any = make(causal, engine="static", rows=1)
        found = []
        with pytest.raises(PrlmBenchError, match=r"^the GPU failed: CUDA error: the GPU has fallen off the bus .*"):
            for one in generator.stream(iter(prompts)):
                found.append(one)
        assert len(found) > 3

    @pytest.mark.parametrize("text", ["CUDA driver error: unknown", "NVML_SUCCESS == r INTERNAL ASSERT FAILED"])
    def test_signs_of_a_lost_gpu(self, text: str) -> None:
        assert static_check.device_lost(RuntimeError(text)) is not None
        assert static_check.device_lost(RuntimeError("index out of range")) is None
        assert static_check.device_lost(ValueError(text)) is None


def loaded(kind: str = "Llama", **settings: Any) -> LoadedModel:
    torch.manual_seed(0)
    library: Any = transformers
    model = getattr(library, f"{kind}ForCausalLM")(getattr(library, f"{kind}Config")(**SIZES, **settings)).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(3 if weights.dim() > 1 else 1)
    return LoadedModel(model, (1,), 0, 256)


TOKENS = list(range(3, 300))


class TestCheck:
    @pytest.mark.parametrize(
        ("kind", "settings"),
        [
            ("Llama", {}),
            ("Llama", {"attn_implementation": "eager"}),
            ("Llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}),
            ("Qwen2", {"tie_word_embeddings": True}),
            ("Qwen3", {"head_dim": 16}),
        ],
        ids=str,
    )
    def test_models_that_it_takes(self, kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
        model = loaded(kind, **settings)
        assert static_check.why_ordinary(model, Decoding(4)) is None
        assert static_check.bears_static(model, "m", "1", tmp_path, TOKENS)

    @pytest.mark.parametrize("dtype", [torch.bfloat16])
    def test_half_precision(self, dtype: Any, tmp_path: Path) -> None:
        model = loaded()
        model.model.to(dtype)
        assert static_check.bears_static(model, "m", "1", tmp_path, TOKENS)

    @pytest.mark.parametrize(
        ("kind", "settings", "said"),
        [
            ("Mistral", {}, "it is a MistralForCausalLM"),
            ("Qwen2", {"use_sliding_window": True, "max_window_layers": 1, "sliding_window": 8}, "attend to a window"),
            ("Llama", {"dtype": torch.float16}, "its weights are float16"),
        ],
    )
    def test_models_that_go_the_ordinary_way(self, kind: str, settings: dict[str, Any], said: str) -> None:
        model = loaded(kind, **settings)
        if "dtype" in settings:
            model.model.to(settings["dtype"])
        assert said in str(static_check.why_ordinary(model))

    def test_settings_and_positions(self) -> None:
        model = loaded()
        assert "length of the text" in str(static_check.why_ordinary(replace(model, reach=100)))
        assert "beams" in str(static_check.why_ordinary(model, Decoding(4, beams=3)))
        model.model.is_quantized = True
        assert "quantized" in str(static_check.why_ordinary(model))

    @pytest.mark.parametrize(
        ("fields", "changes"),
        [
            ({"repetition_penalty": 1.3}, True),
            ({"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "length_penalty": 2.0, "eos_token_id": 7}, False),
            ({"no_repeat_ngram_size": 1}, True),
            ({"suppress_tokens": [4]}, True),
            ({"forced_bos_token_id": 4}, True),
            ({"min_new_tokens": 3}, True),
            ({"bad_words_ids": [[5]]}, True),
            ({"temperature": 0.3, "top_k": 5}, False),
        ],
        ids=str,
    )
    def test_settings_of_the_checkpoint(self, fields: dict[str, Any], changes: bool) -> None:
        model = loaded()
        model.model.generation_config = followed(fields, "m")
        assert (static_check.why_ordinary(model, Decoding(4)) is not None) is changes
        assert static_check.why_ordinary(model) is None, "a rollout of a training follows no such settings"

    def test_it_is_tried_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert static_check.bears_static(loaded(), "m", "1", tmp_path, TOKENS)
        (path,) = (tmp_path / "batching").iterdir()
        assert json.loads(path.read_text()) == {"static": True, "model": "m"}
        monkeypatch.setattr(static_check, "same_as_generate", lambda *_: pytest.fail("tried again"))
        assert static_check.bears_static(loaded(), "m", "1", tmp_path, TOKENS)
        for damaged in ("", "{}", '{"static": 1}', "[]"):
            path.write_text(damaged)
            with pytest.raises(BaseException, match="tried again"):
                static_check.bears_static(loaded(), "m", "1", tmp_path, TOKENS)

    @pytest.mark.parametrize("fails", [True, False])
    def test_other_logits_are_noticed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
        real = static_check.trace_static

        def trace(*given: Any) -> Any:
            if fails:
                raise IndexError("a model that does not bear it")
            return [(row, logits + torch.arange(300) / 100) for row, logits in real(*given)]

        monkeypatch.setattr(static_check, "trace_static", trace)
        assert not static_check.bears_static(loaded(), "m", "1", tmp_path, TOKENS)


class TestChoice:
    def test_a_model_that_it_does_not_take(
        self, make: Make, causal: Path, prompts: list[Prompt], tmp_path: Path
    ) -> None:
        folder = make_random(tmp_path / "model")
        set_generation(folder, repetition_penalty=1.3)
        with pytest.raises(PrlmBenchError, match=r"engine=static cannot run model .*: its generation_config.json"):
            list(make(folder, engine="static").generate(prompts[:1]))
        with pytest.raises(PrlmBenchError, match=r"engine=static cannot run model .*: it is to search with beams"):
            list(make(causal, engine="static", num_beams=2).generate(prompts[:1]))

    def test_auto(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        def choose(model: LoadedModel, wanted: Any, bears: bool = True) -> Any:
            return static_check.choose_engine(model, Decoding(4), wanted, lambda: bears, "model 'm'", tokens=4096)

        assert choose(loaded(), "auto") is None, "a CPU goes the ordinary way"
        model = loaded()
        monkeypatch.setattr(type(model.model), "device", torch.device("cuda"))
        assert choose(model, "ordinary") is None
        engine = choose(model, "auto")
        assert isinstance(engine, StaticEngine) and choose(model, "auto") is engine
        with caplog.at_level(logging.WARNING):
            other = loaded()
            assert choose(other, "auto", bears=False) is None and choose(other, "auto", bears=False) is None
        assert caplog.text.count("goes the ordinary way") == 1

    @pytest.mark.parametrize("rows", [0, -3])
    def test_rows_are_counted_from_one(self, make: Make, causal: Path, rows: int) -> None:
        with pytest.raises((ValueError, PrlmBenchError), match="rows are at least 1"):
            make(causal, rows=rows)


class TestFingerprint:
    def test_half_precision_says_that_answers_hang_on_the_batch(self, make: Make, causal: Path) -> None:
        assert NOT_BATCH_INVARIANT not in make(causal).fingerprint()
        for dtype in ("bfloat16", "float16"):
            assert NOT_BATCH_INVARIANT in make(causal, dtype=dtype).fingerprint()
