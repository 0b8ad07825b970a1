"""What PrLM's trainings ask and write, against runs, `generate()` and trl's own log-probabilities."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")

import torch
from datasets import Dataset
from prlm_bench_plugins._hf import encode_completions, encode_prompts, turns
from prlm_bench_plugins._training import TRAIN
from prlm_bench_plugins.prlm._grpo import dataset
from prlm_bench_plugins.prlm._prefix_sharing import PrefixSharingGRPOTrainer, disable_telemetry
from prlm_bench_plugins.prlm._recipe import Lora
from prlm_bench_plugins.prlm._rollout import Rollout, run_lengths, sample_groups
from prlm_bench_plugins.prlm._tuning import adapter, load_model, silenced
from prlm_bench_plugins.transformers_lm.rollouts import GroupSampler
from support.prlm_shop import R1_TEMPLATE, make_causal, make_tokenizer, settings, training_context
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from prlm_bench import Example, Prompt, Ranking
from prlm_bench.errors import PrlmBenchError
from prlm_bench.testing import ODD_TEXTS

STILL = {"gradient_checkpointing": False, "disable_tqdm": True}
KINDS = ["Qwen2", "Llama", "Qwen3"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("models")

    def made(kind: str) -> Path:
        if not (folder / kind).is_dir():
            make_causal(folder / kind, kind)
        return folder / kind

    return made


def prompt_of(text: str, chat: bool) -> Prompt:
    return Prompt(Example("1", "u", text, text, ()), Ranking(), text, chat=chat)


class TestEncoding:
    @pytest.mark.parametrize("template", [None, R1_TEMPLATE])
    @pytest.mark.parametrize("chat", [True, False])
    def test_ids_are_those_that_a_run_reads(self, template: str | None, chat: bool) -> None:
        if template is None:
            tokenizer = make_tokenizer()
        else:  # one that begins every text, as the tokenizers of Llama and DeepSeek do
            from tokenizers.processors import TemplateProcessing

            tokenizer = make_tokenizer("<end>" + template, bos_token="<end>")
            tokenizer._tokenizer.post_processor = TemplateProcessing(single="<end> $A", special_tokens=[("<end>", 1)])
            assert tokenizer("x")["input_ids"][0] == 1
        prompts = [prompt_of(text, chat) for text in [*ODD_TEXTS, "What does the user like?"]]
        ids = encode_prompts(tokenizer, [turns(prompt) for prompt in prompts])
        for prompt, found in zip(prompts, ids, strict=True):
            turn = [{"role": "user", "content": prompt.text}]
            framed = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=True)
            assert found == framed["input_ids"]
        assert encode_prompts(tokenizer, []) == []

    def test_completions_keep_their_reasoning_and_end(self) -> None:
        tokenizer = make_tokenizer(R1_TEMPLATE)
        texts = ["reasons\n</think>\n{'title': 'x'}", ""]
        ids = encode_completions(tokenizer, texts)
        assert [tokenizer.decode(row) for row in ids] == [f"{text}<end>" for text in texts]
        assert encode_completions(tokenizer, []) == []


class TestOnePrompt:
    @pytest.mark.parametrize("k", [1, 3])
    def test_training_asks_what_a_run_asks(
        self, models: Callable[[str], Path], here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, k: int
    ) -> None:
        from prlm_bench_plugins.transformers_lm._generator import TransformersGenerator

        monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path / "cache"))
        base = models("Qwen2")
        ctx = training_context(settings(base, k=k, reasoner="prlm"), tmp_path / "shop")
        reasoner = ctx.reasoner("prlm")
        asked = [
            prompt for part in (False, True) for prompt in ctx.training_prompts(reasoner, None, validation=part)[0]
        ]
        trained = {row["question"]: row["prompt"] for row in dataset(asked, TRAIN)}

        seen: dict[str, Any] = {}
        stream = TransformersGenerator.stream

        def listen(self: Any, prompts: Any) -> Any:
            def heard() -> Any:
                for prompt in prompts:
                    seen[prompt.example.id] = turns(prompt)
                    yield prompt

            return stream(self, heard())

        monkeypatch.setattr(TransformersGenerator, "stream", listen)
        words = ["--task", "mini_lamp_4", "--split", "train", "--synth-users", 6, "--no-controls", "--results", "r"]
        method = ["--retriever", ctx.recipe.retriever, "-k", k, "--reasoner", "prlm"]
        generator = f"transformers:model={base},max_new_tokens={ctx.recipe.max_completion}"
        done = here("run", *words, *method, "--generator", generator)
        assert done.status == 0, done
        assert seen == trained
        assert len(seen) == 18 and len({turn[0]["content"] for turn in seen.values()}) == 18


Sample = Callable[..., list[list[int]]]


def sample_static(
    model: Any,
    prompts: list[list[int]],
    counts: list[int],
    max_tokens: int,
    temperature: float,
    end_ids: list[int],
    pad_id: int,
    bf16: bool = False,
) -> list[list[int]]:
    was = model.training
    sampler = GroupSampler(model.eval(), max_tokens, temperature, end_ids, bf16)
    found = sampler.sample(prompts, counts)
    model.train(was)
    return found


@pytest.mark.parametrize("sample", [sample_groups, sample_static])
class TestRollout:
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_coldest_sampling_is_what_generate_writes(
        self, models: Callable[[str], Path], kind: str, sample: Sample
    ) -> None:
        model, tokenizer = load_model(str(models(kind)))
        texts = ["what", "a headline for the article", "x " * 40, "the the the", "which users like verbs?"]
        prompts = encode_prompts(tokenizer, texts)
        model.train()
        found = sample(model, prompts, [2, 1, 3, 1, 2], 11, 1e-6, [1], 0)
        assert model.training
        alone = []
        model.eval()
        for ids in prompts:
            out = model.generate(torch.tensor([ids]), max_new_tokens=11, do_sample=False, eos_token_id=1)
            alone.append(out[0, len(ids) :].tolist())
        assert found == [alone[place] for place in (0, 0, 1, 2, 2, 2, 3, 4, 4)]
        assert max(map(len, found)) == 11

    def test_rows_that_end_leave_and_the_rest_go_on(self, models: Callable[[str], Path], sample: Sample) -> None:
        model, tokenizer = load_model(str(models("Qwen2")))
        prompts = encode_prompts(tokenizer, ["what", "a headline", "x " * 20])
        torch.manual_seed(0)
        rows = sample(model, prompts, [16] * 3, 24, 1.0, [1, 7], 0)
        assert len(rows) == 48
        for row in rows:
            ends = [place for place, token in enumerate(row) if token in (1, 7)]
            assert ends == [len(row) - 1] if len(row) < 24 else not ends or ends == [23]
        assert min(map(len, rows)) < 12 < max(map(len, rows)) == 24

    def test_draws_follow_the_probabilities(self, models: Callable[[str], Path], sample: Sample) -> None:
        model, tokenizer = load_model(str(models("Qwen2")))
        ids = encode_prompts(tokenizer, ["a headline"])
        torch.manual_seed(0)
        rows = sample(model, ids, [4000], 1, 0.5, [1], 0)
        with torch.no_grad():
            chances = (model(torch.tensor(ids)).logits[0, -1] / 0.5).softmax(-1)
        counts = torch.bincount(torch.tensor(rows)[:, 0], minlength=len(chances)) / 4000
        assert (counts - chances).abs().max() < 0.03
        assert chances.max() < 0.9, "the made model has to be unsure"

    def test_the_same_seed_writes_the_same(self, models: Callable[[str], Path], sample: Sample) -> None:
        model, tokenizer = load_model(str(models("Qwen2")))
        ids = encode_prompts(tokenizer, ["a headline", "b"])

        def drawn(seed: int) -> list[list[int]]:
            torch.manual_seed(seed)
            return sample(model, ids, [4, 4], 12, 1.0, [1], 0)

        assert drawn(0) == drawn(0) != drawn(1)


@pytest.mark.parametrize(
    ("given", "dtype"), [({}, torch.float32), ({"bf16": True}, torch.bfloat16), ({"fp16": True}, torch.float16)]
)
def test_a_rollout_samples_in_the_precision_of_the_training(
    models: Callable[[str], Path], given: dict[str, bool], dtype: Any
) -> None:
    model, tokenizer = load_model(str(models("Llama")))
    seen: set[Any] = set()
    handle = model.lm_head.register_forward_hook(lambda module, args, out: seen.add(out.dtype))
    try:
        sample_groups(model, encode_prompts(tokenizer, ["what"]), [2], 3, 1.0, [1], 0, **given)
    finally:
        handle.remove()
    assert seen == {dtype}


class TestRolloutOfATrainer:
    @pytest.fixture
    def sampled(self, models: Callable[[str], Path]) -> Callable[..., tuple[Rollout, Any]]:
        def made(model: Any) -> tuple[Rollout, Any]:
            tokenizer = make_tokenizer()
            trainer = SimpleNamespace(
                processing_class=tokenizer,
                accelerator=SimpleNamespace(unwrap_model=lambda model: model),
                model=model,
                eos_token_ids=[1],
                args=SimpleNamespace(bf16=False, fp16=False),
            )
            return Rollout(6, 1e-6), trainer

        return made

    @pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's
    @pytest.mark.parametrize("change", ["weights", "adapter", "moved"])
    def test_weights_are_those_of_the_moment(
        self, models: Callable[[str], Path], sampled: Callable[..., tuple[Rollout, Any]], change: str
    ) -> None:
        """After a step of an optimizer, which changes weights in place, and where a library puts others there."""
        model, _ = load_model(str(models("Llama")))
        if change == "adapter":
            from peft import get_peft_model

            lora: Any = adapter(Lora())
            model = get_peft_model(model, lora)
        was = model.training
        rollout, trainer = sampled(model)
        prompts = [[{"role": "user", "content": text}] for text in ("a", "bb bb", "bb bb")]
        before = rollout(prompts, trainer)["completion_ids"]
        assert list(rollout._samplers.values()) != [None]
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if change == "moved":
                    weights.data = weights.data.flip(0).contiguous()
                elif change == "weights" or "lora_B" in name:
                    weights.add_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(5)))
        after = rollout(prompts, trainer)["completion_ids"]
        assert before != after
        fresh, _ = sampled(model)
        assert fresh(prompts, trainer)["completion_ids"] == after
        assert model.training is was and after[1] == after[2]

    def test_other_models_go_the_ordinary_way(
        self, sampled: Callable[..., tuple[Rollout, Any]], tmp_path: Path
    ) -> None:
        model, _ = load_model(str(make_causal(tmp_path / "gemma", "Gemma")))
        rollout, trainer = sampled(model.train())
        prompts = [[{"role": "user", "content": "a"}]] * 2
        found = rollout(prompts, trainer)["completion_ids"]
        assert list(rollout._samplers.values()) == [None]
        ids = encode_prompts(trainer.processing_class, prompts[:1])
        assert found == sample_groups(model, ids, [2], 6, 1e-6, [1], 0)
        assert model.training

    @pytest.mark.parametrize("kind", ["Llama", "Gemma", "Lfm2"])
    def test_greedy_answers_are_those_of_generate_and_take_no_random_numbers(self, kind: str, tmp_path: Path) -> None:
        """By the static engine, by a cache that is repeated, and by the model's own `generate()`."""
        model, tokenizer = load_model(str(make_causal(tmp_path / "model", kind)))
        trainer = SimpleNamespace(
            processing_class=tokenizer,
            accelerator=SimpleNamespace(unwrap_model=lambda model: model),
            model=model.train(),
            args=SimpleNamespace(bf16=False, fp16=False),
        )
        ids = encode_prompts(tokenizer, ["what", "a headline for the article", "x " * 9])
        before = torch.random.get_rng_state()
        found = Rollout(9, 0.0).complete(trainer, ids, [1, 1, 1], 2)
        assert torch.equal(torch.random.get_rng_state(), before) and model.training
        model.eval()
        for row, answer in zip(ids, found, strict=True):
            out = model.generate(torch.tensor([row]), max_new_tokens=9, do_sample=False, eos_token_id=1)
            assert out[0, len(row) :].tolist() == answer
        assert Rollout(9, 0.0).complete(trainer, [], []) == []

    def test_prompts_come_back_in_the_order_of_the_rows(self, models: Callable[[str], Path]) -> None:
        model, tokenizer = load_model(str(models("Qwen2")))
        trainer = SimpleNamespace(
            processing_class=tokenizer,
            accelerator=SimpleNamespace(unwrap_model=lambda model: model),
            model=model,
            eos_token_ids=[1],
            args=SimpleNamespace(bf16=False, fp16=False),
        )
        a, b = ([{"role": "user", "content": text}] for text in ("a", "bb bb"))
        assert run_lengths([a, a, b, a]) == ([a, b, a], [2, 1, 1])
        out = Rollout(5, 1.0)([a, a, b, a], trainer)
        first, second = encode_prompts(tokenizer, [a, b])
        assert out["prompt_ids"] == [first, first, second, first]
        assert len(out["completion_ids"]) == 4 and all(1 <= len(row) <= 5 for row in out["completion_ids"])


