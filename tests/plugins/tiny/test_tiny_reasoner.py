"""The tiny reasoner: its training examples are true, and answers follow from what is stated."""

from __future__ import annotations

import json
import os
import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")
pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[lm]'")

from prlm_bench_plugins.tiny._curriculum import Curriculum, staged_examples
from prlm_bench_plugins.tiny._recipe import TinyReasonerRecipe
from prlm_bench_plugins.tiny._trainers import TinyReasoner
from prlm_bench_plugins.tiny._training_examples import make_task_data
from prlm_bench_plugins.tiny._trait_statements import UNINFORMATIVE, TraitStatement, TraitStatements, lines

from prlm_bench import Ranking
from prlm_bench.data import open_split
from prlm_bench.data.synth import SynthConfig
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import PluginHost
from prlm_bench.progress import Silent
from prlm_bench.prompting import find_answer
from prlm_bench.running import Components

TASKS = [f"mini_lamp_{number}" for number in (4, 5, 6, 7)]


def components(task: str, folder: Path) -> Components:
    host = PluginHost()
    return Components(host, open_split(host.tasks.get(task), "dev", synth_users=4), folder)


def curriculum(task: str, folder: Path, **recipe: Any) -> Curriculum:
    """Training examples of users without noise."""
    context = components(task, folder).context(0)
    config = SynthConfig(3, train_users=40, dev_users=1, test_users=1, noise=0.0, strength=1.0)
    (data,), _, _ = make_task_data([context.task], config, Silent())
    statements = TraitStatements(context.task.synthetic or 0, data.truth)
    return Curriculum(data, statements, context, TinyReasonerRecipe(seed=1, **recipe))


class TestTraitStatements:
    @pytest.mark.parametrize("task", TASKS)
    def test_the_truth_writes_the_gold(self, task: str, tmp_path: Path) -> None:
        made = curriculum(task, tmp_path)
        for index, example in enumerate(made.data.examples):
            assert made.statements.write(example, made.truth(index)) == example.gold

    @pytest.mark.parametrize("task", TASKS)
    def test_each_statement_shows_in_the_answer(self, task: str, tmp_path: Path) -> None:
        """A user of another option writes another text, so that each statement is worth making."""
        statements = curriculum(task, tmp_path).statements
        example = curriculum(task, tmp_path).data.examples[0]
        style = statements.random_style(random.Random(0))
        for trait, options in statements.options.items():
            written = {statements.write(example, {**style, trait: option}) for option in options}
            # A word for "good" does not show where something was bad.
            assert len(written) == len(options) or (trait in ("good", "bad") and len(written) == 1), trait

    def test_statements_are_read_back(self, tmp_path: Path) -> None:
        statements = curriculum("mini_lamp_4", tmp_path).statements
        assert str(TraitStatement("order", "actor first")) == "The order is actor first."
        assert str(TraitStatement("signature", "Watch", "sport")) == "The signature on sport is Watch."
        everything = statements.all()
        assert len(set(map(str, everything))) == len(everything) > 20
        assert statements.parse(lines([*everything, *UNINFORMATIVE])) == [*everything, *[None] * len(UNINFORMATIVE)]
        assert statements.parse("\n The order is actor first. \nnonsense") == [
            TraitStatement("order", "actor first"),
            None,
        ]

    def test_a_topic_is_one_of_the_users(self, tmp_path: Path) -> None:
        made = curriculum("mini_lamp_5", tmp_path)
        for example in made.data.examples[:30]:
            topic = made.statements.topic(example, example.input)
            own = made.data.truth[example.user]["topics"]
            assert topic in own
            for item in example.profile:
                assert made.statements.topic(example, item.fields["abstract"]) in own
                relevant = item.id in (example.relevant or ())
                assert relevant == (made.statements.topic(example, item.fields["abstract"]) == topic)
        assert made.statements.topic(made.data.examples[0], "no facts") is None

    @pytest.mark.parametrize("task", TASKS)
    def test_habits_are_true_and_can_show(self, task: str, tmp_path: Path) -> None:
        made = curriculum(task, tmp_path)
        for index, example in enumerate(made.data.examples[:30]):
            habits = made.statements.visible(example, example.profile[:4])
            assert all(made.statements.is_true(example, statement) for statement in habits)
            assert {statement.trait for statement in habits} == set(made.statements.options)
            for trait, option in made.truth(index).items():
                assert made.statements.is_true(example, made.statements.statement(example, trait, option))
                wrong = next(other for other in made.statements.options[trait] if other != option)
                assert not made.statements.is_true(example, made.statements.statement(example, trait, wrong))


