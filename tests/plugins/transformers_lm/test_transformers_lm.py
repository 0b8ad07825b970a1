"""The `transformers` generator on made checkpoints: what it writes, what it is known by, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")
pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[lm]'")

import prlm_bench_plugins.transformers_lm._generator as generator_module
import torch
from prlm_bench_plugins._hf import ModelTooLargeError
from prlm_bench_plugins.transformers_lm._engine import Batch
from prlm_bench_plugins.transformers_lm._loading import LoadedModel, ModelPool
from prlm_bench_plugins.transformers_lm._sampling import RowSampler
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.utils import logging as transformers_logging

from prlm_bench import Completion, Prompt, Ranking
from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import Generator
from prlm_bench.running import Components
from prlm_bench.testing import GeneratorContract

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
WINDOW = 700


def make_tokenizer(**settings: Any) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<end>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["generate a headline for the following article"] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", **settings)


def make_causal(folder: Path, seed: int = 0, width: int = 32, **settings: Any) -> Path:
    """A Qwen2 with random weights that now and then ends an answer early."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=300,
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=WINDOW,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[1] += 0.02 * torch.randn(width)
        model.lm_head.weight *= 8
    model.save_pretrained(folder)
    make_tokenizer(**{"pad_token": "<pad>", "chat_template": TEMPLATE, **settings}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def no_bars() -> None:
    transformers_logging.disable_progress_bar()


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_causal(tmp_path_factory.mktemp("models") / "causal")


@pytest.fixture(scope="module")
def seq2seq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "t5"
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    config = T5Config(vocab_size=300, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0, **sizes)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    make_tokenizer(pad_token="<pad>").save_pretrained(folder)
    return folder


@pytest.fixture
def copied(causal: Path, tmp_path: Path) -> Path:
    """A copy of the causal model, to be damaged."""
    return Path(shutil.copytree(causal, tmp_path / "copy"))


Make = Callable[..., Generator]


def answers(generator: Generator, prompts: Sequence[Prompt]) -> list[Completion]:
    found = dict(generator.generate(prompts))
    assert sorted(found) == list(range(len(prompts)))
    return [found[index] for index in range(len(prompts))]


def reference(folder: Path, text: str, most: int, **options: Any) -> tuple[str, int]:
    """What `generate()` writes for one text alone."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    is_t5 = "T5" in (folder / "config.json").read_text()
    model = (AutoModelForSeq2SeqLM if is_t5 else AutoModelForCausalLM).from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt")
    start = 1 if is_t5 else inputs["input_ids"].shape[1]
    ids = model.generate(**inputs, max_new_tokens=most, do_sample=False, **options)[0, start:]
    return tokenizer.decode(ids, skip_special_tokens=True), len(ids)


class TestWriting:
    @pytest.mark.parametrize("options", [{}, {"num_beams": 3}])
    def test_a_batch_writes_what_each_prompt_gets_alone(
        self, make: Make, causal: Path, prompts: list[Prompt], options: dict[str, Any]
    ) -> None:
        found = answers(make(causal, **options), prompts[::2])
        alone = [reference(causal, prompt.text, 12, **options) for prompt in prompts[::2]]
        assert [(answer.text, answer.tokens) for answer in found] == alone

    def test_an_encoder_decoder_model(self, make: Make, seq2seq: Path, prompts: list[Prompt]) -> None:
        found = answers(make(seq2seq), prompts[:5])
        alone = [reference(seq2seq, prompt.text, 12) for prompt in prompts[:5]]
        assert [(answer.text, answer.tokens) for answer in found] == alone
        assert {answer.finish for answer in found} <= {"stop", "length"}

    def test_rows_that_are_done_leave_while_the_rest_go_on(
        self, make: Make, causal: Path, prompts: list[Prompt]
    ) -> None:
        together = answers(make(causal, max_new_tokens=60), prompts)
        lengths = [answer.tokens or 0 for answer in together]
        assert min(lengths) < max(lengths), "the made model has to end some answers early"
        for prompt, answer in zip(prompts, together, strict=True):
            assert answers(make(causal, max_new_tokens=60), [prompt]) == [answer]
            assert answer.finish == ("length" if answer.tokens == 60 else "stop")

    def test_a_turn_goes_into_the_chat_template(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        turn = replace(prompts[3], chat=True)
        framed = replace(turn, text=f"<user>{turn.text}<assistant>", chat=False)
        generator = make(causal)
        assert answers(generator, [turn]) == answers(generator, [framed])
        assert answers(generator, [turn]) != answers(generator, [replace(turn, chat=False)])

    def test_without_a_chat_template_a_turn_is_plain_text(
        self, make: Make, seq2seq: Path, prompts: list[Prompt]
    ) -> None:
        generator = make(seq2seq)
        turn = replace(prompts[3], chat=True)
        assert answers(generator, [turn]) == answers(generator, [replace(turn, chat=False)])

    def test_a_tokenizer_without_a_pad_token(
        self, make: Make, causal: Path, prompts: list[Prompt], tmp_path: Path
    ) -> None:
        folder = Path(shutil.copytree(causal, tmp_path / "model"))
        make_tokenizer(chat_template=TEMPLATE).save_pretrained(folder)
        assert answers(make(folder), prompts) == answers(make(causal), prompts)

    def test_an_empty_prompt_gets_an_answer(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        assert len(answers(make(causal), [replace(prompts[0], text=""), prompts[1]])) == 2

    def test_answers_come_batch_by_batch_longest_first(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        stream = make(causal, batch_tokens=1).generate(prompts[::2])
        assert [index for index, _ in stream] == list(reversed(range(12)))

    def test_a_device_map(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        pytest.importorskip("accelerate")
        spread = make(causal, device=None, device_map="auto")
        assert answers(spread, prompts[:4]) == answers(make(causal), prompts[:4])
        assert spread.fingerprint() != make(causal).fingerprint()

    def test_the_counts_are_the_models(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        generator = make(causal)
        (answer,) = answers(generator, [prompts[0]])
        assert generator.tokenizer is not None
        assert answer.prompt_tokens == generator.tokenizer.count(prompts[0].text)


class TestSampling:
    def test_a_draw_depends_on_prompt_and_seed_alone(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        generator = make(causal, temperature=1.0, top_p=0.9)
        together = answers(generator, prompts)
        assert together == [answers(generator, [prompt])[0] for prompt in prompts]
        assert together == answers(make(causal, temperature=1.0, top_p=0.9, batch_tokens=100), prompts)
        assert together != answers(make(causal, seed=1, temperature=1.0, top_p=0.9), prompts)

    def test_draws_follow_the_probabilities(self) -> None:
        scores = torch.tensor([0.5, 0.1, 0.25, 0.15]).log().repeat(1000, 1)
        numbers = torch.arange(1000, dtype=torch.double)[:, None] / 1000
        ids = torch.zeros(1000, 7, dtype=torch.long)
        for top_p, expected in ((1.0, [500, 100, 250, 150]), (0.7, [667, 0, 333, 0]), (0.01, [1000, 0, 0, 0])):
            drawn = RowSampler(numbers, 7, 1.0, top_p)(ids, scores).argmax(-1)
            assert torch.bincount(drawn, minlength=4).tolist() == pytest.approx(expected, abs=1)

    def test_temperature_sharpens(self) -> None:
        scores = torch.tensor([[1.0, 0.0]]).repeat(1000, 1)
        numbers = torch.arange(1000, dtype=torch.double)[:, None] / 1000
        ids = torch.zeros(1000, 1, dtype=torch.long)
        shares = [(RowSampler(numbers, 1, t, 1.0)(ids, scores).argmax(-1) == 0).sum().item() for t in (0.1, 1.0, 10.0)]
        assert shares == pytest.approx([1000, 731, 525], abs=1)


class TestMemory:
    @pytest.fixture
    def narrow(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Batches of more than three rows run out of memory; the sizes that were tried."""
        tried: list[int] = []
        advance = Batch.advance

        def limited(self: Batch) -> Any:
            tried.append(len(self.requests))
            if len(self.requests) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return advance(self)

        monkeypatch.setattr(Batch, "advance", limited)
        return tried

    def test_a_batch_is_halved_until_it_fits(
        self, make: Make, causal: Path, prompts: list[Prompt], narrow: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = answers(make(causal), prompts)
        assert narrow[:4] == [24, 12, 6, 3]
        monkeypatch.undo()
        assert found == answers(make(causal), prompts)

    @pytest.mark.parametrize(
        "error", [torch.OutOfMemoryError("x"), MemoryError(), RuntimeError("can't allocate memory")]
    )
    def test_one_prompt_too_large_is_one_line(
        self, make: Make, causal: Path, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def never(self: Batch) -> Any:
            raise RuntimeError("out of memory") if isinstance(error, torch.OutOfMemoryError) else error

        monkeypatch.setattr(Batch, "advance", never)
        with pytest.raises(PrlmBenchError, match=r"not enough memory for a prompt of \d+ tokens"):
            list(make(causal).generate(prompts[:4]))

    def test_other_errors_pass(self, make: Make, causal: Path, prompts: list[Prompt], monkeypatch: Any) -> None:
        def fails(self: Batch) -> Any:
            raise RuntimeError("index out of range")

        monkeypatch.setattr(Batch, "advance", fails)
        with pytest.raises(RuntimeError, match="index out of range"):
            list(make(causal).generate(prompts[:4]))

    def test_other_models_make_room(self) -> None:
        pool, small, large = ModelPool(), LoadedModel("small", (), 0), LoadedModel("large", (), 0)
        assert pool.get(1, lambda: small) is pool.get(1, lambda: pytest.fail("loaded twice")) is small

        def fits_alone() -> LoadedModel:
            if len(pool):
                raise ModelTooLargeError("it does not fit into memory")
            return large

        assert pool.get(2, fits_alone) is large
        assert len(pool) == 1
        with pytest.raises(ModelTooLargeError):
            ModelPool().get(1, never_fits)

    def test_a_model_that_never_fits_is_one_line(
        self, make: Make, causal: Path, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def from_pretrained(*_: Any, **__: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", from_pretrained)
        with pytest.raises(PrlmBenchError, match=r"^model '.*' does not fit into the memory of cpu") as caught:
            list(make(causal, dtype="bfloat16").generate(prompts[:1]))
        assert "quantization" in caught.value.hint and "\n" not in str(caught.value)


def never_fits() -> LoadedModel:
    raise ModelTooLargeError("it does not fit into memory")


class TestWindow:
    def long(self, prompts: list[Prompt]) -> list[Prompt]:
        return [prompts[0], replace(prompts[1], text="word " * WINDOW, chat=False)]

    def test_a_prompt_that_is_too_long_is_named(self, make: Make, causal: Path, prompts: list[Prompt]) -> None:
        with pytest.raises(PrlmBenchError) as caught:
            list(make(causal).generate(self.long(prompts)))
        assert f"the prompt of question {prompts[1].example.id} has " in caught.value.message
        assert f"has room for {WINDOW - 12} ({WINDOW} in all)" in caught.value.message
        assert "overflow=cut-items" in caught.value.hint

    def test_reasoners_may_be_told_to_show_less(self, make: Make, causal: Path, components: Components) -> None:
        context = components.context(0)
        examples = next(context.dataset.batches(24))
        rankings = [Ranking(e.profile, tuple(-float(i) for i in range(len(e.profile)))) for e in examples]
        reasoner = context.build("reasoner", "direct:protocol=chat,max_length=5000")
        strict, lenient = make(causal), make(causal, overflow="cut-items")
        assert (strict.max_prompt_tokens, lenient.max_prompt_tokens) == (None, WINDOW - 12 - len("<user><assistant>"))  # type: ignore[attr-defined]
        long = reasoner.prompts(examples, rankings, strict)
        cut = reasoner.prompts(examples, rankings, lenient)
        assert max(prompt.tokens for prompt in long) > WINDOW > max(prompt.tokens for prompt in cut)
        assert sum(prompt.cut + prompt.dropped for prompt in cut) > 0
        assert len(answers(lenient, cut[:3])) == 3

    def test_a_question_that_is_too_long_alone_still_stops(
        self, make: Make, causal: Path, prompts: list[Prompt]
    ) -> None:
        with pytest.raises(PrlmBenchError, match="has room for") as caught:
            list(make(causal, overflow="cut-items").generate(self.long(prompts)))
        assert "cut-items" not in caught.value.hint

    def test_relative_positions_have_no_window(self, make: Make, seq2seq: Path, prompts: list[Prompt]) -> None:
        assert len(answers(make(seq2seq, overflow="cut-items"), self.long(prompts))) == 2


class TestIdentity:
    def test_it_needs_no_weights_in_memory(self, make: Make, causal: Path, monkeypatch: Any) -> None:
        monkeypatch.setattr(generator_module, "load_generation_model", lambda *_: pytest.fail("the model was loaded"))
        generator = make(causal)
        assert generator.fingerprint() == make(causal).fingerprint()
        assert generator.tokenizer is not None and generator.tokenizer.count("a headline") > 0

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "generation_config.json"])
    def test_it_changes_with_any_byte_of_the_model(self, make: Make, causal: Path, copied: Path, name: str) -> None:
        assert make(copied).fingerprint() == make(causal).fingerprint()
        content = (copied / name).read_bytes()
        changed = content[:-1] + bytes([content[-1] ^ 1]) if name.endswith("safetensors") else content + b" "
        (copied / name).write_bytes(changed)
        assert make(copied).fingerprint() != make(causal).fingerprint()

    def test_notes_on_how_it_was_made_do_not_count(self, make: Make, causal: Path, copied: Path) -> None:
        (copied / "manifest.json").write_text("{}")
        (copied / "README.md").write_text("hello")
        assert make(copied).fingerprint() == make(causal).fingerprint()

    def test_it_names_the_libraries(self, make: Make, causal: Path, monkeypatch: Any) -> None:
        before = make(causal).fingerprint()
        assert f"torch={torch.__version__}" in before and "transformers=" in before
        for package in ("torch", "transformers", "tokenizers"):
            real = generator_module.version
            with monkeypatch.context() as patch:
                patch.setattr(
                    generator_module, "version", lambda name, p=package, r=real: "9" if name == p else r(name)
                )
                assert make(causal).fingerprint() != before

    def test_the_seed_counts_only_where_it_is_used(self, make: Make, causal: Path) -> None:
        assert make(causal, seed=1).fingerprint() == make(causal, seed=2).fingerprint()
        one, two = (make(causal, seed=seed, temperature=1.0).fingerprint() for seed in (1, 2))
        assert one != two

    def test_a_changed_model_is_loaded_anew(self, make: Make, copied: Path, prompts: list[Prompt]) -> None:
        before = answers(make(copied), prompts)
        make_causal(copied, seed=5)
        assert answers(make(copied), prompts) != before

    def test_two_models_never_share_an_answer(self, causal: Path, copied: Path, here: Any, tmp_path: Path) -> None:
        """The same command on other weights in the same place asks the model again."""

        def run(number: int, *extra: str) -> list[str]:
            spec = f"transformers:model={copied},max_new_tokens=6,device=cpu"
            words = ["--task", "mini_lamp_7", "--synth-users", 4, "--limit", 3, "--no-controls", "--retriever", "none"]
            done = here("run", *words, "--generator", spec, "--results", tmp_path / str(number), *extra)
            assert done.status == 0, done
            (samples,) = (tmp_path / str(number)).rglob("samples.jsonl")
            return [json.loads(line)["completion"] for line in samples.read_text().splitlines()]

        first = run(1)
        real = Batch.advance
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Batch, "advance", lambda self: pytest.fail("the cache was not used"))
            assert run(2) == first
        assert Batch.advance is real
        make_causal(copied, seed=5)
        assert run(3) != first


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
class TestAdapter:
    @pytest.fixture
    def adapter(self, causal: Path, tmp_path: Path) -> Path:
        peft = pytest.importorskip("peft")
        torch.manual_seed(1)
        model = Qwen2ForCausalLM.from_pretrained(causal)
        config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        peft.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
        return tmp_path / "adapter"

    def test_it_changes_what_is_written_and_the_identity(
        self, make: Make, causal: Path, adapter: Path, prompts: list[Prompt]
    ) -> None:
        plain, adapted = make(causal), make(causal, adapter=str(adapter))
        assert plain.fingerprint() != adapted.fingerprint()
        assert "peft=" in adapted.fingerprint()
        assert answers(plain, prompts) != answers(adapted, prompts)

    def test_one_for_another_base(self, make: Make, adapter: Path, tmp_path: Path, prompts: list[Prompt]) -> None:
        wide = make_causal(tmp_path / "wide", width=48)
        with pytest.raises(PrlmBenchError, match=r"^adapter '.*' does not fit model '.*wide'") as caught:
            list(make(wide, adapter=str(adapter)).generate(prompts[:1]))
        assert "\n" not in str(caught.value)

    def test_one_with_other_layers(self, make: Make, seq2seq: Path, adapter: Path, prompts: list[Prompt]) -> None:
        with pytest.raises(PrlmBenchError, match="does not fit model"):
            list(make(seq2seq, adapter=str(adapter)).generate(prompts[:1]))

    def test_a_folder_that_is_none(self, make: Make, causal: Path) -> None:
        with pytest.raises(PrlmBenchError, match=r"is not an adapter: .* has no adapter_config\.json"):
            make(causal, adapter=str(causal))


class TestBadInput:
    """One line each, before a run begins."""

    def mistake(self, make: Make, model: Path | str, **options: Any) -> str:
        with pytest.raises(PrlmBenchError) as caught:
            make(model, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_no_such_folder(self, make: Make) -> None:
        assert "there is no model folder './nowhere'" in self.mistake(make, "./nowhere")

    def test_no_such_name_and_no_hub(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        said = self.mistake(make, "no-one/no-such-model", revision="v1")
        assert "'no-one/no-such-model' at revision 'v1' is neither a folder nor in the local cache" in said

    def test_a_folder_without_a_model(self, make: Make, tmp_path: Path) -> None:
        assert "has no config.json" in self.mistake(make, tmp_path)

    def test_a_folder_has_no_revision(self, make: Make, causal: Path) -> None:
        assert "leave revision out" in self.mistake(make, causal, revision="main")

    def test_no_tokenizer(self, make: Make, copied: Path) -> None:
        for path in copied.glob("tokenizer*"):
            path.unlink()
        assert "has no tokenizer" in self.mistake(make, copied)

    def test_a_broken_tokenizer(self, make: Make, copied: Path, prompts: list[Prompt]) -> None:
        (copied / "tokenizer.json").write_text("{")
        with pytest.raises(PrlmBenchError, match=r"^the tokenizer of model '.*' cannot be loaded"):
            list(make(copied).generate(prompts[:1]))

    @pytest.mark.parametrize("size", [0, 5, 2000, 30000])
    def test_damaged_weights(self, make: Make, copied: Path, size: int) -> None:
        content = (copied / "model.safetensors").read_bytes()
        (copied / "model.safetensors").write_bytes(content[:size])
        said = self.mistake(make, copied)
        assert "model.safetensors is damaged" in said and "fetch or write the file again" in said

    def test_a_missing_shard(self, make: Make, copied: Path) -> None:
        index = {"weight_map": {"x": "model-00002-of-00002.safetensors"}}
        (copied / "model.safetensors.index.json").write_text(json.dumps(index))
        assert "model-00002-of-00002.safetensors is missing" in self.mistake(make, copied)

    def test_weights_that_are_not_all_there(self, make: Make, copied: Path, prompts: list[Prompt]) -> None:
        from safetensors.torch import load_file, save_file

        weights = load_file(copied / "model.safetensors")
        del weights["model.norm.weight"]
        save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(PrlmBenchError, match=r"lacks 1 of its weights, such as model\.norm\.weight"):
            list(make(copied).generate(prompts[:1]))

    def test_pickled_weights_are_refused(self, make: Make, causal: Path, copied: Path, prompts: list[Prompt]) -> None:
        from safetensors.torch import load_file

        torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
        (copied / "model.safetensors").unlink()
        said = self.mistake(make, copied)
        assert "pickle files, which can run code" in said and "allow_pickle=true" in said
        assert answers(make(copied, allow_pickle=True), prompts[:2]) == answers(make(causal), prompts[:2])

    def test_an_encoder(self, make: Make, tmp_path: Path) -> None:
        config = BertConfig(
            vocab_size=300, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        )
        BertForMaskedLM(config).save_pretrained(tmp_path)
        make_tokenizer().save_pretrained(tmp_path)
        assert "is a BertForMaskedLM, which cannot write text" in self.mistake(make, tmp_path)

    def test_a_config_that_is_no_json(self, make: Make, copied: Path) -> None:
        (copied / "config.json").write_text("[1")
        assert "config.json: the file is cut off" in self.mistake(make, copied)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
    def test_a_device_that_is_not_there(self, make: Make, causal: Path) -> None:
        said = self.mistake(make, causal, device="cuda:7")
        assert "there is no device 'cuda:7' here: torch finds no cuda devices" in said and "device=cpu" in said

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"device": "tpu"}, "device='tpu' is none of auto, cpu"),
            ({"device_map": "auto"}, "give device or device_map, not both"),
            ({"max_new_tokens": 0}, "at least 1"),
            ({"temperature": -1.0}, "temperature is at least 0"),
            ({"top_p": 0.5}, "for sampling only"),
            ({"temperature": 1.0, "num_beams": 2}, "a beam search does not sample"),
            ({"max_new_tokens": WINDOW}, f"fills the model's window of {WINDOW} tokens"),
            ({"dtype": "float8"}, "dtype='float8'"),
            ({"overflow": "cut"}, "overflow='cut'"),
        ],
    )
    def test_options_that_make_no_sense(self, make: Make, causal: Path, options: dict[str, Any], said: str) -> None:
        assert said in self.mistake(make, causal, **options)

    @pytest.mark.parametrize(
        ("option", "value", "package"), [("adapter", "x", "peft"), ("quantization", "4bit", "bitsandbytes")]
    )
    def test_a_package_that_is_missing(
        self, make: Make, causal: Path, monkeypatch: Any, option: str, value: str, package: str
    ) -> None:
        monkeypatch.setattr(generator_module, "find_spec", lambda name: None)
        said = self.mistake(make, causal, **{option: value})
        assert said == f"{option}={value} needs the package {package} (pip install {package})"

    def test_a_template_that_refuses(self, make: Make, copied: Path, prompts: list[Prompt]) -> None:
        make_tokenizer(pad_token="<pad>", chat_template="{{ raise_exception('no users here') }}").save_pretrained(
            copied
        )
        with pytest.raises(PrlmBenchError, match="refuses a user's turn: no users here"):
            list(make(copied).generate(prompts[:2]))


def test_planning_leaves_it_out_without_torch(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import prlm_bench.host._component as component

    real = component.find_spec
    monkeypatch.setattr(component, "find_spec", lambda name: None if name == "torch" else real(name))
    words = ["run", "--task", "mini_lamp_4", "--retriever", "bm25", "--generator", "transformers:model=x", "--dry-run"]
    assert "it needs the package torch (pip install 'prlm-bench[lm]')" in here(*words).mistake


class TestContract(GeneratorContract):
    """The contract of all generators."""

    @pytest.fixture(autouse=True)
    def made(self, causal: Path) -> None:
        self.spec = f"transformers:model={causal},max_new_tokens=4"  # type: ignore[misc]