def batch_of(tokenizer: Any) -> tuple[Any, Any, int]:
    """Shuffled rows of three groups, prompts padded at the left and completions at the right."""
    rng = torch.Generator().manual_seed(3)
    prompts = encode_prompts(tokenizer, ["what", "a headline for the article", "x " * 12])
    rows = [(prompts[place], torch.randint(2, 300, (length,), generator=rng).tolist()) for place, length in
            ((2, 5), (0, 9), (1, 1), (2, 9), (1, 4), (0, 3), (2, 2))]  # fmt: skip
    width, keep = max(len(p) for p, _ in rows), max(len(c) for _, c in rows)
    ids, mask = [], []
    for prompt, completion in rows:
        before, after = width - len(prompt), keep - len(completion)
        ids.append([0] * before + prompt + completion + [0] * after)
        mask.append([0] * before + [1] * (len(prompt) + len(completion)) + [0] * after)
    return torch.tensor(ids), torch.tensor(mask), keep


def trainer_of(model: Path, folder: Path, lora: Lora | None = None, **options: Any) -> Any:
    """The policy's trainer; an adapter has other weights than those it begins with."""
    made, tokenizer = load_model(str(model))
    sizes = {"per_device_train_batch_size": 2, "num_generations": 2, "temperature": 0.7, "beta": 0.0}
    with silenced():
        config = GRPOConfig(str(folder), use_cpu=True, bf16=False, report_to=[], **{**STILL, **sizes, **options})
        trainer = disable_telemetry(PrefixSharingGRPOTrainer)(
            model=made,
            processing_class=tokenizer,
            reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
            args=config,
            train_dataset=Dataset.from_list([{"prompt": "a"}, {"prompt": "what of it"}]),
            peft_config=adapter(lora),
        )
    for name, weights in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.05, generator=torch.Generator().manual_seed(1))
    return trainer


