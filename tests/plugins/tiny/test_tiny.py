"""The tiny model that is shipped, and the trainer that made it."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")
pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[lm]'")

from prlm_bench_plugins.tiny import MODEL
from prlm_bench_plugins.tiny._recipe import TinyRecipe
from prlm_bench_plugins.tiny._tokenizer import learn_tokenizer
from prlm_bench_plugins.tiny._trainers import TinyTrainer
from prlm_bench_plugins.tiny._training_examples import (
    CHOICES,
    TaskData,
    choose_items,
    frames,
    training_example,
    training_examples,
)

from prlm_bench import Completion, Example, Ranking
from prlm_bench.data import open_split
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import PluginHost
from prlm_bench.progress import Silent
from prlm_bench.running import Components
from prlm_bench.testing import ODD_TEXTS, GeneratorContract

MANIFEST = json.loads((MODEL / "manifest.json").read_text())
TASKS = [f"mini_lamp_{number}" for number in range(1, 8)]


def components(task: str, folder: Path) -> Components:
    host = PluginHost()
    return Components(host, open_split(host.tasks.get(task), "dev", synth_users=4), folder)


def task_data(task: str, folder: Path) -> TaskData:
    context = components(task, folder).context(0)
    return TaskData(context.task, next(context.dataset.batches(64)))


class TestShipped:
    def test_its_files_are_those_that_were_made(self) -> None:
        found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in MODEL.iterdir()}
        del found["manifest.json"]
        assert found == MANIFEST["files"]
        assert sum(path.stat().st_size for path in MODEL.iterdir()) < 5_000_000

    def test_the_recipe_is_the_default_one(self) -> None:
        assert MANIFEST["recipe"] == TinyRecipe().model_dump()
        assert MANIFEST["data"]["config"]["seed"] != 0

    def test_it_loads(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(MODEL)
        assert (model.num_parameters(), model.dtype) == (MANIFEST["parameters"], torch.bfloat16)
        assert model.config.vocab_size == MANIFEST["vocabulary"]

    def test_its_tokenizer_encodes_anything(self) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(MODEL)
        assert len(tokenizer) == MANIFEST["vocabulary"]
        for text in [*ODD_TEXTS, "The quick brown fox, naïvely: {'title': 'x'}</think>", "<think>\n\n"]:
            assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
        turns = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        assert text == "<|system|>a<|end|><|user|>b<|end|><|assistant|>"
        assert tokenizer("</think>")["input_ids"] == [tokenizer.convert_tokens_to_ids("</think>")]

    def test_its_tokenizer_is_read_as_it_was_trained(self, tmp_path: Path) -> None:
        """transformers rebuilds the tokenizer of a Qwen2 by its own rules; words must still be whole."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(MODEL)
        questions = [task_data(task, tmp_path) for task in TASKS]
        texts = [each.prompt for each in islice(training_examples(questions, 5), 60)]
        assert sum(len(ids) for ids in tokenizer(texts)["input_ids"]) < sum(len(text.split()) for text in texts)

    def test_held_out_users_profit_from_their_items(self) -> None:
        assert set(MANIFEST["held_out"]) == set(TASKS)
        for task in ("mini_lamp_2", "mini_lamp_4", "mini_lamp_5", "mini_lamp_6", "mini_lamp_7"):
            figures = MANIFEST["held_out"][task]
            assert min(figures["words"], figures["relevant"]) > max(figures["none"], figures["stranger"]) + 0.05, task

    def test_a_run_is_better_with_items_than_without(self, here: Any, tmp_path: Path) -> None:
        words = ["--task", "mini_lamp_4", "--synth-users", 16, "--no-controls", "--reasoner", "direct:protocol=chat"]
        done = here("run", *words, "--retriever", "oracle", "-k", 0, "-k", 4, "--generator", "tiny", "--results", "r")
        assert done.status == 0, done
        scores = {}
        for path in (tmp_path / "r").rglob("summary.json"):
            summary = json.loads(path.read_text())
            k = json.loads((path.parent / "manifest.json").read_text())["method"]["k"]
            scores[k] = summary["metrics"]["rouge1@lamp"]["value"]
            assert summary["parse_failures"]["value"] < 0.05
        assert scores[4] > scores[0] + 0.1