class TestExamples:
    @pytest.mark.parametrize("task", TASKS)
    def test_prompts_are_those_of_the_reasoners(self, task: str, tmp_path: Path) -> None:
        made = curriculum(task, tmp_path)
        context = components(task, tmp_path).context(0)
        # What asks for answers in a run counts with a tokenizer of its own; nothing is cut there either.
        generator = context.build("generator", "tiny")
        examples = made.data.examples[:30]
        for reasoner_, spec in (("direct", "direct:protocol=chat"), ("prlm", "prlm")):
            for count in (0, 4):
                shown = [example.profile[:count] for example in examples]
                rankings = [Ranking(items, (0.0,) * len(items)) for items in shown]
                asked = context.build("reasoner", spec).prompts(examples, rankings, generator)
                assert [prompt.text for prompt in asked] == [
                    made.prompt(reasoner_, *pair) for pair in zip(examples, shown, strict=True)
                ]
                assert not any(prompt.cut or prompt.dropped for prompt in asked)

    @pytest.mark.parametrize("task", TASKS)
    def test_an_answer_follows_from_the_trace(self, task: str, tmp_path: Path) -> None:
        made = curriculum(task, tmp_path, useful=1.0, wrong=0.5, statements=(8, 8))
        rng = random.Random(0)
        seen = set()
        for index in range(40):
            example = made.trace(index, rng)
            found = find_answer(made.data.task, example.answer, made.data.task.prompts.chat.key, thinks=True)
            stated = [statement for statement in made.statements.parse(found.reasoning or "") if statement]
            style = {statement.trait: statement.option for statement in stated}
            assert set(style) == set(made.statements.options) and len(stated) == len(style)
            assert found.parsed == "strict"
            assert found.text == made.statements.write(made.data.examples[index], style)
            seen.add(found.text == made.data.examples[index].gold)
        assert seen == {False, True} or task == "mini_lamp_7"

    @pytest.mark.parametrize("task", TASKS)
    def test_statements_are_true_of_the_user(self, task: str, tmp_path: Path) -> None:
        made = curriculum(task, tmp_path, useful=0.5, wrong=0.0)
        rng = random.Random(0)
        for index, kind in ((index, kind) for index in range(30) for kind in ("trace", "habits")):
            statements = made.statements.parse(made.kinds[kind](index, rng).answer.partition("</think>")[0])
            assert all(
                made.statements.is_true(made.data.examples[index], statement) for statement in statements if statement
            )
            if kind == "habits":
                assert {statement.trait for statement in statements if statement} == set(made.statements.options)

    def test_without_statements_the_answer_is_a_guess(self, tmp_path: Path) -> None:
        """A trace that says nothing must not be followed by what the items show."""
        made = curriculum("mini_lamp_4", tmp_path, useful=0.0)
        rng = random.Random(0)
        golds = [
            (example.gold or "") in made.trace(index, rng).answer for index, example in enumerate(made.data.examples)
        ]
        assert sum(golds) <= 2

    def test_notes_say_what_the_answer_shows(self, tmp_path: Path) -> None:
        made = curriculum("mini_lamp_6", tmp_path)
        example = made.notes(0, random.Random(0))
        style = {statement.trait: statement.option for statement in made.statements.parse(example.prompt) if statement}
        assert repr({"title": made.statements.write(made.data.examples[0], style)}) == example.answer

    def test_skills_come_first_and_the_rest_in_their_shares(self, tmp_path: Path) -> None:
        made = curriculum("mini_lamp_4", tmp_path, steps=10, batch=20, writing_until=0.2, reading_until=0.4)
        stream = list(islice(staged_examples([made]), 1000))
        reads = [example.prompt.startswith(made.data.task.prompts.chat.heading) for example in stream]
        thinks = ["</think>" in example.answer for example in stream]
        assert not any(reads[:40]) and any(reads[40:80])
        assert not any(thinks[:80])
        share = made.recipe.mix["trace"] / sum(made.recipe.mix.values())
        assert abs(sum(thinks[80:]) / 920 - share) < 0.06
        assert list(islice(staged_examples([made]), 30)) == stream[:30]

    def test_tasks_take_turns_in_all_stages(self, tmp_path: Path) -> None:
        made = [
            curriculum(task, tmp_path / task, steps=2, batch=20, writing_until=0.5, reading_until=1.0)
            for task in TASKS[:2]
        ]
        stream = list(islice(staged_examples(made), 80))
        for turn, of in enumerate(made):
            words = of.data.examples[0].input.partition(":")[0]
            assert all(words in example.prompt for example in stream[turn::2])
            assert not any(words in example.prompt for example in stream[1 - turn :: 2])
        assert not any("</think>" in example.answer for example in stream[:40])
        assert any("</think>" in example.answer for example in stream[40:])


