"""Pairs, training questions and who is kept back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[lm]'")

from prlm_bench_plugins._training import remove_folder
from prlm_bench_plugins.prlm._context import TrainingContext, parsed_sample
from prlm_bench_plugins.prlm._preference_pairs import make_pairs, read_pairs
from support.prlm_shop import settings, training_context

from prlm_bench import Answer, Completion, Prompt
from prlm_bench.errors import PrlmBenchError


class Scripted:
    """A base model that says what it is told to."""

    tokenizer = None
    max_prompt_tokens = 100_000

    def __init__(self, say: Callable[[Prompt], str]) -> None:
        self._say = say

    def fingerprint(self) -> str:
        return "scripted"

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for place in reversed(range(len(prompts))):
            yield place, Completion(self._say(prompts[place]))


def with_items(prompt: Prompt) -> str:
    """Another answer with items than without."""
    return f"{prompt.example.id} {[item.id for item in prompt.ranking.items]}"


Make = Callable[..., TrainingContext]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(
        say: Callable[[Prompt], str] = with_items, seed: int = 0, room: int = 100_000, **changes: Any
    ) -> TrainingContext:
        scripted = Scripted(say)
        scripted.max_prompt_tokens = room

        class ScriptedContext(TrainingContext):
            def base_model(self, *_: Any, **__: Any) -> Scripted:
                return scripted

        return training_context(settings("scripted", **changes), tmp_path, seed=seed, kind=ScriptedContext)

    return made


class TestQuestions:
    def test_users_who_are_kept_back_are_apart(self, make: Make) -> None:
        ctx = make()
        train, validation = ctx.questions(None), ctx.questions(None, validation=True)
        assert {example.user for example in validation} == ctx.validation_users
        assert not {example.user for example in train} & ctx.validation_users
        assert len(ctx.validation_users) == 2  # 0.3 of six, rounded up
        assert len(train) + len(validation) == len(ctx.context.dataset)
        assert ctx.validation_users <= set(ctx.context.dataset.users)

    def test_lots_are_drawn_by_seed_and_name_alone(self, make: Make) -> None:
        first, again, other = make(), make(), make(seed=1)
        assert first.validation_users == again.validation_users
        assert first.questions(5) == again.questions(5) == first.questions(None)[:5]
        assert first.questions(None) != other.questions(None)

    def test_one_user_is_too_few(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        ctx = make()
        dataset = ctx.context.dataset
        monkeypatch.setattr(type(dataset), "users", ["one"] * len(dataset))
        with pytest.raises(PrlmBenchError, match="mini_lamp_4 train has only one user"):
            ctx.questions(3)

    def test_all_questions_too_long(self, make: Make) -> None:
        ctx = make(room=3)
        reasoner = ctx.reasoner("direct:tokenizer=words")
        with pytest.raises(PrlmBenchError, match="none of 4 questions fits the base model's context window"):
            ctx.training_prompts(reasoner, 4, validation=False)


class TestPairs:
    def test_what_a_pair_holds(self, make: Make) -> None:
        ctx = make()
        artefact = make_pairs(ctx)
        pairs = read_pairs(artefact)
        examples = {e.id: e for e in [*ctx.questions(12), *ctx.questions(12, validation=True)]}
        assert len(pairs) == artefact.manifest["pairs"] == len(examples) == artefact.manifest["questions"]
        assert {pair.held_back for pair in pairs} == {True, False}
        for pair in pairs:
            example = examples[pair.id]
            ranking = ctx.rank([example])[0]
            assert pair.items == tuple(item.text for item in ranking.items) and len(pair.items) == 2
            assert (pair.query, pair.gold, pair.user) == (example.query, example.gold, example.user)
            assert pair.held_back == (example.user in ctx.validation_users)
            assert pair.better == pair.chosen == f"{pair.id} {[item.id for item in ranking.items]}"
            assert pair.worse == pair.rejected == f"{pair.id} []"
            assert pair.against == "no-items"
            assert all(item.fields["title"] in pair.prompt for item in ranking.items)

    def test_pairs_are_dropped_and_counted_by_reason(self, make: Make) -> None:
        def say(prompt: Prompt) -> str:
            kind = int(prompt.example.id) % 3
            if kind == 0:
                return "the same"
            return " " if kind == 1 and prompt.ranking.items else with_items(prompt)

        artefact = make_pairs(make(say, pairs__questions=100))
        kinds = [int(name) % 3 for name in make().context.dataset.ids]
        assert artefact.manifest["dropped"] == {
            "both answers are the same": kinds.count(0),
            "an answer cannot be read": kinds.count(1),
        }
        assert {int(pair.id) % 3 for pair in read_pairs(artefact)} == {2}
        assert artefact.manifest["pairs"] == kinds.count(2)

    def test_negatives_are_asked_in_words_that_fit_no_items(self, make: Make) -> None:
        asked: dict[bool, list[str]] = {True: [], False: []}

        def say(prompt: Prompt) -> str:
            asked[bool(prompt.ranking.items)].append(prompt.text)
            return f"reasons\n</think>\n{ {'title': with_items(prompt)} }"

        for plain, of_user in (("direct:protocol=chat", True), ("direct:protocol=impersonal", False)):
            for texts in asked.values():
                texts.clear()
            ctx = make(say, reasoner="prlm", pairs__plain=plain)
            pairs = read_pairs(make_pairs(ctx))
            assert len(pairs) == len(asked[True]) == len(asked[False]) == 18
            assert all("the above shows" in text for text in asked[True])
            assert not any("above" in text or "Reason first" in text for text in asked[False])
            assert all(("as this author would" in text) is of_user for text in asked[False])
            assert {pair.prompt for pair in pairs} == set(asked[True])
            remove_folder(ctx.output)

    def test_none_left_is_one_line_and_leaves_nothing_whole(self, make: Make) -> None:
        ctx = make(lambda prompt: "the same")
        with pytest.raises(
            PrlmBenchError, match="no pairs for training or validation: of 18 questions, both answers are"
        ):
            make_pairs(ctx)
        assert not (ctx.output / "pairs" / "manifest.json").exists()

    def test_a_question_that_is_too_long_is_counted(self, make: Make) -> None:
        def say(prompt: Prompt) -> str:
            return repr({"title": with_items(prompt)})

        words = "direct:protocol=chat,tokenizer=words"
        ctx = make(reasoner=words)
        questions = [*ctx.questions(12), *ctx.questions(12, validation=True)]
        alone = [prompt.tokens for prompt in ctx.prompts(ctx.reasoner(words), questions)]
        room = max(alone) - 1
        dropped = make_pairs(make(say, reasoner=words, room=room)).manifest["dropped"]
        assert dropped["the question is too long"] == sum(tokens > room for tokens in alone) > 0

    def test_the_extras(self, make: Make) -> None:
        ctx = make(pairs__negatives=["other-user", "echo"], pairs__gold=True)
        artefact = make_pairs(ctx)
        pairs = read_pairs(artefact)
        counts = artefact.manifest["by_negative"]
        assert counts == dict.fromkeys(("no-items", "other-user", "echo"), 36)  # the base's answer and the gold
        examples = {e.id: e for e in [*ctx.questions(12), *ctx.questions(12, validation=True)]}
        own = {e.id: {item.id for item in e.profile} for e in examples.values()}
        for pair in pairs:
            is_gold = pair.better == pair.gold
            assert bool(pair.prompt) == (not is_gold and pair.against != "echo")
            if pair.against == "echo":
                assert pair.worse == pair.query
            if pair.against == "other-user":
                seen = {name for name in own[pair.id] if f"'{name}'" in pair.worse}
                assert not seen and "[]" not in pair.worse

    def test_the_same_settings_give_the_same_bytes(self, make: Make, tmp_path: Path) -> None:
        first = make_pairs(make())
        kept = (first.folder / "pairs.jsonl").read_bytes()
        (first.folder / "manifest.json").rename(tmp_path / "kept.json")
        for name in ("pairs.jsonl", "timing.json"):
            (first.folder / name).unlink()
        assert (make_pairs(make()).folder / "pairs.jsonl").read_bytes() == kept
        assert (first.folder / "manifest.json").read_bytes() == (tmp_path / "kept.json").read_bytes()


def test_what_is_an_answer_already_is_not_parsed(make: Make) -> None:
    ctx = make()
    reasoner = ctx.reasoner("direct:protocol=chat")
    (prompt, *_), _ = ctx.training_prompts(reasoner, 1)
    for text, parsed in (("{'title': 'x'}", "given"), (" \n", None)):
        found = parsed_sample(reasoner, prompt, Completion(text, is_answer=True))
        assert found.answer == Answer(text, parsed)