class TestContract(GeneratorContract):
    spec = "tiny:max_new_tokens=4"


class TestTrainingExamples:
    @pytest.mark.parametrize("task", TASKS)
    def test_prompts_are_those_of_the_direct_reasoner(self, task: str, tmp_path: Path) -> None:
        context = components(task, tmp_path).context(0)
        examples = next(context.dataset.batches(64))
        rankings = [Ranking(e.profile[:4], (0.0,) * len(e.profile[:4])) for e in examples]
        generator = context.build("generator", "tiny")
        asked = context.build("reasoner", "direct:protocol=chat").prompts(examples, rankings, generator)
        for example, prompt in zip(examples, asked, strict=True):
            made = training_example(context.task, example, example.profile[:4])
            assert (prompt.text, prompt.cut, prompt.dropped) == (made.prompt, 0, 0)
            reasoner = context.build("reasoner", "direct:protocol=chat")
            answer = reasoner.parse(prompt, Completion(made.answer))
            assert (answer.text, answer.parsed) == (example.gold, "strict")

    def test_what_users_wrote_is_marked(self, tmp_path: Path) -> None:
        for task, field in (("mini_lamp_4", "title"), ("mini_lamp_2", "tag"), ("mini_lamp_7", "text")):
            questions = task_data(task, tmp_path)
            example = questions.examples[0]
            made = training_example(questions.task, example, example.profile[:3])
            marked = [made.prompt[start:end] for start, end in made.written]
            assert marked == [item.fields[field] + "'" for item in example.profile[:3]]

    def test_items_are_chosen_as_asked(self, tmp_path: Path) -> None:
        example = task_data("mini_lamp_4", tmp_path).examples[0]
        rng = random.Random(0)
        chosen = {choice: [item.id for item in choose_items(example, choice, 3, rng)] for choice in CHOICES}
        assert chosen["none"] == []
        assert chosen["recent"] == [item.id for item in example.profile[:-4:-1]]
        assert set(chosen["relevant"]) <= (example.relevant or set())
        assert all(len(set(ids)) == 3 for choice, ids in chosen.items() if choice != "none")
        assert choose_items(example, "random", 99, rng)

    def test_they_are_the_same_for_a_seed(self, tmp_path: Path) -> None:
        data = [task_data(task, tmp_path) for task in TASKS[:2]]
        one, two, other = (list(islice(training_examples(data, seed), 30)) for seed in (1, 1, 2))
        assert one == two != other


class TestVocabulary:
    def test_phrases_that_stay_together_become_tokens(self, tmp_path: Path) -> None:
        from transformers import AutoTokenizer, Qwen2Config

        rng = random.Random(0)
        words = ["red", "blue", "green", "black"]
        texts = [f"say: 'a {rng.choice(words)} old piano in {rng.choice(words)}'" for _ in range(200)]
        tokenizer = learn_tokenizer(texts, ["say: '", "'"])
        tokens = tokenizer.convert_ids_to_tokens(tokenizer(texts[0])["input_ids"])
        assert tokens[0] == "say: '" and " old piano in" in tokens and tokens[-1] == "'"
        tokenizer.save_pretrained(tmp_path)
        Qwen2Config(vocab_size=len(tokenizer)).save_pretrained(tmp_path)
        again = AutoTokenizer.from_pretrained(tmp_path)
        assert again(texts)["input_ids"] == tokenizer(texts)["input_ids"]
        for text in [*texts[:3], *ODD_TEXTS]:
            assert tokenizer.decode(tokenizer(text)["input_ids"]) == text

    def test_frames_are_the_fixed_strings(self, host: PluginHost) -> None:
        found = set(frames([host.tasks.get("mini_lamp_4")]))
        assert {"'text': '", "' 'title': '", "{'title': '", "'}"} < found