class TestSharing:
    def test_what_cannot_be_shared_is_left_to_trl(self, models: Callable[[str], Path], tmp_path: Path) -> None:
        trainer = trainer_of(models("Qwen2"), tmp_path, gradient_checkpointing=True)
        assert trainer.can_share_prefix()
        trainer.model.config._attn_implementation = "eager"
        assert not trainer.can_share_prefix()
        make_causal(tmp_path / "gemma", "Gemma")
        assert not trainer_of(tmp_path / "gemma", tmp_path).can_share_prefix()

    @pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's
    @pytest.mark.parametrize("checkpointed", [False, True])
    @pytest.mark.parametrize("adapted", [False, True])
    @pytest.mark.parametrize("kind", KINDS)
    def test_log_probabilities_and_gradients_are_trls(
        self, models: Callable[[str], Path], kind: str, adapted: bool, checkpointed: bool, tmp_path: Path
    ) -> None:
        lora = Lora() if adapted else None
        trainer = trainer_of(models(kind), tmp_path, lora, gradient_checkpointing=checkpointed)
        if checkpointed:
            trainer.model.activation_checkpointing_enable()
        whole = trainer.model.train()
        ids, mask, keep = batch_of(trainer.processing_class)
        assert trainer.can_share_prefix()
        compute: Any = GRPOTrainer._get_per_token_logps_and_entropies
        theirs = compute(trainer, whole, ids, mask, keep, compute_entropy=True)[:2]
        ours = trainer._get_per_token_logps_and_entropies(whole, ids, mask, keep, compute_entropy=True)[:2]
        real = mask[:, -keep:].bool()
        weights = torch.randn(real.shape, generator=torch.Generator().manual_seed(4))[real]
        gradients = []
        for logps, entropies in (theirs, ours):
            whole.zero_grad()
            ((logps[real] * weights).mean() + 0.1 * entropies[real].mean()).backward()
            trained = {name: p.grad.clone() for name, p in whole.named_parameters() if p.grad is not None}
            gradients.append(trained)
        for mine, other in zip(ours, theirs, strict=True):
            assert torch.allclose(mine[real], other[real], atol=1e-5)
        assert gradients[0].keys() == gradients[1].keys() and gradients[0]
        for name, gradient in gradients[0].items():
            assert torch.allclose(gradients[1][name], gradient, atol=1e-5, rtol=1e-3), name
        assert any(gradient.abs().max() > 1e-4 for gradient in gradients[0].values())

    def test_checkpointing_is_used(self, models: Callable[[str], Path], tmp_path: Path) -> None:
        trainer = trainer_of(models("Llama"), tmp_path, gradient_checkpointing=True)
        trainer.model.activation_checkpointing_enable()
        calls: list[bool] = []
        layer = trainer.model.model.layers[0]
        layer.self_attn.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
        ids, mask, keep = batch_of(trainer.processing_class)
        logps, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model.train(), ids, mask, keep)
        assert len(calls) == 1, "one forward pass for prompts and completions"
        logps.sum().backward()
        assert len(calls) == 2, "and again in the backward pass"

    @pytest.mark.parametrize("loss", ["grpo", "dapo"])
    @pytest.mark.parametrize("checkpointed", [False, True])
    def test_a_step_in_parts_is_the_step(
        self, models: Callable[[str], Path], tmp_path: Path, loss: str, checkpointed: bool
    ) -> None:
        """Groups stay together when a step is accumulated, and the weights after it are those of trl's trainer."""

        def step(shares: bool) -> tuple[dict[str, Any], list[int]]:
            sizes: dict[str, Any] = {
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 4,
                "num_generations": 4,
            }
            trained = {"max_steps": 1, "learning_rate": 1e-2, "optim": "sgd", "save_strategy": "no", "loss_type": loss}
            options: dict[str, Any] = {
                **sizes,
                **trained,
                "max_completion_length": 6,
                "gradient_checkpointing": checkpointed,
            }
            trainer = trainer_of(models("Qwen2"), tmp_path / str(shares), **options)
            trainer.reward_funcs[0] = lambda completion_ids, **_: [float(sum(ids) % 7) for ids in completion_ids]
            trainer.rollout_func = lambda prompts, _: {
                "prompt_ids": encode_prompts(trainer.processing_class, prompts),
                "completion_ids": [[20 + n, 30, 40 + n, 1][: 2 + n % 3] for n in range(len(prompts))],
                "logprobs": None,
            }
            compute, prompts = trainer._get_per_token_logps_and_entropies, []

            def noted(model: Any, ids: Any, mask: Any, keep: int, *more: Any, **others: Any) -> Any:
                prompts.append(len(torch.unique(ids[:, :-keep], dim=0)))
                return compute(model, ids, mask, keep, *more, **others)

            trainer._get_per_token_logps_and_entropies = noted
            trainer.can_share_prefix = lambda: shares
            with silenced():
                trainer.train()
            return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}, prompts

        (ours, prompts), (theirs, _) = step(True), step(False)
        assert prompts == [1, 1, 1, 1]
        before = {name: p.detach() for name, p in load_model(str(models("Qwen2")))[0].named_parameters()}
        assert max(float((before[name] - weight).abs().max()) for name, weight in ours.items()) > 1e-4
        for name, weight in ours.items():
            assert torch.allclose(weight, theirs[name], atol=2e-6), name


class TestLoading:
    def test_without_a_chat_template(self, tmp_path: Path) -> None:
        make_causal(tmp_path / "plain", template=None)
        with pytest.raises(PrlmBenchError, match=r"has no chat template .take a model that was tuned for chat"):
            load_model(str(tmp_path / "plain"))

    def test_what_cannot_be_loaded_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(PrlmBenchError, match="cannot be loaded: ") as caught:
            load_model(str(tmp_path))
        assert "\n" not in str(caught.value)
