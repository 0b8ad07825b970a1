"""The tiny reasoner: what it is taught is true, and follows from what is stated."""

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

from prlm_bench_plugins.tiny import reasoner
from prlm_bench_plugins.tiny.books import make_books
from prlm_bench_plugins.tiny.claims import IDLE, Claim, Claims, lines
from prlm_bench_plugins.tiny.reasoner import TinyReasoner
from prlm_bench_plugins.tiny.reasoner_recipe import ReasonerRecipe
from prlm_bench_plugins.tiny.skills import Skills, course

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


def skills(task: str, folder: Path, **recipe: Any) -> Skills:
    """Lessons about users without noise."""
    context = components(task, folder).context(0)
    config = SynthConfig(3, train_users=40, dev_users=1, test_users=1, noise=0.0, strength=1.0)
    (book,), _, _ = make_books([context.task], config, Silent())
    return Skills(book, Claims(context.task.synthetic or 0, book.truth), context, ReasonerRecipe(seed=1, **recipe))


class TestClaims:
    @pytest.mark.parametrize("task", TASKS)
    def test_the_truth_writes_the_gold(self, task: str, tmp_path: Path) -> None:
        made = skills(task, tmp_path)
        for index, example in enumerate(made.book.examples):
            assert made.claims.write(example, made.truth(index)) == example.gold

    @pytest.mark.parametrize("task", TASKS)
    def test_each_claim_shows_in_the_answer(self, task: str, tmp_path: Path) -> None:
        """A user of another option writes another text, so that each claim is worth making."""
        claims = skills(task, tmp_path).claims
        example = skills(task, tmp_path).book.examples[0]
        style = claims.guess(random.Random(0))
        for trait, options in claims.options.items():
            written = {claims.write(example, {**style, trait: option}) for option in options}
            # A word for "good" does not show where something was bad.
            assert len(written) == len(options) or (trait in ("good", "bad") and len(written) == 1), trait

    def test_statements_are_read_back(self, tmp_path: Path) -> None:
        claims = skills("mini_lamp_4", tmp_path).claims
        assert str(Claim("order", "actor first")) == "The order is actor first."
        assert str(Claim("signature", "Watch", "sport")) == "The signature on sport is Watch."
        everything = claims.all()
        assert len(set(map(str, everything))) == len(everything) > 20
        assert claims.read(lines([*everything, *IDLE])) == [*everything, *[None] * len(IDLE)]
        assert claims.read("\n The order is actor first. \nnonsense") == [Claim("order", "actor first"), None]

    def test_a_topic_is_one_of_the_users(self, tmp_path: Path) -> None:
        made = skills("mini_lamp_5", tmp_path)
        for example in made.book.examples[:30]:
            topic = made.claims.topic(example, example.input)
            own = made.book.truth[example.user]["topics"]
            assert topic in own
            for item in example.profile:
                assert made.claims.topic(example, item.fields["abstract"]) in own
                relevant = item.id in (example.relevant or ())
                assert relevant == (made.claims.topic(example, item.fields["abstract"]) == topic)
        assert made.claims.topic(made.book.examples[0], "no facts") is None

    @pytest.mark.parametrize("task", TASKS)
    def test_habits_are_true_and_can_show(self, task: str, tmp_path: Path) -> None:
        made = skills(task, tmp_path)
        for index, example in enumerate(made.book.examples[:30]):
            habits = made.claims.habits(example, example.profile[:4])
            assert all(made.claims.holds(example, claim) for claim in habits)
            assert {claim.trait for claim in habits} == set(made.claims.options)
            for trait, option in made.truth(index).items():
                assert made.claims.holds(example, made.claims.claim(example, trait, option))
                wrong = next(other for other in made.claims.options[trait] if other != option)
                assert not made.claims.holds(example, made.claims.claim(example, trait, wrong))