class TestTrainer:
    @pytest.mark.parametrize("task", ["mini_lamp_2", "lamp_4"])
    def test_it_knows_its_tasks(self, task: str, tmp_path: Path) -> None:
        context = components("mini_lamp_2", tmp_path).context(0)
        from dataclasses import replace

        other = replace(context, task=PluginHost().tasks.get(task))
        with pytest.raises(PrlmBenchError, match=f"tiny-reasoner cannot be trained on {task}") as caught:
            TinyReasoner(other)
        assert "mini_lamp_4" in (caught.value.hint or "")

    @pytest.mark.parametrize("tasks", ["", "4,7", "4+", "8", "four"])
    def test_tasks_that_are_no_numbers(self, tasks: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="such as 4\\+7"):
            TinyReasoner(components("mini_lamp_4", tmp_path).context(0), tasks=tasks)

    def test_tasks_without_traits(self, tmp_path: Path) -> None:
        with pytest.raises(PrlmBenchError, match="tiny-reasoner cannot be trained on mini_lamp_2"):
            TinyReasoner(components("mini_lamp_4", tmp_path).context(0), tasks="4+2")

    @pytest.mark.parametrize(("hidden", "layers"), [(100, 2), (0, 2), (64, 0)])
    def test_sizes_that_make_no_model(self, hidden: int, layers: int, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"multiple of 32|at least 1"):
            TinyReasoner(components("mini_lamp_4", tmp_path).context(0), hidden=hidden, layers=layers)

    def test_its_data_are_not_those_of_runs(self, tmp_path: Path) -> None:
        context = components("mini_lamp_4", tmp_path).context(0)
        assert TinyReasoner(context).recipe.seed not in range(1000)

    @pytest.mark.slow
    def test_from_the_command_line_to_a_run(self, here: Any, tmp_path: Path) -> None:
        small = ["held_out_users=2", "tokenizer_lessons=200", "batch=8"]
        changes = [word for change in small for word in ("--change", change)]
        done = here(
            "train",
            "tiny-reasoner:users=20,steps=3,hidden=32,layers=1,tasks=6+7",
            *changes,
            "--task",
            "mini_lamp_6",
            "--seed",
            2,
            "-o",
            "made",
            "--json",
        )
        assert done.status == 0, done
        manifest = json.loads(done.stdout)
        assert manifest == json.loads((tmp_path / "made" / "manifest.json").read_text())
        assert manifest["tasks"] == list(manifest["held_out"]) == ["mini_lamp_6", "mini_lamp_7"]
        for figures in manifest["held_out"].values():
            assert set(figures) == {"zero-shot", "direct", "prlm", "prlm sampled"}
        assert manifest["recipe"]["seed"] == 1002
        words = [
            "run",
            "--task",
            "mini_lamp_6",
            "--synth-users",
            2,
            "--retriever",
            "none",
            "--no-controls",
            "--reasoner",
            "prlm",
        ]
        run = here(*words, "--generator", "transformers:model=made,max_new_tokens=3,device=cpu", "--results", "r")
        assert run.status == 0, run