#: Seconds instead of minutes: a narrow network and few held-out users.
SMALL = ["held_out_users=2", "tokenizer_lessons=60", "hidden=32", "layers=1", "heads=2", "feed_forward=32", "batch=8"]


class Quick(TinyTrainer):
    """Evaluates nothing."""

    error: BaseException | None = None

    def evaluate(self, folder: Path, held_out: Sequence[TaskData], progress: Any) -> dict[str, dict[str, float]]:
        if self.error is not None:
            raise self.error
        return {data.task.name: {"none": 0.0} for data in held_out}


def quick(seed: int = 1) -> Quick:
    return Quick(seed=seed, users=2, steps=3, changes=SMALL)


class TestTrainer:
    def test_seed_0_is_for_evaluation(self) -> None:
        with pytest.raises(ValueError, match="runs are evaluated on"):
            TinyTrainer(seed=0)

    def test_changes_of_the_recipe(self) -> None:
        recipe = TinyTrainer(users=2, changes=["hidden=32", "rate=1e-4"]).recipe
        assert recipe == TinyRecipe(users=2, hidden=32, rate=1e-4)
        with pytest.raises(PrlmBenchError, match="recipe tiny: hiden: Extra inputs are not permitted"):
            TinyTrainer(changes=["hiden=32"])

    def test_it_overwrites_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        for output in (tmp_path, tmp_path / "file"):
            with pytest.raises(PrlmBenchError, match="already exists"):
                quick().train(output, Silent())
        assert (tmp_path / "file").read_text() == "mine"

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no")])
    def test_an_unfinished_training_leaves_nothing(self, tmp_path: Path, error: BaseException) -> None:
        made = quick()
        made.error = error
        with pytest.raises(type(error)):
            made.train(tmp_path / "out", Silent())
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.slow
    def test_the_same_seed_makes_the_same_model(self, tmp_path: Path) -> None:
        one, two = (quick().train(tmp_path / name, Silent()) for name in ("one", "two"))
        assert one == two
        other = quick(seed=2).train(tmp_path / "other", Silent())
        assert other["files"]["model.safetensors"] != one["files"]["model.safetensors"]

    @pytest.mark.slow
    def test_from_the_command_line_to_a_run(self, here: Any, tmp_path: Path) -> None:
        changes = [word for change in SMALL for word in ("--change", change)]
        done = here("train", "tiny:users=2,steps=3", *changes, "--output", "made", "--json")
        assert done.status == 0, done
        assert "training the tiny model, examples: 24 to do" in done.stderr
        manifest = json.loads(done.stdout)
        assert manifest == json.loads((tmp_path / "made" / "manifest.json").read_text())
        assert set(manifest["held_out"]) == set(TASKS)
        words = ["run", "--task", "mini_lamp_2", "--synth-users", 2, "--retriever", "none", "--no-controls"]
        run = here(*words, "--generator", "transformers:model=made,max_new_tokens=3,device=cpu", "--results", "r")
        assert run.status == 0, run


def test_an_example_of_the_users_own(tmp_path: Path) -> None:
    """Items with quotes, line breaks and blanks do not confuse what is marked."""
    questions = task_data("mini_lamp_4", tmp_path)
    example = questions.examples[0]
    item = example.profile[0]
    odd = type(item)("odd", "", {"text": "a 'quoted'\n text ", "title": " a 'quoted'\n text "}, None)
    made = training_example(questions.task, Example(example.id, "u", example.input, "q", (odd,), "it's"), [odd, odd])
    assert [made.prompt[start:end] for start, end in made.written] == ["a 'quoted' text'"] * 2
    assert made.answer == "{'title': \"it's\"}"