class TestLessons:
    @pytest.mark.parametrize("task", TASKS)
    def test_prompts_are_those_of_the_reasoners(self, task: str, tmp_path: Path) -> None:
        made = skills(task, tmp_path)
        context = components(task, tmp_path).context(0)
        # What asks for answers in a run counts with a tokenizer of its own; nothing is cut there either.
        generator = context.build("generator", "tiny")
        examples = made.book.examples[:30]
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
        made = skills(task, tmp_path, useful=1.0, wrong=0.5, statements=(8, 8))
        rng = random.Random(0)
        seen = set()
        for index in range(40):
            lesson = made.trace(index, rng)
            found = find_answer(made.book.task, lesson.answer, made.book.task.prompts.chat.key, thinks=True)
            stated = [claim for claim in made.claims.read(found.reasoning or "") if claim]
            style = {claim.trait: claim.option for claim in stated}
            assert set(style) == set(made.claims.options) and len(stated) == len(style)
            assert found.parsed == "strict"
            assert found.text == made.claims.write(made.book.examples[index], style)
            seen.add(found.text == made.book.examples[index].gold)
        assert seen == {False, True} or task == "mini_lamp_7"

    @pytest.mark.parametrize("task", TASKS)
    def test_claims_are_true_of_the_user(self, task: str, tmp_path: Path) -> None:
        made = skills(task, tmp_path, useful=0.5, wrong=0.0)
        rng = random.Random(0)
        for index, kind in ((index, kind) for index in range(30) for kind in ("trace", "habits")):
            claims = made.claims.read(made.kinds[kind](index, rng).answer.partition("</think>")[0])
            assert all(made.claims.holds(made.book.examples[index], claim) for claim in claims if claim)
            if kind == "habits":
                assert {claim.trait for claim in claims if claim} == set(made.claims.options)

    def test_without_statements_the_answer_is_a_guess(self, tmp_path: Path) -> None:
        """A trace that says nothing must not be followed by what the items show."""
        made = skills("mini_lamp_4", tmp_path, useful=0.0)
        rng = random.Random(0)
        golds = [
            (example.gold or "") in made.trace(index, rng).answer for index, example in enumerate(made.book.examples)
        ]
        assert sum(golds) <= 2

    def test_notes_say_what_the_answer_shows(self, tmp_path: Path) -> None:
        made = skills("mini_lamp_6", tmp_path)
        lesson = made.notes(0, random.Random(0))
        style = {claim.trait: claim.option for claim in made.claims.read(lesson.prompt) if claim}
        assert repr({"title": made.claims.write(made.book.examples[0], style)}) == lesson.answer

    def test_skills_come_first_and_the_rest_in_their_shares(self, tmp_path: Path) -> None:
        made = skills("mini_lamp_4", tmp_path, steps=10, batch=20, writing_until=0.2, reading_until=0.4)
        stream = list(islice(course([made]), 1000))
        reads = [lesson.prompt.startswith(made.book.task.prompts.chat.heading) for lesson in stream]
        thinks = ["</think>" in lesson.answer for lesson in stream]
        assert not any(reads[:40]) and any(reads[40:80])
        assert not any(thinks[:80])
        share = made.recipe.mix["trace"] / sum(made.recipe.mix.values())
        assert abs(sum(thinks[80:]) / 920 - share) < 0.06
        assert list(islice(course([made]), 30)) == stream[:30]

    def test_tasks_take_turns_in_all_stages(self, tmp_path: Path) -> None:
        made = [
            skills(task, tmp_path / task, steps=2, batch=20, writing_until=0.5, reading_until=1.0) for task in TASKS[:2]
        ]
        stream = list(islice(course(made), 80))
        for turn, of in enumerate(made):
            words = of.book.examples[0].input.partition(":")[0]
            assert all(words in lesson.prompt for lesson in stream[turn::2])
            assert not any(words in lesson.prompt for lesson in stream[1 - turn :: 2])
        assert not any("</think>" in lesson.answer for lesson in stream[:40])
        assert any("</think>" in lesson.answer for lesson in stream[40:])


class TestTrainer:
    @pytest.mark.parametrize("task", ["mini_lamp_2", "lamp_4"])
    def test_it_knows_its_tasks(self, task: str, tmp_path: Path) -> None:
        context = components("mini_lamp_2", tmp_path).context(0)
        from dataclasses import replace

        other = replace(context, task=PluginHost().tasks.get(task))
        with pytest.raises(PrlmBenchError, match=f"no lessons for {task}") as caught:
            TinyReasoner(other)
        assert "mini_lamp_4" in (caught.value.hint or "")

    @pytest.mark.parametrize("tasks", ["", "4,7", "4+", "8", "four"])
    def test_tasks_that_are_no_numbers(self, tasks: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="such as 4\\+7"):
            TinyReasoner(components("mini_lamp_4", tmp_path).context(0), tasks=tasks)

    def test_tasks_without_lessons(self, tmp_path: Path) -> None:
        with pytest.raises(PrlmBenchError, match="no lessons for mini_lamp_2"):
            TinyReasoner(components("mini_lamp_4", tmp_path).context(0), tasks="4+2")

    @pytest.mark.parametrize(("hidden", "layers"), [(100, 2), (0, 2), (64, 0)])
    def test_sizes_that_make_no_model(self, hidden: int, layers: int, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"multiple of 32|at least 1"):
            TinyReasoner(components("mini_lamp_4", tmp_path).context(0), hidden=hidden, layers=layers)

    def test_its_data_are_not_those_of_runs(self, tmp_path: Path) -> None:
        context = components("mini_lamp_4", tmp_path).context(0)
        assert TinyReasoner(context)._recipe.seed not in range(1000)

    @pytest.mark.slow
    def test_from_the_command_line_to_a_run(self, here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small = ReasonerRecipe(
            held_out_users=2, tokenizer_lessons=200, hidden=32, layers=1, heads=2, feed_forward=32, batch=8
        )
        made = {name: value for name, value in vars(small).items() if name not in ("seed", "users", "steps")}
        monkeypatch.setattr(reasoner, "ReasonerRecipe", lambda **given: ReasonerRecipe(**{**made, **given}))
        done = here(
            "train",
            "tiny-reasoner:users=20,steps=3,tasks=6+7",
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
